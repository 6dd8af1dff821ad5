"""Going on with a gzip stream: how far it is one, and whose bytes come out."""

from __future__ import annotations

import gzip
from dataclasses import asdict

import numpy as np
import pytest

from oracle_models import ScriptedModule
from proxylm.analysis.gzip_continuation import (
    HEADER_BYTES,
    TRAILER_BYTES,
    CutStream,
    GzipProbe,
    continued,
    probe_gzip_continuation,
)
from proxylm.compressors.gzip import GzipCompressor, GzipSettings
from proxylm.errors import DataError
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.options import SymbolOptions
from proxylm.symbols import BOS, COMPRESSED_CLOSE, COMPRESSED_OFFSET, COMPRESSED_OPEN

PROBE = GzipProbe(cut=0.6)
COMPRESSOR = GzipCompressor(GzipSettings())
DOCUMENTS = [
    b"".join(b"def f%d(x):\n    return x * %d\n" % (n * n % 97, n) for n in range(size))
    for size in (12, 25)
]


def stream_of(document: bytes) -> bytes:
    return bytes(COMPRESSOR.compress([document])[0].astype(np.uint8))


def cut_at(document: bytes, share: float) -> CutStream:
    stream = stream_of(document)
    contents = len(stream) - HEADER_BYTES - TRAILER_BYTES
    return CutStream(document=document, stream=stream, cut=HEADER_BYTES + int(share * contents))


def test_the_true_rest_is_whole_and_right() -> None:
    one = cut_at(DOCUMENTS[0], 0.5)
    rest = one.stream[one.cut :]
    found = continued(one, rest)
    assert gzip.decompress(one.stream[: one.cut] + rest) == DOCUMENTS[0]
    assert found.whole and found.symbols == found.same_symbols == found.valid_symbols == len(rest)
    assert 0 < found.new_bytes == found.right_bytes < len(DOCUMENTS[0])
    more = continued(one, rest + b"x")  # nothing may follow
    assert (more.valid_symbols, more.symbols, more.whole) == (len(rest), len(rest) + 1, True)
    assert more.right_bytes == found.right_bytes


def test_a_wrong_checksum_is_an_error_where_it_is_complete() -> None:
    one = cut_at(DOCUMENTS[0], 0.5)
    rest = bytearray(one.stream[one.cut :])
    rest[-TRAILER_BYTES] ^= 1
    found = continued(one, bytes(rest))
    assert not found.whole
    assert found.same_symbols == len(rest) - TRAILER_BYTES
    assert found.valid_symbols == len(rest) - TRAILER_BYTES + 3  # the fourth completes it
    assert found.new_bytes == found.right_bytes


def test_another_documents_rest_gives_other_bytes() -> None:
    one, other = cut_at(DOCUMENTS[0], 0.5), cut_at(DOCUMENTS[1], 0.5)
    found = continued(one, other.stream[other.cut :])
    assert found.right_bytes < found.new_bytes
    assert not found.whole
    assert set(asdict(continued(one, b"")).values()) == {0}


def scripted(share: float, *, wrong_at: int | None = None) -> ByteModel:
    """A model that goes on with the streams as they are, but for one symbol."""
    scripts = []
    for document in DOCUMENTS:
        one = cut_at(document, share)
        rest = [*one.stream[one.cut :]]
        if wrong_at is not None:
            rest[wrong_at] ^= 0xFF
        prompt = [COMPRESSED_OFFSET + value for value in one.stream[: one.cut]]
        answer = [COMPRESSED_OFFSET + value for value in rest]
        scripts.append(([BOS, COMPRESSED_OPEN, *prompt], [*answer, COMPRESSED_CLOSE]))
    return ByteModel(ScriptedModule(scripts))


def test_a_model_that_knows_gzip_and_one_that_does_not() -> None:
    options = SymbolOptions(max_new_symbols=1000)
    right = probe_gzip_continuation(scripted(0.6), COMPRESSOR, DOCUMENTS, PROBE, options)
    assert (right.documents, right.closed, right.model.whole, right.model.broken) == (2, 2, 2, 0)
    assert (right.model.valid_fraction, right.model.right_fraction) == (1.0, 1.0)
    assert right.prompt_symbols == sum(cut_at(one, 0.6).cut for one in DOCUMENTS)
    assert right.random.symbols == right.model.symbols
    assert right.random.whole == 0 and right.random.right_bytes < right.model.right_bytes
    wrong = probe_gzip_continuation(
        scripted(0.6, wrong_at=5), COMPRESSOR, DOCUMENTS, PROBE, options
    )
    assert wrong.model.whole == 0 and wrong.model.same_symbols == 10
    assert wrong.model.right_bytes < right.model.right_bytes
    short = probe_gzip_continuation(
        scripted(0.6), COMPRESSOR, DOCUMENTS, PROBE, SymbolOptions(max_new_symbols=7)
    )
    assert (short.closed, short.model.symbols, short.model.same_symbols) == (0, 14, 14)


def test_documents_are_counted_and_cut_to_size() -> None:
    model = scripted(0.6)
    first = GzipProbe(cut=0.6, documents=1)
    one = probe_gzip_continuation(model, COMPRESSOR, DOCUMENTS, first, SymbolOptions())
    assert (one.documents, one.prompt_symbols) == (1, cut_at(DOCUMENTS[0], 0.6).cut)
    short = GzipProbe(cut=0.6, document_bytes=100)
    both = probe_gzip_continuation(model, COMPRESSOR, DOCUMENTS, short, SymbolOptions())
    assert both.prompt_symbols == sum(cut_at(one[:100], 0.6).cut for one in DOCUMENTS)
    with pytest.raises(DataError, match="there is no gzip stream"):
        probe_gzip_continuation(model, COMPRESSOR, [], first, SymbolOptions())
