"""``proxylm.score``: our models however they are given, transformers models, and any callable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import yaml
from torch import Tensor

from proxylm.cli.main import run as run_command
from proxylm.compressors.contract import CannotCompress, CompressedView, Compressor
from proxylm.compressors.registry import load_compressor
from proxylm.compressors.tokenizer.compressor import TokenizerCompressor
from proxylm.compressors.tokenizer.training import tokenizer_training
from proxylm.errors import DataError, UsageError
from proxylm.generation.loading import load
from proxylm.interchange.export import export_model
from proxylm.models.language_model import LanguageModel
from proxylm.scoring.score import Scores, score
from proxylm.scoring.tokenizer_readings import OwnReading, TokenizerReading
from proxylm.symbols import BOS, RAW_OFFSET, RAW_OPEN
from small_models import ATTENTIONS, save_small_run, small_model
from units_store import units, write_units_store

DOCUMENTS = [b"def area(radius):\n    return 3\n", "a\u00e9\u4e16\U0001f600".encode(), b"xy" * 99]
LLAMA = {"attention": ATTENTIONS["causal"], "prediction_heads": 1}
CLOSE = {"rel": 1e-5}


def logits_of(model: LanguageModel, ids: Tensor) -> Tensor:
    return model.logits(ids)[:, :, 0]


def same(found: Scores, expected: Scores) -> bool:
    """The same bits of every byte, up to rounding."""
    assert len(found.per_byte) == len(expected.per_byte)
    return all(
        one == pytest.approx(other, rel=1e-4, abs=1e-4)
        for one, other in zip(found.per_byte, expected.per_byte, strict=True)
    )


def test_scores_are_those_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save_small_run(tmp_path / "run", seed=3, sharpness=8)
    for name, document in zip("abc", DOCUMENTS, strict=True):
        (tmp_path / f"{name}.txt").write_bytes(document)
    command = ["evaluate", "bpb", str(tmp_path / "run"), "--json", "--context", "32"]
    assert run_command([*command, *(str(tmp_path / f"{name}.txt") for name in "abc")]) == 0
    result = json.loads(capsys.readouterr().out)
    for model in (load(tmp_path / "run"), str(tmp_path / "run"), load(tmp_path / "run").module):
        scores = score(model, DOCUMENTS, context=32)
        assert scores.bits_per_byte == result["total"]["bits_per_byte"]
        assert scores.bits.tolist() == [one["bits"] for one in result["documents"]]
        assert scores.per_document.tolist() == [one["bits_per_byte"] for one in result["documents"]]
        assert [len(one) for one in scores.per_byte] == list(map(len, DOCUMENTS))
    assert scores.read_as == "bytes"
    assert repr(scores).startswith("Scores(3 documents, 239 bytes, read as bytes: ")


def test_documents_may_have_names_or_come_from_a_corpus(tmp_path: Path) -> None:
    model = small_model(sharpness=8)
    expected = score(model, DOCUMENTS)
    named = score(model, [(f"d{index}", one) for index, one in enumerate(DOCUMENTS)])
    assert (expected.names, named.names) == (
        ["document 0", "document 1", "document 2"],
        ["d0", "d1", "d2"],
    )
    lines = [json.dumps({"text": one.decode()}) for one in DOCUMENTS] + ['{"text": ""}']
    (tmp_path / "lines.jsonl").write_text("\n".join(lines))
    read = score(model, tmp_path / "lines.jsonl")
    assert read.left_out == {"empty": 1}
    assert same(named, expected)
    assert same(read, expected)


def test_tokens_are_those_of_the_run_s_own_compressor(tmp_path: Path) -> None:
    write_units_store(tmp_path / "store")
    save_small_run(tmp_path / "run", compressor_fingerprint=units(8).fingerprint, sharpness=8)
    sources = [{"store": str(tmp_path / "store"), "view": "units"}]
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump({"data": sources}))
    tokens = score(tmp_path / "run", DOCUMENTS, "tokens")
    for read_as in (units(8), "tokens"):
        loaded = score(load(tmp_path / "run"), DOCUMENTS, read_as)
        assert loaded.bits.tolist() == tokens.bits.tolist()
    assert tokens.bits_per_byte != score(tmp_path / "run", DOCUMENTS).bits_per_byte
    with pytest.raises(UsageError, match="and this one is"):
        score(tmp_path / "run", DOCUMENTS, load_compressor("gzip"))
    with pytest.raises(UsageError, match="needs the model's compressor"):
        score(load(tmp_path / "run").module, DOCUMENTS, "tokens")


def test_a_token_s_bits_stand_at_its_first_byte() -> None:
    training = tokenizer_training({"algorithm": "bpe", "vocabulary_size": 280})
    tokenizer = TokenizerCompressor(training.train([DOCUMENTS[0].decode() * 9]))
    model = small_model(sharpness=8, vocabulary_size=320 + tokenizer.symbol_count)
    [text] = DOCUMENTS[:1]
    scores = score(model, [text], tokenizer)
    [symbols] = tokenizer.compress([text])
    lengths = [len(tokenizer.token_bytes[one]) for one in symbols]
    [per_byte] = scores.per_byte
    assert np.flatnonzero(per_byte).tolist() == np.cumsum([0, *lengths[:-1]]).tolist()
    assert scores.num_symbols.tolist() == [len(symbols)]
    # gzip's symbols mean nothing alone: the whole document begins at its first byte.
    packed = score(small_model(sharpness=8), [text], load_compressor("gzip"))
    assert np.flatnonzero(packed.per_byte[0]).tolist() == [0]


class Erring(Compressor):
    """Gives whatever it is told to."""

    kind, reversible, symbol_count, settings = "erring", True, 4, {}

    def __init__(self, *views: Any) -> None:
        self.given = list(views)

    def encode(self, documents: Any) -> list[Any]:
        return self.given


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ([], "document 0: erring: encode gave 0 results for 1 documents"),
        (["text"], "document 0: erring: encode gave a str, not a CompressedView"),
        ([CompressedView(symbols=np.array([3, 4], np.uint32))], "erring: symbol 1 is 4, not an"),
        ([CannotCompress(reason="odd")], r"document 0: cannot be compressed \(odd\)"),
    ],
)
def test_what_a_compressor_gives_is_checked(views: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        score(small_model(), [b"ab"], Erring(*views))


def test_modules_are_left_in_the_modes_they_were_in() -> None:
    model = torch.nn.Sequential(torch.nn.Embedding(400, 400), torch.nn.Dropout()).train()
    model[0].eval()
    scores = score(model, [b"abc"])
    assert scores.bits.tolist() == score(model, [b"abc"]).bits.tolist(), "nothing is dropped"
    assert [one.training for one in model.modules()] == [True, False, True]


def test_any_callable_that_gives_logits() -> None:
    model = small_model(seed=4, sharpness=8)
    expected = score(model, DOCUMENTS)

    def in_torch(ids: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        return logits_of(model, ids)

    def in_numpy(ids: Tensor) -> np.ndarray:
        return logits_of(model, ids).double().numpy()

    def in_latin_1(document: bytes) -> tuple[list[int], list[int]]:
        return [byte + RAW_OFFSET for byte in document], list(range(len(document)))

    assert same(score(in_torch, DOCUMENTS, context=64), expected)
    assert same(score(in_numpy, DOCUMENTS, context=64), expected)
    reading = OwnReading(in_latin_1, prefix=[BOS, RAW_OPEN])
    assert same(score(in_torch, DOCUMENTS, reading, context=64), expected)
    compressed = score(model, DOCUMENTS, units(8))
    assert same(score(in_torch, DOCUMENTS, units(8), context=64), compressed)


def test_an_exported_model_in_transformers_needs_the_same_bits(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra 'hf'")
    save_small_run(tmp_path / "run", seed=3, sharpness=8, **LLAMA)
    export_model(tmp_path / "run", tmp_path / "hf")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf").train()
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path / "hf")
    expected = score(tmp_path / "run", DOCUMENTS)
    read = score(model, DOCUMENTS, tokenizer)
    assert model.training
    assert (read.context, read.read_as) == (64, type(tokenizer).__name__)
    assert read.bits_per_byte == pytest.approx(expected.bits_per_byte, **CLOSE)
    assert read.bits == pytest.approx(expected.bits, **CLOSE)
    # A character of several bytes counts whole on its first: transformers' offsets are characters.
    assert same(score(model, DOCUMENTS), expected)
    assert same(score(model, DOCUMENTS[:1], tokenizer), score(model, DOCUMENTS[:1]))
    assert np.flatnonzero(read.per_byte[1]).tolist() == [0, 1, 3, 6]
    with pytest.raises(DataError, match="document 0: is not UTF-8"):
        score(model, [b"\xff"], tokenizer)
    with pytest.raises(UsageError, match="context: the model has 64 positions, not 99"):
        score(model, DOCUMENTS, context=99)
    with pytest.raises(UsageError, match="vocabulary has 576 ids"):
        score(model, DOCUMENTS, OwnReading(lambda raw: ([576], [0]), prefix=[1]))


@pytest.fixture(scope="module")
def byte_level() -> Any:
    """A tokenizer of the libraries', as it is before it marks the beginning of a text."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=["<s>", "</s>"]
    )
    tokenizer.train_from_iterator(["hello world how are you"] * 9, trainer)
    return tokenizer


