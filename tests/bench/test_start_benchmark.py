"""The benchmark of starting: which commands it starts, and rows as they should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxylm.bench import start
from proxylm.bench.start import run_start_benchmark


def test_rows_of_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    own_kernels: list[bool] = []

    def finish(command: list[str], added: dict[str, str] | None = None) -> None:
        commands.append(command)
        own_kernels.append(added is not None and [*Path(added["NUMBA_CACHE_DIR"]).iterdir()] == [])

    monkeypatch.setattr(start, "_finish", finish)
    monkeypatch.setattr(start, "_until_it_listens", lambda model: commands.append(["serve", model]))
    monkeypatch.setattr(start, "_python", lambda program: None)
    rows = run_start_benchmark(repeats=1)
    names = ["generate", "generate-first", "serve", "help"]
    assert [row.case for row in rows] == [f"start/{name}" for name in names]
    assert all((row.unit, row.lower_is_better) == ("s", True) for row in rows)
    # Once to warm up, once to count, with a model that is gone in the end.
    assert [command[0] for command in commands] == ["generate", "generate", "serve", "--help"] * 2
    assert own_kernels == [False, True, False] * 2
    assert not Path(commands[0][1]).exists()


def test_a_command_that_fails_gives_no_number() -> None:
    with pytest.raises(OSError, match="no such"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.executable", "/no such/python")
        start._finish(["--help"])
