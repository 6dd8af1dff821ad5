"""The engine: needs first, everything once, killed and gone on with, several at a time."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import pytest

from proxylm.errors import ProxylmError, UsageError
from proxylm.recipes import engine
from proxylm.recipes.artifacts import Artifact
from proxylm.recipes.engine import interrupted_by_sigterm, make_all, settle

LOG = "log.txt"


@dataclass(frozen=True)
class Summed(Artifact):
    """One more than what it is made from; its making is logged."""

    parts: tuple[Summed, ...] = ()
    seconds: float = 0.0

    kind: ClassVar[str] = "sums"

    @property
    def needs(self) -> tuple[Artifact, ...]:
        return self.parts

    def identity(self) -> dict[str, Any]:
        return {"name": self.name}

    def make(self, pool: Path, say: Any) -> dict[str, Any]:
        with (pool / LOG).open("a") as log:
            print(self.name, os.getpid(), time.monotonic(), file=log)
        time.sleep(self.seconds)
        if self.name == "impossible":
            raise UsageError("it cannot be made")
        return {"value": 1 + sum(part.record(pool)["value"] for part in self.parts)}


def graph(seconds: float = 0.0) -> list[Artifact]:
    """Two ends on two middles on one beginning, needs first."""
    base = Summed("base", seconds=seconds)
    middles = [Summed(name, (base,), seconds) for name in ("left", "right")]
    ends = [Summed(name, tuple(middles), seconds) for name in ("one", "two")]
    return [base, *middles, *ends]


def log_of(pool: Path) -> list[list[str]]:
    path = pool / LOG
    return [line.split() for line in path.read_text().splitlines()] if path.is_file() else []


def values_of(pool: Path) -> dict[str, int]:
    return {one.name: one.record(pool)["value"] for one in graph()}


EXPECTED = {"base": 1, "left": 2, "right": 2, "one": 5, "two": 5}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def test_everything_is_made_once_and_needs_first(tmp_path: Path) -> None:
    heard: list[str] = []
    make_all(graph(), tmp_path, say=heard.append)
    assert [line[0] for line in log_of(tmp_path)] == list(EXPECTED)
    assert values_of(tmp_path) == EXPECTED
    make_all(graph(), tmp_path, say=heard.append)
    assert len(log_of(tmp_path)) == 5
    assert heard[-1] == "5 of 5 artifacts are there already"
    record = graph()[1].record(tmp_path)
    assert record is not None and record["needs"] == {"base": graph()[0].key}


def test_keys_follow_what_something_is_made_from() -> None:
    assert Summed("a", (Summed("b"),)).key == Summed("a", (Summed("b"),)).key
    assert Summed("a", (Summed("b"),)).key != Summed("a", (Summed("c"),)).key
    deep = Summed("a", (Summed("b", (Summed("c"),)),))
    assert deep.key != Summed("a", (Summed("b", (Summed("d"),)),)).key


def test_what_cannot_be_made_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    wanted = [*graph(), Summed("impossible")]
    with pytest.raises(ProxylmError, match="sums: impossible: it cannot be made"):
        make_all(wanted, tmp_path)
    assert values_of(tmp_path) == EXPECTED


@pytest.mark.parametrize("after", [1, 4])
def test_killed_and_started_again_it_ends_with_the_same(tmp_path: Path, after: int) -> None:
    context = multiprocessing.get_context("fork")
    child = context.Process(target=make_all, args=(graph(seconds=0.2), tmp_path))
    child.start()
    assert child.pid is not None
    until(lambda: len(log_of(tmp_path)) == after)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    killed = log_of(tmp_path)[-1][0]
    assert len(list((tmp_path / "sums").glob("[!.]*.json"))) == after - 1
    make_all(graph(), tmp_path)
    assert values_of(tmp_path) == EXPECTED
    names = [line[0] for line in log_of(tmp_path)]
    assert sorted(names) == sorted([*EXPECTED, killed])


def test_two_engines_share_the_work_and_make_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SECONDS_BETWEEN_LOOKS", 0.05)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=make_all, args=(graph(seconds=0.3), tmp_path))
    child.start()
    until(lambda: bool(log_of(tmp_path)))
    base = graph()[0]
    assert settle(base, tmp_path) is False
    assert base.lock_file(tmp_path).read_text().endswith(f" {child.pid}\n")
    heard: list[str] = []
    make_all(graph(), tmp_path, say=heard.append)
    child.join()
    assert len(set(heard)) == len(heard)
    assert child.exitcode == 0
    assert sorted(line[0] for line in log_of(tmp_path)) == sorted(EXPECTED)
    assert values_of(tmp_path) == EXPECTED


@dataclass(frozen=True)
class Meeting(Summed):
    """Is made when another one is being made at the same time."""

    def make(self, pool: Path, say: Any) -> dict[str, Any]:
        made = super().make(pool, say)
        until(lambda: len(log_of(pool)) == 2)
        return made


@dataclass(frozen=True)
class Fatal(Summed):
    """Kills who makes it."""

    def make(self, pool: Path, say: Any) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_several_are_made_at_a_time_in_other_processes(tmp_path: Path) -> None:
    wanted = [Meeting("left"), Meeting("right"), Summed("impossible")]
    with pytest.raises(ProxylmError, match="impossible"):
        make_all(wanted, tmp_path, jobs=2)
    make_all(wanted[:2], tmp_path)
    processes = {name: process for name, process, _ in log_of(tmp_path)}
    assert processes["left"] != processes["right"]
    assert str(os.getpid()) not in processes.values()
    with pytest.raises(ProxylmError, match=r"a process was killed.*under way: sums: fatal"):
        make_all([Fatal("fatal")], tmp_path, jobs=2)


def make_until_sigterm(pool: Path) -> None:
    with interrupted_by_sigterm():
        make_all([Summed("left", seconds=600), Summed("right", seconds=600)], pool, jobs=2)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_sigterm_interrupts_what_is_made_in_other_processes(tmp_path: Path) -> None:
    child = multiprocessing.get_context("fork").Process(target=make_until_sigterm, args=(tmp_path,))
    child.start()
    assert child.pid is not None
    until(lambda: len(log_of(tmp_path)) == 2)
    os.kill(child.pid, signal.SIGTERM)
    child.join(timeout=300)
    assert child.exitcode == 1
    assert all(Summed(name).cpu_file(tmp_path).is_file() for name in ("left", "right"))


@pytest.mark.parametrize("at_once", [True, False])
def test_a_killed_process_names_all_that_was_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    begun: list[Future[bool]] = []

    def begin(artifact: Artifact, pool: Path) -> Future[bool]:
        if at_once and begun:
            raise BrokenProcessPool("killed before this one was begun")
        begun.append(Future())
        if len(begun) == 2:
            for future in begun:
                future.set_exception(BrokenProcessPool("killed"))
        return begun[-1]

    monkeypatch.setattr(engine, "_workers", lambda jobs: nullcontext(begin))
    named = "sums: left;" if at_once else "sums: left, sums: right;"
    with pytest.raises(ProxylmError, match=f"a process was killed.*under way: {named}"):
        make_all([Summed("left"), Summed("right")], tmp_path, jobs=2)


def test_what_a_killed_writer_left_goes(tmp_path: Path) -> None:
    [base, *_] = graph()
    folder = base.folder(tmp_path)
    folder.parent.mkdir(parents=True)
    left, others = (folder.with_name(f".partial-0-{name}") for name in (folder.name, "another"))
    left.mkdir()
    others.write_text("is being written")
    settle(base, tmp_path)
    assert not left.exists() and others.exists()
    assert json.loads(base.record_file(tmp_path).read_text())["value"] == 1


def test_cpu_seconds_count_units_that_were_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Summed("base")
    made = Summed.make

    def busy(self: Summed, pool: Path, say: Any) -> dict[str, Any]:
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
        return made(self, pool, say)

    def stopped(self: Summed, pool: Path, say: Any) -> dict[str, Any]:
        busy(self, pool, say)
        raise KeyboardInterrupt

    monkeypatch.setattr(Summed, "make", stopped)
    with pytest.raises(KeyboardInterrupt):
        settle(one, tmp_path)
    monkeypatch.setattr(Summed, "make", busy)
    settle(one, tmp_path)
    record = one.record(tmp_path)
    assert record is not None
    assert 0.15 < record["cpu_seconds"] < 0.5  # ticks of 0.01 s, of four clocks
    assert not one.cpu_file(tmp_path).exists()
    assert record["made_by"].startswith(version("proxylm"))
