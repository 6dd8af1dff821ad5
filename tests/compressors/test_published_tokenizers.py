"""Tokenizers as others publish them: sentencepiece models and tiktoken's ranks."""

from __future__ import annotations

import base64
import inspect
import io
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiktoken
from compressor_cases import ODD_DOCUMENTS, TEXTS, check_views
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken_ext import openai_public
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

import proxylm
from proxylm.cli.main import run
from proxylm.compressors.contract import CannotCompress
from proxylm.compressors.registry import load_compressor, save_compressor
from proxylm.compressors.segments import segments
from proxylm.compressors.token_bytes import TokenBytesCompressor, TokenBytesSettings
from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.compressors.tokenizer.patterns import MODEL_PATTERNS, RANK_PATTERNS
from proxylm.errors import DamagedFileError, UsageError
from proxylm.generation.options import SymbolOptions
from proxylm.generation.token_reading import TokenReading
from proxylm.training.run import train
from small_runs import tiny_config

sentencepiece = pytest.importorskip("sentencepiece", reason="needs the extra 'sentencepiece'")

EXACT = {
    "normalization_rule_name": "identity",
    "add_dummy_prefix": False,
    "remove_extra_whitespaces": False,
    "byte_fallback": True,
}
SPELLED_SPECIALS = b"<s></s><unk><0x41><never> a"


def trained_model(**changes: Any) -> bytes:
    written = io.BytesIO()
    options = {"vocab_size": 400, "model_type": "bpe", "minloglevel": 2} | EXACT | changes
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter("".join(TEXTS).splitlines(keepends=True)),
        model_writer=written,
        hard_vocab_limit=False,
        num_threads=1,
        **options,
    )
    return written.getvalue()


@pytest.fixture(scope="module")
def models() -> dict[str, bytes]:
    return {
        "bpe": trained_model(control_symbols=["<never>"], user_defined_symbols=["<tool>"]),
        "unigram": trained_model(model_type="unigram", vocab_size=330),
        "llama": trained_model(add_dummy_prefix=True),
        "default": trained_model(
            normalization_rule_name="nmt_nfkc",
            add_dummy_prefix=True,
            remove_extra_whitespaces=True,
            byte_fallback=False,
            vocab_size=200,
        ),
    }


def ranks_of(tokens: list[bytes], first: int = 0) -> bytes:
    return b"".join(
        b"%s %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(tokens, first)
    )


@pytest.fixture(scope="module")
def ranks(trained) -> bytes:
    """A trained tokenizer's tokens in the order of their merges, as tiktoken writes them."""
    return ranks_of(trained["bpe"].token_bytes)


def spelled(compressor: TokenizerCompressor, document: bytes) -> list[bytes]:
    return [compressor.token_bytes[symbol] for symbol in compressor.compress([document])[0]]


@pytest.mark.parametrize("name", ["bpe", "unigram"])
def test_a_model_that_normalizes_nothing_takes_any_document(models, name):
    compressor = TokenizerCompressor(models[name])
    library = sentencepiece.SentencePieceProcessor(model_proto=models[name])
    documents = [raw for raw in ODD_DOCUMENTS if "▁".encode() not in raw]
    check_views(compressor, [*documents, SPELLED_SPECIALS])
    for text in [*TEXTS, SPELLED_SPECIALS.decode()]:
        assert compressor.compress([text.encode()])[0].tolist() == library.encode(text)
    assert compressor.symbol_count == library.get_piece_size()
    assert compressor.describe()["library"] == "sentencepiece"
    assert compressor.describe()["not_exact_where"] == "it takes ▁ for a space"


@given(raw=st.binary(max_size=200) | st.text(max_size=120).map(str.encode))
@settings(deadline=None, max_examples=100)
def test_any_bytes_come_back_or_are_refused(models, ranks, raw):
    compressors = [TokenizerCompressor(models[name]) for name in models]
    for compressor in [*compressors, TokenizerCompressor(ranks, pattern="cl100k_base")]:
        (view,) = compressor.encode([raw])
        if not isinstance(view, CannotCompress):
            check_views(compressor, [raw])
        elif compressor.describe()["not_exact_where"] == "it takes ▁ for a space":
            assert "▁".encode() in raw


