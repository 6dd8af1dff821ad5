"""How much memory, and how many cores, there are for workers and threads."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from proxylm.pool import available_memory, in_threads, usable_cores


def test_a_container_s_limit_counts_if_it_has_one(tmp_path):
    (tmp_path / "memory").mkdir()
    free = psutil.virtual_memory().available
    assert 0.5 * free < available_memory(tmp_path) < 2 * free
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        (tmp_path / name).write_text("1048576\n")
        assert available_memory(tmp_path) == 1 << 20
        (tmp_path / name).write_text("max\n")
        assert available_memory(tmp_path) > 1 << 20


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
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    assert usable_cores(tmp_path) == expected


def test_threads_keep_the_order_and_stop_at_the_first_mistake():
    assert list(in_threads(lambda number: number**2, range(100), batch=7)) == [
        number**2 for number in range(100)
    ]
    begun = []

    def fails_at_three(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise ValueError("three")
        return number

    with pytest.raises(ValueError, match="three"):
        list(in_threads(fails_at_three, range(10_000)))
    assert len(begun) < 10_000
