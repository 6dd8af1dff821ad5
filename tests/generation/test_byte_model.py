"""``proxylm.load`` on the published layout: golden values through the public interface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

import proxylm
from proxylm.errors import UsageError
from proxylm.generation.byte_model import ByteModel
from small_models import small_model

DOCUMENT_END = 2
LARGEST_RELATIVE_ERROR = 1e-5


@pytest.fixture(scope="module")
def model(golden: Path) -> ByteModel:
    return proxylm.load(golden / "evabyte")


@pytest.fixture(scope="module")
def cases(golden: Path) -> dict[str, NDArray[np.generic]]:
    return load_file(golden / "evabyte" / "cases.safetensors")


def relative_error(ours: torch.Tensor, theirs: NDArray[np.generic]) -> float:
    reference = torch.from_numpy(theirs)
    return float((ours - reference).norm() / reference.norm())


def test_plain_logits(model: ByteModel, cases: dict[str, NDArray[np.generic]]) -> None:
    names = [name for name in cases if name.startswith("plain.") and name.endswith(".logits")]
    assert len(names) == 4
    for name in names:
        ids = cases[name.replace(".logits", ".input_ids")]
        logits = model.logits(ids)
        assert logits.dtype == torch.float32
        assert logits.shape == cases[name].shape
        assert relative_error(logits, cases[name]) <= LARGEST_RELATIVE_ERROR


def test_logits_of_packed_documents(
    model: ByteModel, cases: dict[str, NDArray[np.generic]]
) -> None:
    ids, positions = cases["docmask.input_ids"], cases["docmask.position_ids"]
    ends = ids == DOCUMENT_END
    documents = np.cumsum(ends, axis=1) - ends
    kept = torch.from_numpy(~ends)
    expected = cases["docmask.logits"][~ends]
    for given in (positions, None):  # without them, positions count from each document's start
        logits = model.logits(ids, segment_ids=documents, position_ids=given)
        assert relative_error(logits[kept], expected) <= LARGEST_RELATIVE_ERROR


def test_greedy_decoding_through_the_cache(
    model: ByteModel, cases: dict[str, NDArray[np.generic]]
) -> None:
    ids = torch.from_numpy(cases["greedy.prompt_ids"]).long()
    cache = model.module.new_cache(1)
    chosen, steps = [], []
    for _ in range(cases["greedy.new_ids"].shape[1]):
        logits = model.module.step(ids, cache)[:, -1, 0]
        steps.append(logits)
        ids = logits.argmax(-1, keepdim=True)
        chosen.append(ids)
    assert torch.cat(chosen, 1).tolist() == cases["greedy.new_ids"].tolist()
    error = relative_error(torch.stack(steps, 1), cases["greedy.step_logits"])
    assert error <= LARGEST_RELATIVE_ERROR


def test_a_vocabulary_without_bytes_is_said_so(model: ByteModel) -> None:
    for use in (
        lambda: model.generate(b"a"),
        lambda: model.generate_batch([b"a"]),
        lambda: model.bits_per_byte([b"a"]),
        lambda: next(model.stream(b"a")),
    ):
        with pytest.raises(UsageError, match="vocabulary of 96 symbols, without the raw bytes"):
            use()


def test_logits_take_torch_and_numpy_integers_of_any_width(model: ByteModel) -> None:
    ids = np.array([[1, 12, 70]])
    expected = model.logits(ids)
    for same in (ids.astype(np.uint16), ids.astype(np.int32), torch.from_numpy(ids).int()):
        assert torch.equal(model.logits(same), expected)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.array([[0.5]]), "integers of shape"),
        (np.array([1, 2]), "integers of shape"),
        (np.array([[-1]]), "between 0 and 95"),
        (np.array([[96]]), "between 0 and 95"),
        (np.array([[1j]]), "integers of shape"),
        (np.array([["1"]]), "integers of shape"),
        ([[1, 2], [3]], "integers of shape"),
        ([[None]], "integers of shape"),
    ],
)
def test_wrong_ids_are_said_so(model: ByteModel, ids: NDArray[np.generic], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        model.logits(ids)


def test_document_ids_of_another_shape_are_said_so(model: ByteModel) -> None:
    with pytest.raises(UsageError, match="segment_ids: shape"):
        model.logits(np.array([[1, 2]]), segment_ids=np.array([[0]]))


def test_positions_count_from_zero(model: ByteModel) -> None:
    with pytest.raises(UsageError, match="position_ids: must be 0 or more, not -1"):
        model.logits(np.array([[1, 2]]), position_ids=np.array([[-1, 0]]))


def test_a_model_in_use_is_in_evaluation_mode() -> None:
    wrapped = ByteModel(small_model().train())
    assert not wrapped.module.training
    assert not any(parameter.requires_grad for parameter in wrapped.module.parameters())
