"""Device names mean the same wherever they are given."""

from __future__ import annotations

import pytest
import torch

from proxylm.device import resolve_device
from proxylm.errors import UsageError
from proxylm.pool import WORKER_NUMBER, threads_each


@pytest.mark.parametrize(
    ("name", "has_gpu", "device"),
    [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_a_gpu_is_taken_where_there_is_one_and_it_may_be(
    monkeypatch: pytest.MonkeyPatch, name: str, has_gpu: bool, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert resolve_device(name).type == device


def test_processes_of_a_pool_are_spread_over_gpus_and_share_the_cores(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto").index is None
    for worker, gpu in (("0", 0), ("1", 1), ("2", 0)):
        monkeypatch.setenv(WORKER_NUMBER, worker)
        assert resolve_device("auto").index == gpu
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert [threads_each(workers) for workers in (1, 3, 16)] == [8, 2, 1]


def test_what_is_not_there_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="finds no GPU here"):
        resolve_device("cuda")
    with pytest.raises(UsageError, match="must be auto, cpu or cuda"):
        resolve_device("gpu")