@pytest.mark.parametrize(
    ("name", "document", "reason"),
    [
        ("bpe", "a ▁ b".encode(), "takes ▁ for a space"),
        ("llama", b"\xff after", "a space before text after bytes"),
        ("llama", b"before \xff after", "a space before text after bytes"),
        ("default", b"two  spaces", "drops spaces that repeat"),
        ("default", "the ﬁne".encode(), "normalizes characters"),
        ("default", "Ω".encode(), "no bytes for characters that it does not know"),
    ],
)
def test_what_a_model_does_not_keep_is_refused_with_the_reason(models, name, document, reason):
    (view,) = TokenizerCompressor(models[name]).encode([document])
    assert isinstance(view, CannotCompress) and view.reason == "not_exact"
    assert reason in view.detail and "\n" not in view.detail


def test_a_space_before_every_text_is_no_byte_of_the_document(models):
    compressor = TokenizerCompressor(models["llama"])
    check_views(compressor, [raw for raw in ODD_DOCUMENTS if raw.isascii()])
    assert b"".join(spelled(compressor, b"the fox")) == b" the fox"
    assert segments(compressor, b"the fox").spans[-1].tolist()[1] == 7
    check_views(TokenizerCompressor(models["default"]), [b"the quick brown fox"])


def test_text_never_becomes_a_control_piece_and_is_one_piece_where_the_user_defined_it(models):
    compressor = TokenizerCompressor(models["bpe"])
    library = sentencepiece.SentencePieceProcessor(model_proto=models["bpe"])
    never = [i for i in range(len(library)) if library.is_control(i) or library.is_unknown(i)]
    assert [library.id_to_piece(i) for i in never] == ["<unk>", "<s>", "</s>", "<never>"]
    assert {compressor.token_bytes[i] for i in never} == {b""}
    assert not {*compressor.compress([SPELLED_SPECIALS])[0].tolist()} & {*never}
    assert spelled(compressor, b"a<tool>")[-1] == b"<tool>"


def test_a_model_that_puts_spaces_behind_texts_is_refused():
    file = trained_model(add_dummy_prefix=True, treat_whitespace_as_suffix=True)
    with pytest.raises(UsageError, match="x: puts a space behind every text"):
        TokenizerCompressor(file, "x")


def test_a_file_that_is_cut_off_is_one_line(models):
    with pytest.raises(DamagedFileError, match="x: not a sentencepiece model") as caught:
        TokenizerCompressor(models["bpe"][:100], "x")
    assert "\n" not in str(caught.value)


