"""Can a model go on with a gzip stream? (paper, 3.4)

A model that was trained on gzip's output has seen its bytes as symbols. It is given a stream up to
a cut, and writes on. What is counted is how far zlib reads the result before it is no stream any
more, and how many of the bytes that come out are the document's. Most bits are valid inside a
block's codes, so that chance gets on as well: the same number of random symbols stands beside.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import islice

import numpy as np
from pydantic import Field, PositiveInt

from proxylm.compressors.gzip import GzipCompressor
from proxylm.config import Config
from proxylm.errors import DataError
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.decoding import Completion, complete
from proxylm.generation.decoding_row import Finish
from proxylm.generation.options import SymbolOptions
from proxylm.generation.request import SymbolRequest
from proxylm.progress import TellCount, untold
from proxylm.symbols import BYTE_COUNT, Format, opening

HEADER_BYTES = 10
TRAILER_BYTES = 8
"""Of what ``gzip.compress`` writes; the checksum and the length are the trailer."""
GZIP_FORMAT = 16 + zlib.MAX_WBITS
GROUP_STREAMS = 64


class GzipProbe(Config):
    """What streams a model is to go on with.

    Attributes:
        documents: how many documents' streams.
        document_bytes: of each document the first so many bytes, as a document of its own.
        cut: share of a stream, without header and trailer, that the model reads.
    """

    documents: PositiveInt = 100
    document_bytes: PositiveInt = 2048
    cut: float = Field(default=0.5, gt=0, lt=1)


@dataclass(frozen=True, kw_only=True)
class StreamRequest(SymbolRequest):
    """A gzip stream to go on with; what comes out is the stream itself, and not its contents."""

    def speller(self) -> Callable[[int], bytes]:
        """See the base class."""
        return lambda symbol: bytes([symbol])


@dataclass(frozen=True, slots=True, kw_only=True)
class CutStream:
    """A document's stream up to a cut.

    Attributes:
        document: its bytes.
        stream: whole.
        cut: how many bytes of the stream are the prompt.
    """

    document: bytes
    stream: bytes
    cut: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Continued:
    """How far continuations are streams: one of them, or the sums over several.

    Attributes:
        symbols: written after the cut.
        same_symbols: of them from the first one on, those that the true stream has there.
        valid_symbols: of them from the first one on, those that zlib reads without an error.
        broken: continuations that are no stream at some symbol.
        whole: streams that end properly, with their checksum and length.
        new_bytes: that come out beyond what the prompt gives.
        right_bytes: of these from the first one on, those that the document has there.
    """

    symbols: int
    same_symbols: int
    valid_symbols: int
    broken: int
    whole: int
    new_bytes: int
    right_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuedTotal(Continued):
    """The sums over all continuations; fractions are None where there is nothing to divide by.

    Attributes:
        valid_fraction: ``valid_symbols / symbols``.
        right_fraction: ``right_bytes / new_bytes``.
    """

    valid_fraction: float | None
    right_fraction: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GzipContinuationReport:
    """What the probe found.

    Attributes:
        documents: how many.
        beyond_context: of them, those whose prompt is longer than the training context.
        prompt_symbols: of all prompts.
        closed: streams that the model ended by itself.
        model: what the model has written.
        random: as many random symbols in its place.
    """

    documents: int
    beyond_context: int
    prompt_symbols: int
    closed: int
    model: ContinuedTotal
    random: ContinuedTotal


def probe_gzip_continuation(
    model: ByteModel,
    compressor: GzipCompressor,
    documents: Iterable[bytes],
    probe: GzipProbe,
    options: SymbolOptions,
    *,
    progress: TellCount = untold,
) -> GzipContinuationReport:
    """Have a model go on with the documents' gzip streams.

    Args:
        model: one that reads this compressor's symbols.
        compressor: gzip, as it was trained with.
        documents: of which the first are taken.
        probe: how many, and where their streams are cut.
        options: how symbols are drawn, and how many at most.
        progress: hears how many streams were gone on with.

    Raises:
        DataError: there is no document.
    """
    model.config.require_compressed_symbols()
    pieces = (document[: probe.document_bytes] for document in islice(documents, probe.documents))
    streams = [_cut_stream(compressor, one, probe.cut) for one in pieces]
    if not streams:
        raise DataError("no document: there is no gzip stream to go on with")
    prefix = opening(Format.COMPRESSED, sentinels=model.config.sentinels)
    written = list(_completed(model, compressor, streams, options, progress))
    chance = np.random.default_rng(options.seed)
    random = [chance.integers(BYTE_COUNT, size=len(one.data), dtype=np.uint8) for one in written]
    return GzipContinuationReport(
        documents=len(streams),
        beyond_context=sum(len(prefix) + one.cut > model.config.context for one in streams),
        prompt_symbols=sum(one.cut for one in streams),
        closed=sum(one.finish is Finish.END for one in written),
        model=_total(streams, [one.data for one in written]),
        random=_total(streams, [one.tobytes() for one in random]),
    )


def continued(one: CutStream, written: bytes) -> Continued:
    """How far a prompt and what was written after it is a stream, and the document's."""
    reader = zlib.decompressobj(GZIP_FORMAT)
    known = len(reader.decompress(one.stream[: one.cut]))
    new = bytearray()
    valid = 0
    try:
        for value in written:
            if reader.eof:  # nothing may follow
                break
            new += reader.decompress(bytes([value]))
            valid += 1
    except zlib.error:
        pass
    return Continued(
        symbols=len(written),
        same_symbols=_common_prefix(written, one.stream[one.cut :]),
        valid_symbols=valid,
        broken=int(valid < len(written)),
        whole=int(reader.eof),
        new_bytes=len(new),
        right_bytes=_common_prefix(bytes(new), one.document[known:]),
    )


def _cut_stream(compressor: GzipCompressor, document: bytes, cut: float) -> CutStream:
    [symbols] = compressor.compress([document])
    stream = symbols.astype(np.uint8).tobytes()
    contents = len(stream) - HEADER_BYTES - TRAILER_BYTES
    return CutStream(document=document, stream=stream, cut=HEADER_BYTES + int(cut * contents))


def _completed(
    model: ByteModel,
    compressor: GzipCompressor,
    streams: Sequence[CutStream],
    options: SymbolOptions,
    progress: TellCount,
) -> Iterator[Completion]:
    requests = [
        StreamRequest(
            prompt=np.frombuffer(one.stream[: one.cut], dtype=np.uint8).astype(np.uint32),
            compressor=compressor,
            options=options,
            sample=number,
        )
        for number, one in enumerate(streams)
    ]
    for start in range(0, len(requests), GROUP_STREAMS):
        progress("streams", start, len(requests))
        yield from complete(model.module, requests[start : start + GROUP_STREAMS])
    progress("streams", len(requests), len(requests))


def _total(streams: Sequence[CutStream], written: Sequence[bytes]) -> ContinuedTotal:
    each = [continued(one, text) for one, text in zip(streams, written, strict=True)]
    names = [one.name for one in fields(Continued)]
    sums = Continued(**{name: sum(getattr(one, name) for one in each) for name in names})
    return ContinuedTotal(
        **asdict(sums),
        valid_fraction=sums.valid_symbols / sums.symbols if sums.symbols else None,
        right_fraction=sums.right_bytes / sums.new_bytes if sums.new_bytes else None,
    )


def _common_prefix(one: bytes, other: bytes) -> int:
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
