"""A frozen model of tokens as a teacher of bytes: its targets, and their part of the loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foreign_models import tokenizer, written
from proxylm.checkpoints.reading import load_module
from proxylm.checkpoints.saving import save
from proxylm.compressors.registry import load_compressor
from proxylm.data.batch import Batch
from proxylm.errors import UsageError
from proxylm.interchange.importing import import_model
from proxylm.scoring.readings import CompressedReading
from proxylm.symbols import (
    BOS,
    COMPRESSED_CLOSE,
    COMPRESSED_OFFSET,
    COMPRESSED_OPEN,
    EOS,
    RAW_CLOSE,
    RAW_OFFSET,
    RAW_OPEN,
)
from proxylm.training.config import DistillationConfig
from proxylm.training.distillation import Teacher

THE = tokenizer().token_to_id("the") + COMPRESSED_OFFSET


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("teacher")
    written(place / "theirs", "llama-tied")
    import_model(place / "theirs", place / "ours")
    return place / "ours"


def batch_of(*documents: list[int]) -> Batch:
    ids = np.array([[symbol for one in documents for symbol in one]], dtype=np.int32)
    segments = np.repeat(np.arange(len(documents)), [len(one) for one in documents])
    targets = np.append(ids[:, 1:], [[-100]], axis=1)
    targets[:, np.flatnonzero(np.diff(segments))] = -100
    return Batch(
        inputs=ids,
        targets=targets[..., None].astype(np.int32),
        segment_ids=segments[None].astype(np.int32),
        position_ids=np.arange(ids.shape[1], dtype=np.int32)[None],
        contexts=np.zeros(1, dtype=np.int64),
    )


def raw(text: bytes) -> list[int]:
    return [byte + RAW_OFFSET for byte in text]


MIXED = [BOS, COMPRESSED_OPEN, THE, COMPRESSED_CLOSE, RAW_OPEN, *raw(b" thin"), RAW_CLOSE, EOS]
OTHER = [BOS, RAW_OPEN, *raw(b"xthe"), RAW_CLOSE]


def test_targets_are_sums_over_the_tokens_that_go_on(folder: Path) -> None:
    teacher = Teacher.of(DistillationConfig(teacher=str(folder), weight=0.5))
    found = teacher.targets(batch_of(MIXED, OTHER))
    # " th" without the last token "n" of the first, "x" without "the" of the second.
    asked = [4, 5, 6, 7, len(MIXED) + 1]
    assert found.rows.tolist() == asked and found.weight == 0.5
    spelled = load_compressor(folder / "compressor").token_bytes
    model = load_module(folder).module

    def next_token(*tokens: bytes) -> Any:
        ids = [BOS, *(spelled.index(one) + COMPRESSED_OFFSET for one in tokens)]
        logits = model.logits(torch.tensor([ids]))[0, -1, 0, COMPRESSED_OFFSET:]
        return torch.softmax(logits[: len(spelled)].double(), -1).tolist()

    cases = [
        ((b"the",), b""),
        ((b"the", b" "), b""),
        ((b"the", b" "), b"t"),
        ((b"the", b" ", b"th"), b""),
    ]
    for row, (tokens, known) in zip(found.probabilities, [*cases, ((), b"")], strict=True):
        wanted = np.zeros(256)
        for probability, one in zip(next_token(*tokens), spelled, strict=True):
            if one.startswith(known) and len(one) > len(known):
                wanted[one[len(known)]] += probability
        np.testing.assert_allclose(row.numpy(), wanted / wanted.sum(), atol=1e-6)


def test_text_that_is_impossible_to_the_model_has_no_targets(folder: Path) -> None:
    model = load_module(folder).module
    model.model.embed_tokens.weight.data *= 1e4  # the output layer, too: all but one token is 0
    compressor = load_compressor(folder / "compressor")
    reading = CompressedReading(compressor, sentinels=False)
    teacher = Teacher(model, reading, list(compressor.token_bytes), weight=1.0)
    found = teacher.targets(batch_of(MIXED, OTHER))
    # Where a token begins, some byte is possible; the "h" of " th" is not, behind a "t".
    assert found.rows.tolist() == [4, 5, 7, len(MIXED) + 1]
    torch.testing.assert_close(found.probabilities.sum(dim=1), torch.ones(4))


def test_its_part_is_added_to_the_loss_and_has_the_gradient_of_a_soft_target(folder: Path) -> None:
    teacher = Teacher.of(DistillationConfig(teacher=str(folder), weight=2.0))
    student = load_module(folder).module
    student.config = student.config.model_copy(update={"softmax": "by_format", "sentinels": True})
    batch = batch_of(MIXED, OTHER)
    tensors = batch.tensors(torch.device("cpu"))
    alone = student.loss(*tensors, normalizer=10)
    taught = teacher.targets(batch)
    together = student.loss(*tensors, normalizer=10, taught=taught)
    logits = student.logits(*(tensors[0], *tensors[2:]))[0, :, 0]
    likely = torch.log_softmax(logits[taught.rows, :COMPRESSED_OFFSET], -1)[:, RAW_OFFSET:]
    wanted = -2.0 * (taught.probabilities * likely).sum() / 10
    torch.testing.assert_close(together.loss - alone.loss, wanted, rtol=1e-3, atol=1e-5)
    assert torch.equal(together.nats, alone.nats)
    [gradient] = torch.autograd.grad(together.loss - alone.loss, student.model.norm.weight)
    [expected] = torch.autograd.grad(wanted, student.model.norm.weight)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)
    assert expected.abs().max() > 0


def test_a_folder_without_a_tokenizer_teaches_nothing(tmp_path: Path, folder: Path) -> None:
    save(load_module(folder).module, tmp_path / "bare")
    with pytest.raises(UsageError, match="brings no tokenizer to read bytes by"):
        Teacher.of(DistillationConfig(teacher=str(tmp_path / "bare")))