def read_by(tokenizer: Any, **special: str) -> TokenizerReading:
    transformers = pytest.importorskip("transformers", reason="needs the extra 'hf'")
    return TokenizerReading(
        transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    )


@pytest.mark.parametrize(
    ("template", "special", "prefix"),
    [
        ("<s> $A", {}, ["<s>"]),
        ("<s> $A </s>", {"bos_token": "</s>"}, ["<s>"]),
        ("</s> <s> $A", {}, ["</s>", "<s>"]),
        ("$A </s>", {"bos_token": "<s>", "eos_token": "</s>"}, ["<s>"]),
        ("$A", {"eos_token": "</s>"}, ["</s>"]),
    ],
)
def test_a_text_begins_as_the_tokenizer_has_it(
    byte_level: Any, template: str, special: dict[str, str], prefix: list[str]
) -> None:
    pairs = [(one, byte_level.token_to_id(one)) for one in ("<s>", "</s>")]
    byte_level.post_processor = tokenizers.processors.TemplateProcessing(
        single=template, special_tokens=pairs
    )
    reading = read_by(byte_level, **special)
    assert reading.prefix.tolist() == [byte_level.token_to_id(one) for one in prefix]
    # What spells a special token in a document is text, and none is added.
    assert len(reading.read(b"<s>a").ids) == 4


