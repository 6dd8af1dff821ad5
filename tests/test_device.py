"""Device names mean the same wherever they are given."""

from __future__ import annotations

import pytest
import torch

from proxylm.device import resolve_device
from proxylm.errors import UsageError


@pytest.mark.parametrize(
    ("name", "has_gpu", "device"),
    [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_a_gpu_is_taken_where_there_is_one_and_it_may_be(
    monkeypatch: pytest.MonkeyPatch, name: str, has_gpu: bool, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert resolve_device(name).type == device


def test_what_is_not_there_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="finds no GPU here"):
        resolve_device("cuda")
    with pytest.raises(UsageError, match="must be auto, cpu or cuda"):
        resolve_device("gpu")
