"""The neural compressor: cuts from a byte LM's boundary pass, codes from its automaton.

Documents go through in groups: while one group's codes are looked up, the next one's boundary
pass runs. The folder holds the byte LM, the settings with fitted thresholds and, where the windows
enumerate, the automaton; everything in it is covered by the fingerprint. Which engine computes the
codes is no property of the compressor: all give the same symbols.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from proxylm.compressors.contract import (
    ANCHOR_SPACING,
    CannotCompress,
    CompressedView,
    Compressor,
)
from proxylm.compressors.neural.byte_lm.model import ByteLM
from proxylm.compressors.neural.coder.automaton import Automaton, load_automaton, save_automaton
from proxylm.compressors.neural.coder.automaton_engine import AutomatonEngine
from proxylm.compressors.neural.coder.contract import CodedSegments
from proxylm.compressors.neural.coder.engines import engine_of
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.neural.flat_documents import FlatDocuments, starts_of
from proxylm.compressors.neural.segmentation.contract import Cuts
from proxylm.compressors.neural.settings import NeuralSettings, Segmentation
from proxylm.config import Config, validate_config
from proxylm.corpus.contract import ranges_of
from proxylm.errors import DamagedFileError
from proxylm.files import read_json, write_json
from proxylm.inputs import as_documents

LM_FOLDER = "byte-lm"
AUTOMATON_FILE = "automaton.safetensors"
PROVENANCE_FILE = "training.json"

GROUP_BYTES = 1 << 19
"""Documents are scored and coded in groups of about this size."""


class Provenance(Config):
    """Where a compressor comes from; no part of what it computes.

    Attributes:
        corpus, corpus_fingerprint: what the LM (unless it was reused) and the thresholds saw.
        held_out_fraction: share of its documents that they did not see.
        lm: how the byte LM was trained, or whose it was.
        threshold_documents, threshold_bytes: the sample behind the thresholds.
    """

    corpus: str
    corpus_fingerprint: str
    held_out_fraction: float
    lm: dict[str, Any]
    threshold_documents: int
    threshold_bytes: int


class NeuralCompressor(Compressor):
    """Arithmetic codes of short segments, as symbols of ``pack_bits`` bits; lossy on purpose.

    Args:
        lm: the byte LM.
        settings: segmentation, with its thresholds, and coder.
        automaton: of that LM and coder; None where the windows do not enumerate.
        provenance: where it comes from, for readers.

    Raises:
        DamagedFileError: the automaton belongs to another LM or other settings.
        UsageError: the thresholds of the segmentation were never fitted, or it needs an automaton.
    """

    kind = "neural"
    reversible = False

    def __init__(
        self,
        lm: ByteLM,
        settings: NeuralSettings,
        *,
        automaton: Automaton | None = None,
        provenance: Provenance | None = None,
    ) -> None:
        _check_automaton(automaton, lm, settings)
        self.lm = lm
        self.automaton = automaton
        self.provenance = provenance
        self._settings = settings
        self.symbol_count = settings.coder.symbol_count
        self._engine = engine_of(None, lm, settings.coder, automaton)
        self._segmenter = settings.segmentation.segmenter(lm, automaton)

    def with_engine(self, name: str) -> Self:
        """The same compressor with its codes computed by another engine.

        Raises:
            UsageError: there is no such engine, or its windows cannot be enumerated.
        """
        other = copy(self)
        other._engine = engine_of(name, self.lm, self._settings.coder, self.automaton)
        return other

    @property
    def settings(self) -> dict[str, Any]:
        """Segmentation with thresholds, and coder."""
        return self._settings.model_dump(mode="json")

    @property
    def segmentation(self) -> Segmentation:
        """The rule that cuts, with its thresholds."""
        return self._settings.segmentation

    @property
    def coder(self) -> CoderSettings:
        """Windows, packing and termination."""
        return self._settings.coder

    def content_fingerprint(self) -> str:
        """The byte LM's and the automaton's."""
        return self.lm.fingerprint + (self.automaton.fingerprint if self.automaton else "")

    def save_files(self, folder: Path) -> None:
        """Write the byte LM, the automaton and where they come from."""
        self.lm.save(folder / LM_FOLDER)
        if self.automaton is not None:
            save_automaton(self.automaton, folder / AUTOMATON_FILE)
        if self.provenance is not None:
            write_json(folder / PROVENANCE_FILE, self.provenance.model_dump(mode="json"))

    @classmethod
    def from_folder(cls, folder: Path, settings: dict[str, Any]) -> Self:
        """Read what ``save_files`` wrote.

        Raises:
            DamagedFileError: a file is missing or altered, or they do not belong together.
            UsageError: a setting is wrong.
        """
        checked = validate_config(NeuralSettings, settings, origin=str(folder))
        path, origin = folder / AUTOMATON_FILE, folder / PROVENANCE_FILE
        provenance = None
        if origin.is_file():
            provenance = validate_config(Provenance, read_json(origin), origin=str(origin))
        return cls(
            ByteLM.load(folder / LM_FOLDER),
            checked,
            automaton=load_automaton(path) if path.is_file() else None,
            provenance=provenance,
        )

    def describe(self) -> dict[str, Any]:
        """Adds the engine, the sizes of LM and automaton, and where they come from."""
        return super().describe() | {
            "engine": self._engine.name,
            "lm_parameters": self.lm.config.parameter_count,
            "nodes": None if self.automaton is None else len(self.automaton),
            "training": self.provenance.model_dump(mode="json") if self.provenance else {},
        }

    def cut(self, documents: Sequence[bytes]) -> list[NDArray[np.uint32]]:
        """Segment lengths of each document, uint32 ``[s_i]``, without coding them.

        Raises:
            UsageError: a document is no bytes.
        """
        flat, cuts = self._cut(as_documents(documents))
        borders = starts_of(flat.segments_per_document(cuts.lengths))
        return [cuts.lengths[start:end] for start, end in pairwise(borders)]

    def encode(self, documents: Sequence[bytes]) -> list[CompressedView | CannotCompress]:
        """Codes of each document's segments; anchors at segment ends."""
        ranges = ranges_of([len(document) for document in documents], GROUP_BYTES)
        groups = (documents[first:stop] for first, stop, _ in ranges)
        if not self._overlaps:
            return [view for group in groups for view in self._code(*self._cut(group))]
        with ThreadPoolExecutor(1) as coding:
            running = [coding.submit(self._code, *self._cut(group)) for group in groups]
            return [view for group_views in running for view in group_views.result()]

    def settled(
        self, raw: bytes, view: CompressedView
    ) -> Int64[np.ndarray, "place byte_symbol_known=3"]:
        """The ends of segments: the byte after one is the last that decides it."""
        lengths, counts = self.divide(raw, view)
        ends = np.cumsum(lengths, dtype=np.int64)[:-1]
        symbols = np.cumsum(counts, dtype=np.int64)[:-1]
        return np.stack((ends, symbols, ends + 1), axis=1)

    @property
    def _overlaps(self) -> bool:
        """Whether codes need nothing of the cores that the boundary pass computes on."""
        return self._looks_up or self.lm.device.type == "cuda"

    @property
    def _looks_up(self) -> bool:
        return isinstance(self._engine, AutomatonEngine)

    def _cut(self, group: Sequence[bytes]) -> tuple[FlatDocuments, Cuts]:
        documents = FlatDocuments.of(group)
        return documents, self._segmenter.cut(documents)

    def _code(self, documents: FlatDocuments, cuts: Cuts) -> list[CompressedView]:
        coded = cuts.coded
        if coded is None or not self._looks_up:
            coded = self._engine.code(documents.raw, cuts.lengths)
        return _views(documents, cuts.lengths, coded)