@pytest.mark.parametrize("trim_offsets", [False, True])
def test_every_byte_is_of_a_token(byte_level: Any, trim_offsets: bool) -> None:
    byte_level.post_processor = tokenizers.processors.ByteLevel(trim_offsets=trim_offsets)
    documents = [b"hello world", b"a ", "\u00e9\U0001f600 x".encode()]
    scores = score(flat(400), documents, read_by(byte_level, bos_token="<s>"))
    assert [len(one) for one in scores.per_byte] == list(map(len, documents))
    starts = [np.flatnonzero(one).tolist() for one in scores.per_byte]
    assert starts == [[0, 5], [0, 1], [0, 2, 6, 7]]
    assert scores.bits == pytest.approx(np.log2(400) * scores.num_symbols)


def test_a_tokenizer_that_does_not_take_the_whole_text() -> None:
    only_b = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={"b": 0, "<s>": 1}, merges=[]))
    with pytest.raises(UsageError, match="no token that begins a text"):
        read_by(only_b)
    reading = read_by(only_b, bos_token="<s>")
    assert score(flat(2), [b"bb"], reading).bits_per_byte == pytest.approx(1)
    for document in (b"abb", b"bab", b"bba"):
        with pytest.raises(DataError, match="document 0: holds what the tokenizer leaves out"):
            score(flat(2), [document], reading)
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"b": 0, "<s>": 1}, unk_token="<s>"))
    with pytest.raises(DataError, match="document 0: holds what the tokenizer does not know"):
        score(flat(2), [b"a"], read_by(words, bos_token="<s>", unk_token="<s>"))


