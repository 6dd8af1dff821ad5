"""Device names mean the same wherever they are given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from proxylm.device import resolve_device
from proxylm.errors import UsageError
from proxylm.pool import WORKER_NUMBER, threads_each, usable_cores


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


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "6400000 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu.max": "unreadable"}, 8),
    ],
)
def test_the_quota_of_a_container_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], expected: int
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("proxylm.pool.CGROUP_FOLDER", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert usable_cores() == expected
    assert threads_each(2) == max(1, expected // 2)


def test_what_is_not_there_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="finds no GPU here"):
        resolve_device("cuda")
    with pytest.raises(UsageError, match="must be auto, cpu or cuda"):
        resolve_device("gpu")
