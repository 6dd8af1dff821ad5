"""Bits per byte beside an independent computation: one symbol at a time, plain Python sums."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from proxylm.compressors.contract import CompressedView, Compressor
from proxylm.compressors.registry import load_compressor
from proxylm.errors import DataError, UsageError
from proxylm.evaluation.likelihood import Scorer
from proxylm.generation.byte_model import ByteModel
from proxylm.models.language_model import LanguageModel
from proxylm.scoring.passes import content_bits, symbol_bits
from proxylm.scoring.predictors import OurPredictor
from proxylm.scoring.readings import CompressedReading, RawReading, Reading
from proxylm.scoring.score import score
from proxylm.scoring.sequences import ScoredSequence
from proxylm.symbols import BOS, COMPRESSED_OFFSET, COMPRESSED_OPEN, RAW_OFFSET, RAW_OPEN, Format
from proxylm.threads import in_order, torch_threads
from small_models import ATTENTIONS, COMPRESSED_SYMBOLS, small_model

CODE = b"def area(radius):\n    return 3\n"
DOCUMENTS = [b"a", CODE, bytes(range(256)), b"\x00" * 61, b"xy" * 99]
CLOSE = {"rel": 1e-6, "abs": 0}


class HalvingCompressor(Compressor):
    """Every pair of bytes becomes its sum: shorter, and lossy unless it says otherwise."""

    kind = "halving"
    symbol_count = COMPRESSED_SYMBOLS

    def __init__(self, *, reversible: bool) -> None:
        self.reversible = reversible  # type: ignore[misc]

    @property
    def settings(self) -> dict[str, Any]:
        return {}

    def encode(self, documents: Sequence[bytes]) -> list[Any]:
        pairs = [[sum(data[i : i + 2]) % 256 for i in range(0, len(data), 2)] for data in documents]
        return [CompressedView(symbols=np.array(symbols, np.uint32)) for symbols in pairs]

    @classmethod
    def from_folder(cls, folder: Any, settings: dict[str, Any]) -> HalvingCompressor:
        raise NotImplementedError


def bits_per_byte(
    model: LanguageModel, documents: Any, read_as: str | Compressor | Reading, **windows: Any
) -> list[float]:
    return score(model, documents, read_as, **windows).per_document.tolist()


def bits_in_batches(
    model: LanguageModel, documents: list[bytes], batch_symbols: int
) -> list[float]:
    """As ``bits_per_byte`` of bytes, with another number of symbols under way."""
    reading = RawReading()
    sequences = [
        ScoredSequence(prefix=reading.prefix, content=reading.read(one).ids) for one in documents
    ]
    predictor = OurPredictor(model)
    predictor.batch_symbols = batch_symbols
    bits = symbol_bits(predictor, sequences)
    return [one.sum() / len(one) for one in bits]


def plain_bits(
    model: LanguageModel, prefix: list[int], content: list[int], *, context: int, stride: int
) -> float:
    """The definition: for each symbol its own forward pass, from the window it is scored in."""
    span = context - len(prefix) + 1
    bits = 0.0
    for place, symbol in enumerate(content):
        start = 0
        while start + span <= place:
            start += stride
        seen = torch.tensor([prefix + content[start:place]])
        logits = model.logits(seen)[0, -1, 0].tolist()
        top = max(logits)
        total = math.fsum(math.exp(value - top) for value in logits)
        bits -= math.log2(math.exp(logits[symbol] - top) / total)
    return bits


@pytest.fixture(params=list(ATTENTIONS))
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return small_model(seed=4, sharpness=8, attention=ATTENTIONS[request.param])


@torch.no_grad()
def test_bytes_equal_the_definition(model: LanguageModel) -> None:
    ours = bits_per_byte(model, DOCUMENTS, "bytes", context=48, stride=20)
    for document, value in zip(DOCUMENTS, ours, strict=True):
        ids = [byte + RAW_OFFSET for byte in document]
        expected = plain_bits(model, [BOS, RAW_OPEN], ids, context=48, stride=20) / len(document)
        assert value == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def test_symbols_are_divided_by_raw_bytes(model: LanguageModel) -> None:
    compressor = HalvingCompressor(reversible=True)
    [ours] = bits_per_byte(model, [CODE], CompressedReading(compressor), context=64)
    [symbols] = compressor.compress([CODE])
    ids = [int(symbol) + COMPRESSED_OFFSET for symbol in symbols]
    assert len(ids) == 16, "fewer symbols than the 31 raw bytes"
    expected = plain_bits(model, [BOS, COMPRESSED_OPEN], ids, context=64, stride=32)
    assert ours == pytest.approx(expected / len(CODE), rel=1e-5)


@torch.no_grad()
def test_by_format_uses_the_distribution_that_was_trained() -> None:
    model = small_model(seed=4, sharpness=8, softmax="by_format")
    readings = [
        (RawReading(), RAW_OPEN, RAW_OFFSET, list(CODE)),
        (
            CompressedReading(HalvingCompressor(reversible=True)),
            COMPRESSED_OPEN,
            COMPRESSED_OFFSET,
            HalvingCompressor(reversible=True).compress([CODE])[0].tolist(),
        ),
    ]
    for reading, opening, offset, content in readings:
        [ours] = bits_per_byte(model, [CODE], reading)
        ids = [symbol + offset for symbol in content]
        expected = plain_bits(model, [BOS, opening], ids, context=64, stride=32)
        assert ours == pytest.approx(expected / len(CODE), rel=1e-5)


@torch.no_grad()
def test_without_sentinels_content_follows_bos() -> None:
    model = small_model(seed=4, sharpness=8, sentinels=False)
    for read_as, offset in (
        ("bytes", RAW_OFFSET),
        (load_compressor("units:bits=8"), COMPRESSED_OFFSET),
    ):
        [ours] = bits_per_byte(model, [CODE], read_as)
        ids = [byte + offset for byte in CODE]
        expected = plain_bits(model, [BOS], ids, context=64, stride=32) / len(CODE)
        assert ours == pytest.approx(expected, rel=1e-5)


def test_results_do_not_depend_on_batching_or_company(model: LanguageModel) -> None:
    generator = random.Random(5)
    documents = [generator.randbytes(generator.randrange(1, 150)) for _ in range(12)]
    alone = [bits_per_byte(model, [document], "bytes")[0] for document in documents]
    for batch_symbols in (1, 100, 100_000):
        together = bits_in_batches(model, documents, batch_symbols)
        assert together == pytest.approx(alone, **CLOSE)
    assert bits_per_byte(model, documents, "bytes") == bits_per_byte(model, documents, "bytes")


@pytest.mark.parametrize(
    ("batch_symbols", "workers"), [(1, 1), (64, 1), (200, 3), (300, 4), (100_000, 4)]
)
def test_threads_have_no_more_symbols_under_way_than_one_would(
    model: LanguageModel, batch_symbols: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []

    def spy(function: Any, batches: Any, *, workers: int) -> Any:
        most = max(len(batch) * batch[0].input_count for batch in batches)
        used.append((workers, most))
        return in_order(function, batches, workers=workers)

    monkeypatch.setattr("proxylm.scoring.passes.in_order", spy)
    documents = [bytes(range(64)) * 4] * 3 + [b"short"] * 3
    with torch_threads(4):
        found = bits_in_batches(model, documents, batch_symbols)
    assert found == pytest.approx(bits_per_byte(model, documents, "bytes"), **CLOSE)
    [(given, most), *_] = used
    assert given <= workers
    assert given == 1 or given * most <= batch_symbols


def test_an_untrained_flat_model_needs_log2_of_its_vocabulary() -> None:
    model = small_model(seed=4, sharpness=0)
    values = bits_per_byte(model, DOCUMENTS, "bytes")
    assert values == pytest.approx([math.log2(model.config.vocabulary_size)] * 5, **CLOSE)


def test_a_byte_model_gives_the_same_numbers(model: LanguageModel) -> None:
    expected = bits_per_byte(model, DOCUMENTS, "bytes")
    assert ByteModel(model).bits_per_byte(DOCUMENTS) == expected
    assert ByteModel(model).bits_per_byte([]) == []


def test_a_model_in_training_stays_in_training() -> None:
    model = small_model().train()
    bits_per_byte(model, [b"abc"], "bytes")
    assert model.training
    assert model.lm_head.weight.requires_grad
    assert model.lm_head.weight.grad is None


def test_content_bits_of_nothing_are_zero(model: LanguageModel) -> None:
    bits = content_bits(model, [np.empty(0, np.uint8), np.array([5], np.uint8)], Format.RAW)
    assert bits[0] == 0
    assert bits[1] > 0


def test_an_empty_document_is_named(model: LanguageModel) -> None:
    with pytest.raises(DataError, match="document 1 is empty"):
        bits_per_byte(model, [b"a", b""], "bytes")


def test_lossy_views_have_no_bits_per_byte() -> None:
    with pytest.raises(UsageError, match="symbols of 'halving': it is lossy"):
        CompressedReading(HalvingCompressor(reversible=False))


def test_symbols_outside_the_vocabulary_are_named(model: LanguageModel) -> None:
    with pytest.raises(UsageError, match="compressed symbol 0 is 256, not an integer from 0"):
        content_bits(model, [np.array([COMPRESSED_SYMBOLS])], Format.COMPRESSED)


@pytest.mark.parametrize("content_format", Format)
@pytest.mark.parametrize("wrong", [-1, -65, 256, 0.7, 1.0, True])
def test_what_is_no_symbol_of_its_format_is_not_scored(
    model: LanguageModel, content_format: Format, wrong: float
) -> None:
    """Byte 256 would be compressed symbol 0, and byte -1 a special one."""
    with pytest.raises(UsageError, match=r"document 1: its (raw|compressed) symbol 0 is "):
        content_bits(model, [np.array([0, 255]), np.array([wrong])], content_format)


def test_a_model_of_bytes_alone_scores_no_compressed_symbols() -> None:
    with pytest.raises(UsageError, match="knows raw bytes alone"):
        content_bits(small_model(vocabulary_size=320), [np.array([0])], Format.COMPRESSED)


READINGS = [RawReading(), CompressedReading(HalvingCompressor(reversible=True))]


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("wrong", ["text", None, 5, [97]])
def test_only_bytes_are_scored(model: LanguageModel, reading: Any, wrong: Any) -> None:
    message = "document 1: a document is bytes, not "
    with pytest.raises(UsageError, match=message):
        bits_per_byte(model, [b"a", wrong], reading)
    with pytest.raises(UsageError, match=message):
        ByteModel(model).bits_per_byte([b"a", wrong])
    with pytest.raises(UsageError, match=message):
        Scorer(model, reading).bits([b"a", b"b"], [b"a", wrong])
    with pytest.raises(UsageError, match="documents: expected a list, found one bytes"):
        ByteModel(model).bits_per_byte(b"text")


def test_whatever_holds_bytes_is_scored_alike(model: LanguageModel) -> None:
    held = [bytearray(CODE), memoryview(CODE), np.frombuffer(CODE, np.uint8)]
    assert bits_per_byte(model, iter(held), "bytes") == bits_per_byte(
        model, [CODE] * len(held), "bytes"
    )


@pytest.mark.parametrize(("name", "value"), [("context", 8.0), ("context", "8"), ("stride", 1.5)])
def test_windows_are_whole_numbers(model: LanguageModel, name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{name}: must be a whole number, not {value!r}"):
        ByteModel(model).bits_per_byte([CODE], **{name: value})


@pytest.mark.parametrize(("context", "stride"), [(64, 0), (64, 64), (1, None), (0, None)])
def test_impossible_windows_are_named(
    model: LanguageModel, context: int, stride: int | None
) -> None:
    with pytest.raises(UsageError, match=r"context|stride"):
        bits_per_byte(model, [b"abc"], "bytes", context=context, stride=stride)