def _check_automaton(automaton: Automaton | None, lm: ByteLM, settings: NeuralSettings) -> None:
    if automaton is None:
        return
    if automaton.distribution_fingerprint != lm.fingerprint:
        raise DamagedFileError("neural: the automaton was built from another byte LM")
    if automaton.settings != settings.coder:
        raise DamagedFileError("neural: the automaton was built with other coder settings")


def _views(
    documents: FlatDocuments, segment_lengths: NDArray[np.uint32], coded: CodedSegments
) -> list[CompressedView]:
    counts = coded.symbols_per_segment
    segments_upto = starts_of(documents.segments_per_document(segment_lengths))
    symbols_upto = starts_of(counts)[segments_upto]
    anchors, anchors_upto = _anchors(documents, segment_lengths, counts, segments_upto)
    return [
        CompressedView(
            symbols=coded.symbols[symbols_upto[one] : symbols_upto[one + 1]],
            anchors=anchors[anchors_upto[one] : anchors_upto[one + 1]],
            segment_lengths=segment_lengths[segments_upto[one] : segments_upto[one + 1]],
            segment_symbol_counts=counts[segments_upto[one] : segments_upto[one + 1]],
        )
        for one in range(len(documents.lengths))
    ]


def _anchors(
    documents: FlatDocuments,
    segment_lengths: NDArray[np.uint32],
    counts: NDArray[np.uint32],
    segments_upto: NDArray[np.int64],
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Ends of the segments that complete another ``ANCHOR_SPACING`` symbols of their document.

    Returns:
        Rows (byte offset, symbol offset) of all documents ``[a, 2]``, and int64 ``[d + 1]``, how
        many rows come before each document.
    """
    owner = np.repeat(np.arange(len(documents.lengths)), np.diff(segments_upto))
    byte_ends = np.cumsum(segment_lengths, dtype=np.int64) - documents.starts[owner]
    symbols_before = starts_of(counts)[segments_upto]
    symbol_ends = np.cumsum(counts, dtype=np.int64) - symbols_before[owner]
    spacings = symbol_ends // ANCHOR_SPACING > (symbol_ends - counts) // ANCHOR_SPACING
    chosen = spacings & (byte_ends < documents.lengths[owner])
    rows = np.stack([byte_ends[chosen], symbol_ends[chosen]], axis=1).astype(np.uint32)
    per_document = np.bincount(owner[chosen], minlength=len(documents.lengths))
    return rows, starts_of(per_document)
