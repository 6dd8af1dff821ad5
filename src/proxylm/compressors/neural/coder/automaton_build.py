"""Building the automaton: strings that fit in a window, level by level, in batched LM calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.neural.byte_lm.distribution import ByteDistribution
from proxylm.compressors.neural.coder.automaton import MAX_CODE_BITS, Automaton
from proxylm.compressors.neural.coder.compiled import compiled
from proxylm.compressors.neural.coder.frequencies import Frequencies, FrequencySource
from proxylm.compressors.neural.coder.settings import MAX_WINDOW_BYTES, CoderSettings
from proxylm.compressors.neural.coder.words import START_WIDTH, WORD, code_of, fits, share
from proxylm.errors import UsageError
from proxylm.symbols import BYTE_COUNT

MAX_NODES = 2_000_000
"""More strings than this are not enumerated: 32-bit windows have far more."""

STRINGS_PER_CALL = 2048

Progress = Callable[[int, int], None]
"""Called with the nodes that are done and those known so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nodes:
    """Some nodes of one level; ``parents`` count from the first node of all levels.

    All arrays have shape ``[k]``; of the root's, parent and label stand for nothing.
    """

    parents: NDArray[np.uint32]
    labels: NDArray[np.uint8]
    lows: NDArray[np.uint64]
    widths: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.parents)

    @classmethod
    def root(cls) -> _Nodes:
        return cls(
            parents=np.zeros(1, np.uint32),
            labels=np.zeros(1, np.uint8),
            lows=np.zeros(1, np.uint64),
            widths=np.full(1, START_WIDTH),
        )

    @classmethod
    def joined(cls, parts: list[_Nodes]) -> _Nodes:
        return cls(
            parents=np.concatenate([part.parents for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
            lows=np.concatenate([part.lows for part in parts]),
            widths=np.concatenate([part.widths for part in parts]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Sparse frequencies of some nodes: entries per node, their bytes and frequencies."""

    counts: NDArray[np.int64]
    row_bytes: NDArray[np.uint8]
    frequencies: NDArray[np.uint16]

    @classmethod
    def of(cls, rows: Frequencies) -> _Rows:
        nodes, row_bytes = np.nonzero(rows > 1)
        return cls(
            counts=np.bincount(nodes, minlength=len(rows)),
            row_bytes=row_bytes.astype(np.uint8),
            frequencies=rows[nodes, row_bytes].astype(np.uint16),
        )


def build_automaton(
    distribution: ByteDistribution,
    settings: CoderSettings,
    *,
    max_nodes: int = MAX_NODES,
    progress: Progress | None = None,
) -> Automaton:
    """Enumerate every string that fits in a window.

    Args:
        distribution: the byte LM; it is evaluated once after every string.
        settings: of the coder, with windows.
        max_nodes: the limit on strings.
        progress: called after every batch.

    Raises:
        UsageError: there are no windows, or they hold more strings than ``max_nodes``.
    """
    if not enumerates(settings):
        raise UsageError(
            f"an automaton needs windows of at most {MAX_CODE_BITS} bits "
            f"(window_bits is {settings.window_bits}); the lazy engine codes without one"
        )
    levels: list[_Nodes] = []
    rows: list[_Rows] = []
    for level, level_rows in _levels(distribution, settings, max_nodes, progress or _no_progress):
        levels.append(level)
        rows += level_rows
    return _numbered(_Nodes.joined(levels), rows, distribution.fingerprint, settings)


def enumerates(settings: CoderSettings) -> bool:
    """Whether the settings have windows whose codes an automaton can keep."""
    return settings.window_bits is not None and settings.window_bits <= MAX_CODE_BITS


def _no_progress(_done: int, _known: int) -> None:
    """Nobody wants to know."""


def _levels(
    distribution: ByteDistribution, settings: CoderSettings, max_nodes: int, progress: Progress
) -> Iterator[tuple[_Nodes, list[_Rows]]]:
    """Nodes by length of their strings, and their rows: what fits of each level is the next."""
    source = FrequencySource(distribution, settings.window_bits)
    level, strings = _Nodes.root(), [b""]
    first_node = 0
    while len(level):
        rows: list[_Rows] = []
        children: list[_Nodes] = []
        num_known = first_node + len(level)
        for start in range(0, len(level), STRINGS_PER_CALL):
            block = slice(start, start + STRINGS_PER_CALL)
            frequencies = source.rows_after(strings[block])
            rows.append(_Rows.of(frequencies))
            lows, widths = level.lows[block], level.widths[block]
            found = _children(frequencies, lows, widths, first_node + start, settings)
            children.append(found)
            num_known += len(found)
            _check_limit(num_known, max_nodes, len(strings[0]) + 1, settings)
            progress(first_node + start + len(lows), num_known)
        yield level, rows
        children_level = _Nodes.joined(children)
        strings = _extended(strings, children_level, first_node)
        first_node += len(level)
        level = children_level if strings and len(strings[0]) <= MAX_WINDOW_BYTES else _NO_NODES


_NO_NODES = _Nodes(
    parents=np.empty(0, np.uint32),
    labels=np.empty(0, np.uint8),
    lows=np.empty(0, np.uint64),
    widths=np.empty(0, np.uint64),
)


def _extended(strings: list[bytes], children: _Nodes, first_node: int) -> list[bytes]:
    parents, labels = children.parents.tolist(), children.labels.tolist()
    return [
        strings[parent - first_node] + bytes([label])
        for parent, label in zip(parents, labels, strict=True)
    ]


def _check_limit(num_known: int, max_nodes: int, length: int, settings: CoderSettings) -> None:
    if num_known > max_nodes:
        raise UsageError(
            f"windows of {settings.window_bits} bits hold more than {max_nodes} strings "
            f"(reached at strings of {length} bytes); take smaller windows, train the byte LM "
            "longer, or use the lazy engine"
        )


def _children(
    frequencies: Frequencies,
    lows: NDArray[np.uint64],
    widths: NDArray[np.uint64],
    first_node: int,
    settings: CoderSettings,
) -> _Nodes:
    """The strings with one more byte that still fit."""
    assert settings.window_bits is not None
    arguments = frequencies, lows, widths, settings.window_bits, settings.termination.shortest
    rows, labels, lows, widths = fitting_children(*arguments)
    parents = rows + np.uint32(first_node)
    return _Nodes(parents=parents, labels=labels, lows=lows, widths=widths)


@compiled
def fitting_children(
    frequencies: Frequencies,
    lows: NDArray[np.uint64],
    widths: NDArray[np.uint64],
    window_bits: int,
    shortest: bool,
) -> tuple[NDArray[np.uint32], NDArray[np.uint8], NDArray[np.uint64], NDArray[np.uint64]]:
    """Row, byte, low and width of every continuation of intervals that fits in a window."""
    count = len(lows) * BYTE_COUNT
    rows, labels = np.empty(count, np.uint32), np.empty(count, np.uint8)
    child_lows, child_widths = np.empty(count, np.uint64), np.empty(count, np.uint64)
    found = 0
    for row in range(len(lows)):
        cumulative = WORD(0)
        for byte in range(BYTE_COUNT):
            frequency = WORD(frequencies[row, byte])
            low = lows[row] + share(widths[row], cumulative)
            width = share(widths[row], frequency)
            cumulative += frequency
            if fits(low, width, window_bits, shortest):
                rows[found], labels[found] = row, byte
                child_lows[found], child_widths[found] = low, width
                found += 1
    return (
        rows[:found].copy(),
        labels[:found].copy(),
        child_lows[:found].copy(),
        child_widths[:found].copy(),
    )


@compiled
def codes_of(
    lows: NDArray[np.uint64], widths: NDArray[np.uint64], window_bits: int, shortest: bool
) -> NDArray[np.uint32]:
    """The codes of intervals."""
    codes = np.empty(len(lows), np.uint32)
    for row in range(len(lows)):
        codes[row] = code_of(lows[row], widths[row], window_bits, shortest)
    return codes


def _numbered(
    nodes: _Nodes, rows: list[_Rows], distribution_fingerprint: str, settings: CoderSettings
) -> Automaton:
    """The automaton, its nodes numbered from the widest interval down; equals stay in order."""
    assert settings.window_bits is not None
    order = np.argsort(START_WIDTH - nodes.widths, kind="stable")
    numbers = np.empty(len(order), np.uint32)
    numbers[order] = np.arange(len(order), dtype=np.uint32)
    shortest = settings.termination.shortest
    counts = np.concatenate([part.counts for part in rows])
    starts = np.cumsum(counts) - counts
    entries = np.repeat(starts[order] - _starts(counts[order])[:-1], counts[order])
    entries += np.arange(counts.sum())
    return Automaton(
        settings=settings,
        distribution_fingerprint=distribution_fingerprint,
        parents=numbers[nodes.parents[order]],
        labels=nodes.labels[order],
        codes=codes_of(nodes.lows[order], nodes.widths[order], settings.window_bits, shortest),
        row_starts=_starts(counts[order]).astype(np.uint32),
        row_bytes=np.concatenate([part.row_bytes for part in rows])[entries],
        row_frequencies=np.concatenate([part.frequencies for part in rows])[entries],
    )


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)])
