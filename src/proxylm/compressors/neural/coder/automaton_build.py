"""Building the automaton: strings that fit in a window, level by level, in batched LM calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxylm.compiled import Int64s, Records, Uint8s, Uint16s, Uint32s
from proxylm.compressors.neural.coder.automaton import MAX_CODE_BITS, Automaton
from proxylm.compressors.neural.coder.compiled import compiled
from proxylm.compressors.neural.coder.frequencies import (
    ByteDistribution,
    Frequencies,
    FrequencySource,
)
from proxylm.compressors.neural.coder.settings import MAX_WINDOW_BYTES, CoderSettings
from proxylm.compressors.neural.coder.words import START_WIDTH, WORD, code_of, fits, share
from proxylm.compressors.neural.flat_documents import starts_of
from proxylm.errors import UsageError
from proxylm.progress import TellCount, untold
from proxylm.symbols import BYTE_COUNT

MAX_NODES = 2_000_000
"""More strings than this are not enumerated: 32-bit windows have far more."""

STRINGS_PER_CALL = 2048

NODE_DTYPE = np.dtype(
    [
        ("parent", "u4"),  # its number, counted level by level; the root is its own
        ("label", "u1"),  # the last byte of the string; 0 for the root
        ("low", "u8"),  # the string's interval (``interval``), on the scale 2^48
        ("width", "u8"),
    ]
)
"""A string that fits in a window, before nodes are numbered by probability."""


def build_automaton(
    distribution: ByteDistribution,
    settings: CoderSettings,
    *,
    progress: TellCount = untold,
) -> Automaton:
    """Enumerate every string that fits in a window.

    Args:
        distribution: the byte LM; it is evaluated once after every string.
        settings: of the coder, with windows.
        progress: hears how many nodes are done; how many there are shows at the end.

    Raises:
        UsageError: there are no windows, or they hold more strings than ``MAX_NODES``.
        DataError: the LM gives no distribution; its weights are damaged.
    """
    if settings.window_bits is None or not enumerates(settings):
        raise UsageError(
            f"an automaton needs windows of at most {MAX_CODE_BITS} bits "
            f"(window_bits is {settings.window_bits}); the lazy engine codes without one"
        )
    window = settings.window_bits, settings.termination.shortest
    batches = zip(*_batches(distribution, window, progress), strict=True)
    nodes, entry_counts, row_bytes, row_frequencies = map(np.concatenate, batches)
    row_starts = starts_of(entry_counts)

    # Numbered from the widest interval down; equals stay in order.
    order = np.argsort(START_WIDTH - nodes["width"], kind="stable")
    numbers = np.empty(len(order), np.uint32)
    numbers[order] = np.arange(len(order), dtype=np.uint32)
    counts = entry_counts[order]
    starts = starts_of(counts)
    entries = np.repeat(row_starts[order] - starts[:-1], counts) + np.arange(starts[-1])
    return Automaton(
        settings=settings,
        distribution_fingerprint=distribution.fingerprint,
        parents=numbers[nodes["parent"][order]],
        labels=nodes["label"][order],
        codes=codes_of(nodes[order], *window),
        row_starts=starts.astype(np.uint32),
        row_bytes=row_bytes[entries],
        row_frequencies=row_frequencies[entries],
    )


def enumerates(settings: CoderSettings) -> bool:
    """Whether the settings have windows whose codes an automaton can keep."""
    return settings.window_bits is not None and settings.window_bits <= MAX_CODE_BITS


def _batches(
    distribution: ByteDistribution, window: tuple[int, bool], progress: TellCount
) -> Iterator[tuple[NDArray[Any], ...]]:
    """Nodes by length of their strings: what fits of each level's continuations is the next.

    Yields:
        Nodes that went through the LM together (``NODE_DTYPE``), and their rows, as ``_sparse``.
    """
    source = FrequencySource(distribution, window[0])
    level = np.zeros(1, NODE_DTYPE)
    level["width"] = START_WIDTH
    strings = [b""]
    num_done, num_known = 0, 1
    while strings and len(strings[0]) <= MAX_WINDOW_BYTES:
        first_of_level = num_done
        children = []
        for start in range(0, len(level), STRINGS_PER_CALL):
            block = slice(start, start + STRINGS_PER_CALL)
            nodes, frequencies = level[block], source.rows_after(strings[block])
            children.append(fitting_children(nodes, frequencies, num_done, *window))
            num_done += len(nodes)
            num_known += len(children[-1])
            _check_limit(num_known, len(strings[0]) + 1, window[0])
            progress("automaton nodes", num_done, None)
            yield nodes, *_sparse(frequencies)
        level = np.concatenate(children)
        parents, labels = (level["parent"] - first_of_level).tolist(), level["label"].tolist()
        edges = zip(parents, labels, strict=True)
        strings = [strings[parent] + bytes([label]) for parent, label in edges]
    progress("automaton nodes", num_done, num_done)


def _sparse(frequencies: Frequencies) -> tuple[Int64s, Uint8s, Uint16s]:
    """How many entries each row has: its bytes with a frequency above 1; those, and that."""
    rows, row_bytes = np.nonzero(frequencies > 1)
    return (
        np.bincount(rows, minlength=len(frequencies)),
        row_bytes.astype(np.uint8),
        frequencies[rows, row_bytes].astype(np.uint16),
    )


def _check_limit(num_known: int, length: int, window_bits: int) -> None:
    if num_known > MAX_NODES:
        raise UsageError(
            f"windows of {window_bits} bits hold more than {MAX_NODES} strings "
            f"(reached at strings of {length} bytes); take smaller windows, train the byte LM "
            "longer, or use the lazy engine"
        )


@compiled
def fitting_children(
    nodes: Records, frequencies: Frequencies, first_number: int, window_bits: int, shortest: bool
) -> Records:
    """Every continuation by one byte that fits in a window, in order.

    Args:
        nodes: ``NODE_DTYPE`` ``[k]``.
        frequencies: uint32 ``[k, 256]``, what follows each.
        first_number: of the first node.
        window_bits: bits of a window.
        shortest: whether a code is the shortest one inside its interval (``Termination``).

    Returns:
        ``NODE_DTYPE`` ``[<= 256 k]``.
    """
    children = np.empty(len(nodes) * BYTE_COUNT, NODE_DTYPE)
    found = 0
    for index in range(len(nodes)):
        node = nodes[index]
        cumulative = WORD(0)
        for byte in range(BYTE_COUNT):
            frequency = WORD(frequencies[index, byte])
            low = node.low + share(node.width, cumulative)
            width = share(node.width, frequency)
            cumulative += frequency
            if fits(low, width, window_bits, shortest):
                children[found].parent = first_number + index
                children[found].label = byte
                children[found].low = low
                children[found].width = width
                found += 1
    return children[:found].copy()


@compiled
def codes_of(nodes: Records, window_bits: int, shortest: bool) -> Uint32s:
    """The codes of nodes, uint32 ``[n]``."""
    codes = np.empty(len(nodes), np.uint32)
    for index in range(len(nodes)):
        codes[index] = code_of(nodes[index].low, nodes[index].width, window_bits, shortest)
    return codes
