"""The coder as a finite automaton: every string that fits in one window, with its code.

What a window emits depends on nothing but its bytes, because the LM's context starts empty in it.
The strings that fit in ``B`` bits form a trie; each is a node with the code that a window of it
gives. Nodes are numbered from the most probable one down (the root first), so parents come before
their children and what is visited most lies together.

Beside its code a node keeps its row of frequencies, sparse (most of the 256 bytes have frequency
1): the rule ``segmentation/automaton`` reads costs from them.

On disk it is one safetensors file that names its content and refuses to be another's.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from proxylm.compressors.neural.coder.frequencies import Frequencies
from proxylm.compressors.neural.coder.interval import Bits
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.neural.coder.windows import packed
from proxylm.config import validate_config
from proxylm.errors import DamagedFileError, UsageError, one_line
from proxylm.files import atomic_file
from proxylm.fingerprint import fingerprint_of
from proxylm.symbols import BYTE_COUNT

ROOT = 0
MAX_CODE_BITS = 32
FORMAT_VERSION = 1
DESCRIPTION = "automaton"

ARRAYS = ("parents", "labels", "codes", "row_starts", "row_bytes", "row_frequencies")
"""Names of what an automaton is made of, beside its settings and its LM."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Automaton:
    """A trie of ``n`` nodes; node 0 is the root, the empty string, which emits nothing.

    Attributes:
        settings: of the coder; windows have at most 32 bits.
        distribution_fingerprint: the byte LM that it was built from.
        parents: uint32 ``[n]``; the root is its own.
        labels: uint8 ``[n]``, the last byte of each node's string (the root's is 0).
        codes: uint32 ``[n]``, ``window_bits`` bits each.
        row_starts: uint32 ``[n + 1]``; node ``i`` has the entries ``row_starts[i:i + 2]`` of ...
        row_bytes: uint8 ``[e]``, the bytes with a frequency above 1, ascending in a row, and ...
        row_frequencies: uint16 ``[e]``, those frequencies.
    """

    settings: CoderSettings
    distribution_fingerprint: str
    parents: NDArray[np.uint32]
    labels: NDArray[np.uint8]
    codes: NDArray[np.uint32]
    row_starts: NDArray[np.uint32]
    row_bytes: NDArray[np.uint8]
    row_frequencies: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.parents)

    @property
    def window_bits(self) -> int:
        """Bits of a window."""
        assert self.settings.window_bits is not None, "segments without windows do not enumerate"
        return self.settings.window_bits

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """All its arrays by name."""
        return {name: getattr(self, name) for name in ARRAYS}

    @cached_property
    def fingerprint(self) -> str:
        """128-bit name of its content: settings, LM and every array."""
        parts = [
            f"{name} {values.dtype.str} {values.shape} {xxhash.xxh3_128_hexdigest(values.data)}"
            for name, values in self.arrays().items()
        ]
        settings = self.settings.model_dump(mode="json")
        return fingerprint_of(settings, self.distribution_fingerprint, *parts)

    @cached_property
    def strings(self) -> list[bytes]:
        """The string of every node."""
        strings = [b""]
        for parent, label in zip(self.parents[1:].tolist(), self.labels[1:].tolist(), strict=True):
            strings.append(strings[parent] + bytes([label]))
        return strings

    @cached_property
    def children(self) -> dict[tuple[int, int], int]:
        """The node behind each (node, byte) that fits."""
        edges = zip(self.parents[1:].tolist(), self.labels[1:].tolist(), strict=True)
        return {edge: node for node, edge in enumerate(edges, 1)}

    @cached_property
    def nodes_by_code(self) -> dict[int, list[int]]:
        """The nodes that emit each code, most probable first; the root emits none."""
        nodes = defaultdict(list)
        for node, code in enumerate(self.codes.tolist()):
            if node != ROOT:
                nodes[code].append(node)
        return dict(nodes)

    def code_symbols(self, code: int) -> list[int]:
        """A window's code in symbols."""
        return packed(Bits(value=code, length=self.window_bits), self.settings.pack_bits)

    def frequencies_at(self, node: int) -> Frequencies:
        """What follows a node's string: uint32 ``[256]`` of total 2^16."""
        entries = slice(self.row_starts[node], self.row_starts[node + 1])
        row = np.ones(BYTE_COUNT, np.uint32)
        row[self.row_bytes[entries]] = self.row_frequencies[entries]
        return row


def save_automaton(automaton: Automaton, path: Path) -> None:
    """Write an automaton; the file appears whole or not at all."""
    description = {
        "format_version": FORMAT_VERSION,
        "settings": automaton.settings.model_dump(mode="json"),
        "distribution_fingerprint": automaton.distribution_fingerprint,
        "fingerprint": automaton.fingerprint,
    }
    # One key: several would be written in an order that changes from run to run.
    metadata = {DESCRIPTION: json.dumps(description)}
    with atomic_file(path) as temporary:
        save_file(automaton.arrays(), temporary, metadata)


def load_automaton(path: Path) -> Automaton:
    """Read an automaton and verify every bit of it.

    Raises:
        DamagedFileError: the file is missing, altered or of a foreign format.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            description = json.loads((file.metadata() or {})[DESCRIPTION])
            names = set(file.keys())
            if description["format_version"] != FORMAT_VERSION or names != set(ARRAYS):
                raise DamagedFileError(f"{path}: not an automaton that this version reads")
            arrays = {name: file.get_tensor(name) for name in ARRAYS}
        settings = validate_config(CoderSettings, description["settings"])
        automaton = Automaton(
            settings=settings,
            distribution_fingerprint=description["distribution_fingerprint"],
            **arrays,
        )
        expected = description["fingerprint"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, UsageError) as error:
        reason = one_line(error)
        raise DamagedFileError(f"{path}: not readable as an automaton ({reason})") from None
    if automaton.fingerprint != expected:
        raise DamagedFileError(
            f"{path}: its content is not what its fingerprint says; build the automaton again"
        )
    return automaton
