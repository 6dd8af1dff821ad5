"""How a document is read when it is scored or continued: as its bytes, or as symbols.

One meaning everywhere, on the command line (``--read-as``) and in the library (``read_as=``):
``bytes``; ``tokens`` for the symbols of the compressor that the model was trained with; ``mixed``
for symbols of what comes before and bytes of what is predicted (``mixed``).
``reading_of`` makes the reading of one of our models; ``tokenizer_readings`` has those of others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Int64
from numpy.typing import NDArray

from proxylm.checkpoints.reading import TrainedModel, require_compressor
from proxylm.compressors.contract import CannotCompress, CompressedView, Compressor
from proxylm.errors import DataError, UsageError
from proxylm.inputs import as_symbols
from proxylm.models.config import ModelConfig
from proxylm.scoring.mixed import MixedText
from proxylm.scoring.read_as import BYTES, MIXED, TOKENS
from proxylm.symbols import BYTE_COUNT, Format, opening

Ids = Int64[np.ndarray, " symbol"]


class ReadText(NamedTuple):
    """What a model reads of one document.

    Attributes:
        ids: int64 ``[m]``, the document's content in the model's vocabulary.
        starts: int64 ``[m]``, never falling: the byte at which what an id stands for begins.
            Where that is known of several ids together only, they share the first one's.
    """

    ids: Ids
    starts: Ids


class Reading(ABC):
    """One way to read documents.

    Attributes:
        name: as ``--read-as`` says it; for reports.
        prefix: int64 ``[p]``, at least one: ids that the model reads before every document.
    """

    name: str
    prefix: Ids

    @abstractmethod
    def read(self, document: bytes) -> ReadText:
        """The document's content.

        Raises:
            DataError: it cannot be read so, exactly.
        """

    def mixed(self, document: bytes) -> MixedText | None:
        """The document, to predict parts of it after symbols; None where it is all in one form."""
        return None


class RawReading(Reading):
    """Documents as their bytes: ``<bos> <raw> bytes``, or without sentinels ``<bos> bytes``."""

    name = BYTES

    def __init__(self, *, sentinels: bool = True) -> None:
        self.prefix = prefix_of(Format.RAW, sentinels=sentinels)

    def read(self, document: bytes) -> ReadText:
        """See the base class."""
        raw = np.frombuffer(document, dtype=np.uint8)
        return ReadText(raw.astype(np.int64) + Format.RAW.offset, np.arange(len(raw)))

    def opened(self, prompt: bytes) -> tuple[Ids, int]:
        """What stands before a prompt's bytes.

        Returns:
            The ids, and how many of the prompt's first bytes these stand for: none.
        """
        return self.prefix, 0


class MixedReading(RawReading):
    """Bytes after symbols: ``<bos> <compressed> symbols </compressed> <raw> bytes``.

    A text that the compressor has no exact form for is read as bytes alone. The compressor may be
    lossy: what is predicted is bytes.

    Raises:
        UsageError: the compressor never knows symbols for certain before it has a whole text.
    """

    name = MIXED

    def __init__(self, compressor: Compressor, *, sentinels: bool = True) -> None:
        super().__init__(sentinels=sentinels)
        nothing = CompressedView(symbols=np.empty(0, dtype=np.uint32))
        if compressor.settled(b"", nothing) is None:
            raise UsageError(
                f"--read-as mixed: symbols of '{compressor.kind}' are never certain before a text "
                "is complete (Compressor.settled): read as bytes or tokens"
            )
        self.compressor = compressor
        self._sentinels = sentinels

    def mixed(self, document: bytes) -> MixedText:
        """See the base class.

        Raises:
            DataError: the compressor errs.
        """
        [view] = self.compressor.views([document])
        places = np.empty((0, 3), dtype=np.int64)
        if isinstance(view, CannotCompress):
            view = CompressedView(symbols=np.empty(0, dtype=np.uint32))
        elif (settled := self.compressor.settled(document, view)) is not None:
            places = settled
        return MixedText(
            raw=self.read(document).ids,
            symbols=_compressed_ids(self.compressor, view),
            places=places,
            sentinels=self._sentinels,
        )

    def opened(self, prompt: bytes) -> tuple[Ids, int]:
        """See the base class; the bytes that are certain as symbols stand among the ids."""
        return self.mixed(prompt).opened(len(prompt))


class CompressedReading(Reading):
    """Documents as a reversible compressor's symbols: ``<bos> <compressed> symbols``.

    Raises:
        UsageError: the compressor is lossy: many documents share its symbols, so their
            probability is not that of the document.
    """

    name = TOKENS

    def __init__(self, compressor: Compressor, *, sentinels: bool = True) -> None:
        if not compressor.reversible:
            raise UsageError(
                f"text cannot be read as symbols of '{compressor.kind}': it is lossy, "
                "its symbols do not determine the bytes"
            )
        self.compressor = compressor
        self.prefix = prefix_of(Format.COMPRESSED, sentinels=sentinels)

    def read(self, document: bytes) -> ReadText:
        """See the base class.

        Raises:
            DataError: the compressor has no exact form for the document, or errs.
        """
        [view] = self.compressor.views([document])
        if isinstance(view, CannotCompress):
            raise DataError(f"cannot be compressed ({view.reason}) {view.detail}".rstrip())
        ids = _compressed_ids(self.compressor, view)
        num_bytes, num_symbols = self.compressor.divide(document, view)
        return ReadText(ids, np.repeat(starts_of(num_bytes), num_symbols))


def reading_of(
    model: TrainedModel, read_as: str | Compressor = BYTES, compressor: Compressor | None = None
) -> Reading:
    """How one of our models reads documents.

    Args:
        model: the model.
        read_as: ``bytes``, ``tokens``, ``mixed``, or the compressor whose symbols are read.
        compressor: the one whose symbols are read.

    Raises:
        UsageError: there is no such way; tokens are asked for without a compressor; the compressor
            is lossy or not the model's; or the model has no such symbols.
    """
    config = model.module.config
    if isinstance(read_as, Compressor):
        compressor, read_as = read_as, TOKENS
    if read_as == BYTES:
        config.require_raw_bytes()
        return RawReading(sentinels=config.sentinels)
    if read_as not in (TOKENS, MIXED):
        raise UsageError(f"--read-as {read_as}: must be {BYTES}, {TOKENS} or {MIXED}")
    config.require_compressed_symbols()
    if compressor is None:
        raise UsageError(
            f"read as {read_as}: this needs the model's compressor: give --compressor, or "
            "read_as=it"
        )
    kind = CompressedReading if read_as == TOKENS else MixedReading
    reading = kind(compressor, sentinels=config.sentinels)
    require_compressor(model, compressor.symbol_count, compressor.fingerprint)
    return reading


def _compressed_ids(compressor: Compressor, view: CompressedView) -> Ids:
    """A view's symbols in the model's vocabulary.

    Raises:
        DataError: the compressor errs.
    """
    try:
        symbols = as_symbols(view.symbols, compressor.symbol_count)
    except ValueError as error:
        raise DataError(f"{compressor.kind}: {error}") from None
    return symbols.astype(np.int64) + Format.COMPRESSED.offset


def prefix_of(content_format: Format, *, sentinels: bool) -> Ids:
    """Ids that a model of ours reads before content of a format."""
    return np.array(opening(content_format, sentinels=sentinels), dtype=np.int64)


def content_ids(
    config: ModelConfig, symbols: NDArray[Any], content_format: Format, *, name: str
) -> Ids:
    """Ids of symbols ``[m]`` that are at hand without their offset, such as a stored view's.

    The document is called ``name`` in messages.

    Raises:
        UsageError: they are no symbols that the model has in this format.
    """
    if content_format is Format.RAW:
        config.require_raw_bytes()
    else:
        config.require_compressed_symbols()
    # Of bytes no more than there are: the next ids mean a compressor's symbols.
    end = BYTE_COUNT if content_format is Format.RAW else config.compressed_symbol_count
    try:
        return as_symbols(symbols, end).astype(np.int64) + content_format.offset
    except ValueError as error:
        raise UsageError(
            f"{name}: its {content_format.name.lower()} {error}, which is what the model's "
            f"vocabulary of {config.vocabulary_size} has; was the model trained on this view?"
        ) from None


def starts_of(lengths: Int[np.ndarray, " part"]) -> Int64[np.ndarray, " part"]:
    """Where parts of these lengths begin, laid end to end."""
    return np.cumsum(lengths, dtype=np.int64) - lengths
