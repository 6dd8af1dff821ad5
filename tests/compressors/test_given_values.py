"""Wrong documents and symbols, in every compressor alike: one line that names the place.

Also those of other packages, which implement ``encode`` and ``decode`` and check nothing.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from compressor_cases import TEXTS, TRAININGS

from chain_compressor import chain_compressor
from proxylm.compressors.contract import CompressedView, Compressor
from proxylm.compressors.neural.compressor import NeuralCompressor
from proxylm.compressors.registry import load_compressor, save_compressor
from proxylm.compressors.token_bytes import TokenBytesCompressor, TokenBytesSettings
from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.data.preparing import prepare
from proxylm.errors import DamagedFileError, DataError, UsageError
from unchecked_views import altered


class ForeignCompressor(Compressor):
    """As another package may write it; ``symbols`` is what it makes of any document."""

    kind = "foreign"
    reversible = True
    symbol_count = 300

    def __init__(self, symbols: Any = None) -> None:
        self._symbols = symbols

    @property
    def settings(self) -> dict[str, Any]:
        return {}

    def encode(self, documents: Any) -> list[Any]:
        views = [CompressedView(symbols=np.frombuffer(raw, np.uint8)) for raw in documents]
        if self._symbols is None:
            return views
        return [altered(view, symbols=self._symbols) for view in views]

    def decode(self, symbols: Any) -> list[bytes]:
        return [bytes(one.astype(np.uint8)) for one in symbols]


@cache
def tokenizer() -> TokenizerCompressor:
    return TokenizerCompressor(TRAININGS["bpe"].train(TEXTS))


def token_bytes(**settings: Any) -> TokenBytesCompressor:
    counts = np.arange(tokenizer().symbol_count)
    chosen = TokenBytesSettings(**settings)
    return TokenBytesCompressor(tokenizer(), chosen, counts if chosen.needs_frequencies else None)


def neural() -> NeuralCompressor:
    return chain_compressor("fixed", window_bits=None)  # without an automaton: built at once


REVERSIBLE = {
    "foreign": ForeignCompressor,
    "gzip": lambda: load_compressor("gzip"),
    **{f"units-{bits}": lambda b=bits: load_compressor(f"units:bits={b}") for bits in (16, 8, 1)},
    "tokenizer": tokenizer,
    "fixed": token_bytes,
    "gray": lambda: token_bytes(encoding="gray", double_byte=True),
    "huffman": lambda: token_bytes(encoding="huffman"),
}


@pytest.fixture(params=REVERSIBLE)
def compressor(request) -> Compressor:
    return REVERSIBLE[request.param]()


def test_symbols_that_are_none_are_named_with_their_place(compressor):
    last = compressor.symbol_count - 1
    (right,) = compressor.compress([b"for index in"])
    changed = right.tolist()
    for wrong in (-1, -last, last + 1, 0.7, 1.0, float("nan"), True, "1", None, 1 << 70):
        message = (
            rf"^{compressor.kind}: sequence 1: symbol 1 is .*, not an integer from 0 to {last}$"
        )
        with pytest.raises(DataError, match=message):
            compressor.decompress([right, [changed[0], wrong, *changed[2:]]])
    for typed in (right.astype(np.int64) - right.max() - 1, right + 0.5, right[None], 5, None):
        with pytest.raises(DataError, match=rf"^{compressor.kind}: sequence 0: "):
            compressor.decompress([typed])
    with pytest.raises(UsageError, match="expected a list, found one int"):
        compressor.decompress(7)


def test_right_symbols_of_any_integer_type_come_back(compressor):
    documents = [b"for index in", b"", b"a"]
    symbols = compressor.compress(documents)
    assert compressor.decompress(symbols) == documents
    assert compressor.decompress([one.astype(np.int64) for one in symbols]) == documents
    assert compressor.decompress([one.tolist() for one in symbols]) == documents


@pytest.fixture(params=[*REVERSIBLE, "neural"])
def any_compressor(request) -> Compressor:
    return neural() if request.param == "neural" else REVERSIBLE[request.param]()


def test_documents_that_are_no_bytes_are_named(any_compressor):
    for wrong in ("text", None, 7, [97], np.array([97])):
        with pytest.raises(UsageError, match=r"^document 1: a document is bytes, not "):
            any_compressor.compress([b"a", wrong])
    for wrong in ("text", b"text", None):
        with pytest.raises(UsageError, match=r"^documents: expected a list, found one "):
            any_compressor.compress(wrong)


def test_whatever_holds_bytes_compresses_alike(any_compressor):
    raw = b"for index in range(10):\n"
    expected = any_compressor.compress([raw])[0].tolist()
    held = [bytearray(raw), memoryview(raw), np.frombuffer(raw, np.uint8)]
    assert [one.tolist() for one in any_compressor.compress(held)] == [expected] * len(held)


def test_a_neural_compressor_cuts_bytes_alone():
    with pytest.raises(UsageError, match="document 0: a document is bytes, not str"):
        neural().cut(["text"])


@pytest.mark.parametrize("made", [[-1], [300], [0.5], [[1]], ["a"]])
def test_what_a_foreign_compressor_must_not_make_is_found(made):
    with pytest.raises(DataError, match=r"^foreign: document 0: "):
        ForeignCompressor(np.array(made)).compress([b"a"])


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.full(400, 0.5), "count of token 0 is 0.5"),
        (np.r_[3, -1, np.ones(398, np.int64)], "count of token 1 is -1"),
        (np.ones(399, np.int64), "399 counts for 400 tokens"),
        (np.ones((400, 1), np.int64), "expected integers of shape"),
    ],
)
def test_token_counts_are_one_count_for_each_token(tmp_path, counts, message):
    settings = TokenBytesSettings(encoding="huffman")
    with pytest.raises(UsageError, match=f"token-bytes: frequencies: {message}"):
        TokenBytesCompressor(tokenizer(), settings, counts)
    save_compressor(token_bytes(encoding="huffman"), tmp_path / "saved")
    np.save(tmp_path / "saved" / "token_frequencies.npy", counts)
    with pytest.raises(DamagedFileError, match=rf"token_frequencies\.npy: .*{message}"):
        load_compressor(tmp_path / "saved")


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([], "foreign: encode gave 0 results for 1 documents"),
        ([np.zeros(3, np.uint32)], "foreign: encode gave a ndarray, not a CompressedView"),
    ],
)
def test_what_encode_must_not_give_is_said_in_one_line(results, message, monkeypatch):
    monkeypatch.setattr(ForeignCompressor, "encode", lambda self, documents: results)
    for use in (
        ForeignCompressor().compress,
        lambda documents: prepare(documents, ForeignCompressor()),
    ):
        with pytest.raises(DataError, match=message):
            use([b"a"])