def test_without_sentencepiece_the_extra_is_named(models, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(UsageError, match=r"pip install 'proxylm\[sentencepiece\]'"):
        TokenizerCompressor(models["bpe"], "x")


def test_ranks_are_tiktoken_s_own_symbols(ranks, trained):
    compressor = TokenizerCompressor(ranks, pattern="cl100k_base")
    check_views(compressor, [*ODD_DOCUMENTS, SPELLED_SPECIALS])
    library = tiktoken.Encoding(
        "same",
        pat_str=RANK_PATTERNS["cl100k_base"],
        mergeable_ranks={token: rank for rank, token in enumerate(trained["bpe"].token_bytes)},
        special_tokens={"<s>": 1000},
    )
    for text in [*TEXTS, SPELLED_SPECIALS.decode()]:
        assert compressor.compress([text.encode()])[0].tolist() == library.encode_ordinary(text)
    assert compressor.symbol_count == trained["bpe"].symbol_count


def test_a_rank_that_no_token_has_spells_nothing(ranks):
    compressor = TokenizerCompressor(ranks + ranks_of([b"def area("], 450), pattern=r"[\s\S]+")
    assert compressor.symbol_count == 451 and compressor.token_bytes[449] == b""
    assert spelled(compressor, b"def area(") == [b"def area("]


def test_what_a_pattern_leaves_out_and_what_tiktoken_gives_up_on_is_refused(ranks):
    (view,) = TokenizerCompressor(ranks, pattern=r"\w+").encode([b"two words"])
    assert isinstance(view, CannotCompress) and "leaves out a part" in view.detail
    (view,) = TokenizerCompressor(ranks, pattern="cl100k_base").encode([b" " * 2_000_000 + b"x"])
    assert isinstance(view, CannotCompress) and "gives up" in view.detail


def test_patterns_are_those_of_tiktoken_s_encodings(monkeypatch):
    source = inspect.getsource(openai_public)
    assert RANK_PATTERNS["r50k_base"] == openai_public.r50k_pat_str
    assert RANK_PATTERNS["cl100k_base"] in source
    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: {})
    for name, pattern in RANK_PATTERNS.items():
        assert pattern == openai_public.ENCODING_CONSTRUCTORS[name]()["pat_str"]


def test_ranks_without_a_pattern_are_refused_and_the_pattern_beside_them_is_read(ranks, tmp_path):
    file = tmp_path / "mine.tiktoken"
    file.write_bytes(ranks)
    with pytest.raises(UsageError, match=r"does not say how .*,pattern=NAME \(r50k_base") as caught:
        load_compressor(file)
    assert "\n" not in str(caught.value)
    named = load_compressor(f"tokenizer:file={file},pattern=cl100k_base")
    file.with_name("pattern.txt").write_text(f"{RANK_PATTERNS['cl100k_base']}\n")
    assert load_compressor(file).fingerprint == named.fingerprint
    other = load_compressor(f"tokenizer:file={file},pattern=r50k_base")
    assert other.fingerprint != named.fingerprint


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"YQ== 1\nYQ= 2\n", "line 2: not a token in base64 and its rank"),
        (b"YQ== 1\nYg== two\n", "line 2: not a token"),
        (b"YQ== 1\nYQ== 2\n", "line 2: b'a' stands twice"),
        (b"YQ== 1\nYg== 1\n", "two tokens have one rank"),
        (b"YQ== 1\n", "no token for the byte 0x00"),
        (b"YQ== 99999999\n", "line 1: rank 99999999, ranks go up to"),
    ],
)
def test_files_that_are_no_ranks_are_one_line(lines, message):
    with pytest.raises(DamagedFileError, match=f"x: {message}"):
        TokenizerCompressor(lines, "x", "cl100k_base")


def test_patterns_that_are_wrong_or_not_to_be_given_are_one_line(ranks, models, trained):
    for file, pattern, message in [
        (ranks, "(", "x: pattern: tiktoken refuses it"),
        (models["bpe"], "(", "x: pattern: tokenizers refuses it"),
        (trained["bpe"]._file, "cl100k_base", "x: says itself how it cuts texts"),
    ]:
        with pytest.raises(UsageError, match=message) as caught:
            TokenizerCompressor(file, "x", pattern)
        assert "\n" not in str(caught.value)


def test_a_model_behind_a_pattern_sees_words(models):
    compressor = TokenizerCompressor(models["bpe"], pattern="opencoder")
    library = sentencepiece.SentencePieceProcessor(model_proto=models["bpe"])
    cut = Split(Regex(MODEL_PATTERNS["opencoder"]), "isolated")
    differ = 0
    for text in [*TEXTS, "x  \n  y12345  z", "it's  we'LL \r\n\r\n\t end "]:
        words = [library.encode(word) for word, _ in cut.pre_tokenize_str(text)]
        expected = [identity for word in words for identity in word]
        assert compressor.compress([text.encode()])[0].tolist() == expected
        differ += expected != library.encode(text)
    assert differ
    check_views(compressor, [raw for raw in ODD_DOCUMENTS if "▁".encode() not in raw])