class Tiktoken:
    """What ``score`` asks of an encoding of tiktoken: pairs of bytes are tokens."""

    name = "pairs"
    eot_token = 0

    def encode_ordinary(self, text: str) -> list[int]:
        raw = text.encode()
        return [1 + len(raw[place : place + 2]) for place in range(0, len(raw), 2)]

    def decode_single_token_bytes(self, token: int) -> bytes:
        return b"x" * (token - 1)


def test_a_tiktoken_encoding() -> None:
    scores = score(lambda ids: torch.zeros(*ids.shape, 4), [b"abcde"], Tiktoken())
    assert scores.read_as == "pairs"
    assert scores.per_byte[0].tolist() == pytest.approx([2, 0, 2, 0, 2])
    assert scores.bits_per_byte == pytest.approx(6 / 5)


def flat(size: int) -> Any:
    return lambda ids: torch.zeros(*ids.shape, size)


@pytest.mark.parametrize(
    ("model", "read_as", "message"),
    [
        (5, "bytes", "int is neither a model of proxylm, nor the folder of one"),
        (lambda ids: "text", "bytes", "gives no logits for ids, but str"),
        (lambda ids: ids, "bytes", "gives no logits for ids, but Tensor"),
        (lambda ids: torch.zeros(1, 2), "bytes", r"logits of shape \[1, 2\] for ids of shape"),
        (flat(100), "bytes", "id 163 stands in a document, and the model gives logits of 100"),
        (lambda ids: flat(400)(ids) / 0, "bytes", "logits are no numbers"),
        (flat(400), "tokens", "give the tokenizer of a model that is not ours"),
        (flat(400), 5, "read_as: int is neither bytes nor tokens"),
        (flat(400), OwnReading(lambda raw: ([1], [0, 0]), prefix=[1]), "not as many, or fall"),
        (flat(400), OwnReading(lambda raw: ([1], [9]), prefix=[1]), "start 0 is 9, not an int"),
        (flat(400), OwnReading(lambda raw: None, prefix=[1]), "not read as ids and their starts"),
        (small_model(), "words", "--read-as words: must be bytes, tokens or mixed"),
    ],
)
def test_what_cannot_be_scored_is_said_in_one_line(model: Any, read_as: Any, message: str) -> None:
    with pytest.raises((UsageError, DataError), match=message) as caught:
        score(model, [b"abc"], read_as)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("prefix", [[], [-1], ["<s>"], None])
def test_a_prefix_is_at_least_one_id(prefix: Any) -> None:
    with pytest.raises(UsageError, match="prefix: "):
        OwnReading(lambda raw: ([1], [0]), prefix=prefix)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        (["text"], "document 0: a document is bytes, not str; encode text first"),
        ([("a", "text")], "document 0: a document is bytes, not str"),
        ([b"a", b""], "document 1 is empty"),
        ([("name", b"")], "name is empty"),
        (b"text", "expected a list, found one bytes"),
        ("/nowhere", "no such file"),
    ],
)
def test_documents_are_checked(documents: Any, message: str) -> None:
    with pytest.raises((UsageError, DataError), match=message):
        score(small_model(), documents)


def test_no_documents_have_no_bits_per_byte() -> None:
    scores = score(small_model(), [])
    assert (scores.names, repr(scores)) == ([], "Scores(0 documents, 0 bytes, read as bytes)")
    with pytest.raises(DataError, match="nothing to divide by"):
        _ = scores.bits_per_byte
