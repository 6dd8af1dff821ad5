"""Stability: how far a compressor's symbols move when characters of a text are lost (§3.4, Fig. 4).

A sample is a slice of a document and a random deletion. Both texts are compressed on their own, and
their symbol sequences are compared by the normalized Levenshtein distance: the least number of
insertions, deletions and replacements over the longer length. Nothing is decompressed, so lossy
compressors take part like all others.

A *character* is a code point of valid UTF-8; of bytes that are none, each counts as one.

Samples are spread evenly over the slices: with more samples than slices a slice comes with several
deletions, one after the other. What is deleted depends on the seed and the sample's number alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from proxylm.analysis.charts import Curve, line_chart
from proxylm.compressors.contract import CannotCompress, CompressedView, Compressor
from proxylm.config import Config
from proxylm.corpus.contract import Corpus
from proxylm.corpus.left_out import LeftOut, nothing_left
from proxylm.corpus.split import sample, split_documents
from proxylm.errors import needing_extra
from proxylm.pool import usable_cores
from proxylm.progress import TellCount, untold

KEPT_BYTES = 128 << 20
"""Of a larger corpus, about so many bytes of documents are cut into slices, chosen by hash."""

CHUNK_BYTES = 1 << 20
"""Samples are compressed and compared in groups of about this many bytes of text."""

LONGEST_CHARACTER = 4
"""Bytes in UTF-8."""

HISTOGRAM_BINS = 50
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class StabilitySettings(Config):
    """What is measured; the defaults are the paper's, but for the slices.

    Attributes:
        samples: how many.
        deleted: share of a sample's characters that is deleted, at random (at least one).
        slice_bytes: bytes of a document in a sample, at most.
        seed: of the deletions.
    """

    samples: PositiveInt = 80_000
    deleted: float = Field(default=0.1, gt=0, lt=1)
    slice_bytes: int = Field(default=1024, ge=16)
    seed: NonNegativeInt = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StabilityReport:
    """The distances of one compressor.

    Attributes:
        name: as the caller calls it.
        fingerprint: the compressor's.
        distances: from 0 (nothing moved) to 1, of the samples that it has a form for, ``[n]``.
        rejected: samples that it has no exact form for, before or after the deletion.
    """

    name: str
    fingerprint: str
    distances: Float64[np.ndarray, " sample"]
    rejected: int

    @property
    def mean(self) -> float | None:
        """Mean distance; None without samples."""
        return float(self.distances.mean()) if self.distances.size else None

    @property
    def standard_deviation(self) -> float | None:
        """Of the distances; None without samples."""
        return float(self.distances.std()) if self.distances.size else None

    @property
    def quantiles(self) -> dict[float, float | None]:
        """Distances by ``QUANTILES``; None without samples."""
        if not self.distances.size:
            return dict.fromkeys(QUANTILES)
        return dict(zip(QUANTILES, np.quantile(self.distances, QUANTILES).tolist(), strict=True))

    @property
    def histogram(self) -> list[int]:
        """Samples by distance, in ``HISTOGRAM_BINS`` equal bins over 0 to 1."""
        counts, _ = np.histogram(self.distances, HISTOGRAM_BINS, (0, 1))
        return counts.tolist()

    def as_json(self) -> dict[str, Any]:
        """All figures."""
        return {
            "compressor": self.name,
            "fingerprint": self.fingerprint,
            "samples": len(self.distances),
            "rejected": self.rejected,
            "mean": self.mean,
            "standard_deviation": self.standard_deviation,
            "quantiles": {str(share): value for share, value in self.quantiles.items()},
            "histogram": self.histogram,
        }


def corpus_slices(
    corpus: Corpus,
    slice_bytes: int,
    *,
    held_out: float,
    left_out: LeftOut,
    progress: TellCount = untold,
) -> list[bytes]:
    """The held-out documents in slices of at most ``slice_bytes``; of a large corpus, some of them.

    ``progress`` hears how many bytes of the corpus are read.

    Raises:
        UsageError: ``held_out`` is not a number from 0 to 1.
        DataError: there is no document.
    """
    documents = split_documents(
        corpus, held_out=True, left_out=left_out, fraction=held_out, progress=progress
    )
    total_bytes = int(held_out * sum(part.num_bytes for part in corpus.parts()))
    chosen = sample(documents, total_bytes=total_bytes, wanted_bytes=KEPT_BYTES)
    slices = [piece for document in chosen for piece in document_slices(document.raw, slice_bytes)]
    if not slices:
        raise nothing_left(f"{corpus.name}: no document was chosen", left_out, "give a larger one")
    return slices


def document_slices(raw: bytes, slice_bytes: int) -> list[bytes]:
    """A document in slices of about equal size, at most ``slice_bytes``, that break no character.

    >>> [piece.decode() for piece in document_slices("häß".encode() * 4, 10)]
    ['häßh', 'äßhä', 'ßhäß']
    """
    count = max(1, -(-len(raw) // (slice_bytes - LONGEST_CHARACTER + 1)))
    wanted = np.arange(1, count) * len(raw) // count
    starts = character_starts(raw)
    cuts = starts[np.searchsorted(starts, wanted, side="right") - 1].tolist()
    borders = zip([0, *cuts], [*cuts, len(raw)], strict=True)
    return [raw[start:end] for start, end in borders]


def without_characters(raw: bytes, share: float, generator: np.random.Generator) -> bytes:
    """A text without a share of its characters (rounded, at least one), chosen at random.

    Args:
        raw: one character or more.
        share: above 0 and below 1.
        generator: draws them.
    """
    characters = _characters(raw)
    count = max(1, round(share * len(characters)))
    deleted = generator.choice(len(characters), count, replace=False, shuffle=False)
    kept = np.delete(characters, deleted)
    text = kept.tobytes().decode("utf-32-le", "surrogatepass")
    return text.encode("utf-8", "surrogateescape")


def measure_stability(
    compressors: Sequence[tuple[str, Compressor]],
    slices: Sequence[bytes],
    settings: StabilitySettings,
    progress: TellCount = untold,
) -> list[StabilityReport]:
    """The distances of compressors on the same samples.

    Args:
        compressors: with their names, in the order of the reports.
        slices: texts, none of them empty.
        settings: how many samples, and what is deleted of them.
        progress: hears how many samples are done.

    Raises:
        UsageError: rapidfuzz is not there.
        DataError: a compressor errs.
    """
    _distances([], [])  # found missing before anything is compressed
    found = np.empty((len(compressors), settings.samples))
    progress("samples", 0, settings.samples)
    for numbers in _chunks(settings):
        owners = numbers * len(slices) // settings.samples
        used, texts_of = np.unique(owners, return_inverse=True)
        texts = [slices[index] for index in used.tolist()]
        damaged = [
            without_characters(
                slices[owner], settings.deleted, np.random.default_rng([settings.seed, number])
            )
            for number, owner in zip(numbers.tolist(), owners.tolist(), strict=True)
        ]
        for row, (_, compressor) in zip(found, compressors, strict=True):
            row[numbers] = moved(compressor, texts, texts_of, damaged)
        progress("samples", int(numbers[-1]) + 1, settings.samples)
    return [
        StabilityReport(
            name=name,
            fingerprint=compressor.fingerprint,
            distances=row[~np.isnan(row)],
            rejected=int(np.isnan(row).sum()),
        )
        for row, (name, compressor) in zip(found, compressors, strict=True)
    ]


def moved(
    compressor: Compressor,
    texts: Sequence[bytes],
    texts_of: Int64[np.ndarray, " sample"],
    damaged: Sequence[bytes],
) -> Float64[np.ndarray, " sample"]:
    """Distance of each damaged text's symbols from its text's; NaN where one has no form.

    Args:
        compressor: any.
        texts: as they were.
        texts_of: of each damaged text, the index of the text that it was.
        damaged: as they are now.

    Raises:
        UsageError: rapidfuzz is not there.
        DataError: the compressor errs.
    """
    whole = [_symbols(view) for view in compressor.views(texts)]
    now = [_symbols(view) for view in compressor.views(damaged)]
    distances = np.full(len(damaged), np.nan)
    pairs = {
        number: (before, after)
        for number, (owner, after) in enumerate(zip(texts_of.tolist(), now, strict=True))
        if (before := whole[owner]) is not None and after is not None
    }
    if pairs:
        distances[list(pairs)] = _distances(*zip(*pairs.values(), strict=True))
    return distances


def character_starts(raw: bytes) -> Int64[np.ndarray, " character"]:
    """Where each character starts; UTF-8 alone has no escapes, so those are single bytes."""
    characters = _characters(raw)
    widths = 1 + sum((characters >= bound).astype(np.int64) for bound in (0x80, 0x800, 0x10000))
    widths = np.where((characters >= 0xDC80) & (characters <= 0xDCFF), 1, widths)
    return np.cumsum(widths) - widths


def stability_chart(reports: Sequence[StabilityReport], deleted: float) -> str:
    """The histograms as an SVG element, each with its mean.

    Raises:
        UsageError: matplotlib is not there.
    """
    centres = ((np.arange(HISTOGRAM_BINS) + 0.5) / HISTOGRAM_BINS).tolist()
    curves = [
        Curve(
            label=report.name,
            x=centres,
            y=[count / max(1, len(report.distances)) for count in report.histogram],
            colour=number,
            value=report.mean,
        )
        for number, report in enumerate(reports)
    ]
    return line_chart(
        curves,
        title=f"Symbols that move when {100 * deleted:g} % of the characters are deleted",
        x_label="normalized Levenshtein distance (in brackets: its mean)",
        y_label=f"share of samples (bins of {1 / HISTOGRAM_BINS:g})",
    )


def _chunks(settings: StabilitySettings) -> Iterator[Int64[np.ndarray, " sample"]]:
    """Numbers of the samples that are compressed together."""
    size = max(1, CHUNK_BYTES // settings.slice_bytes)
    for first in range(0, settings.samples, size):
        yield np.arange(first, min(first + size, settings.samples))


def _symbols(view: CompressedView | CannotCompress) -> array[int] | None:
    """A symbol sequence as rapidfuzz compares them fastest; None where a text has none."""
    if isinstance(view, CannotCompress):
        return None
    return array("I", view.symbols.astype(np.uint32, copy=False).tobytes())


def _distances(
    before: Sequence[array[int]], after: Sequence[array[int]]
) -> Float64[np.ndarray, " pair"]:
    with needing_extra("stability", "analysis"):
        from rapidfuzz.distance import Levenshtein
        from rapidfuzz.process import cpdist
    return cpdist(
        before,
        after,
        scorer=Levenshtein.normalized_distance,
        dtype=np.float64,
        workers=usable_cores(),
    )


def _characters(raw: bytes) -> NDArray[np.uint32]:
    """A text's characters as code points ``[c]``; a byte that is not UTF-8 as its escape."""
    text = raw.decode("utf-8", "surrogateescape")
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