def compressors_of(models: dict[str, bytes], ranks: bytes) -> dict[str, TokenizerCompressor]:
    return {
        "model": TokenizerCompressor(models["unigram"]),
        "model behind a pattern": TokenizerCompressor(models["bpe"], pattern="opencoder"),
        "ranks": TokenizerCompressor(ranks, pattern="o200k_base"),
    }


def test_they_are_saved_sent_to_workers_and_written_as_bytes(models, ranks, tmp_path):
    document = "".join(TEXTS).encode()
    for name, compressor in compressors_of(models, ranks).items():
        save_compressor(compressor, tmp_path / name)
        gray = TokenBytesCompressor(compressor, TokenBytesSettings(encoding="gray"))
        save_compressor(gray, tmp_path / f"{name} in gray")
        (symbols,) = compressor.compress([document])
        for copy in (load_compressor(tmp_path / name), pickle.loads(pickle.dumps(compressor))):
            assert copy.fingerprint == compressor.fingerprint
            np.testing.assert_array_equal(copy.compress([document])[0], symbols)
        check_views(load_compressor(tmp_path / f"{name} in gray"), [document])


def test_segments_are_tokens(models, ranks):
    for compressor in compressors_of(models, ranks).values():
        found = segments(compressor, TEXTS[0].encode())
        texts = [TEXTS[0].encode()[start:stop] for start, stop in found.spans.tolist()]
        assert texts == spelled(compressor, TEXTS[0].encode())


OPENCODER_CONFIG = {
    "add_bos_token": False,
    "add_eos_token": False,
    "auto_map": {"AutoTokenizer": ["tokenization_inflm.INFLMTokenizer", None]},
    "bos_token": "<s>",
    "clean_up_tokenization_spaces": False,
    "eos_token": "</s>",
    "sp_model_kwargs": {},
    "spaces_between_special_tokens": False,
    "tokenizer_class": "INFLMTokenizer",
    "unk_token": "<unk>",
}


def opencoder_folder(folder: Path, model: bytes) -> Path:
    """The tokenizer's files as OpenCoder's repositories have them: a model, no tokenizer.json."""
    folder.mkdir()
    (folder / "tokenizer.model").write_bytes(model)
    (folder / "tokenizer_config.json").write_text(json.dumps(OPENCODER_CONFIG))
    return folder


def test_opencoder_s_layout_from_the_folder_to_generated_text(models, tmp_path, capsys):
    folder = opencoder_folder(tmp_path / "OpenCoder", models["bpe"])
    by_hand = TokenizerCompressor(models["bpe"], pattern="opencoder")
    for path in (folder, folder / "tokenizer.model"):
        assert load_compressor(path).fingerprint == by_hand.fingerprint
    corpus, store, trained = tmp_path / "corpus", tmp_path / "views", tmp_path / "run"
    corpus.mkdir()
    for number, text in enumerate(TEXTS):
        (corpus / f"{number}.py").write_bytes(text.encode())
    documents = ["--corpus", str(corpus), "--held-out", "0.1", "--workers", "1"]
    view = ["--compressor", f"code={folder}", "--out", str(store)]
    assert run(["prepare", *documents, *view]) == 0
    data = [{"store": str(store), "view": "code"}]
    # One batch has to hold every kind of sample at once: a little data does not reach for more.
    train(tiny_config(store, steps=2, data=data, held_out=None), trained)
    capsys.readouterr()
    asked = [str(trained), "--read-as", "tokens", "--prompt", "def area", "--max-new-symbols", "6"]
    assert run(["generate", *asked, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    model = proxylm.load(trained)
    reading = TokenReading(model, load_compressor(folder))
    (expected,) = reading.complete([b"def area"], SymbolOptions(max_new_symbols=6), [0])
    assert base64.b64decode(answer["bytes_base64"]) == expected.data
