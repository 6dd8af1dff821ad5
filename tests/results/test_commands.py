"""Commands as points: labels in words, keys by content, and what fails is tried again."""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from proxylm.config import validate_config
from proxylm.errors import ProxylmError, UsageError
from proxylm.recipes.engine import make_all
from proxylm.recipes.measures import EvaluationData
from proxylm.results import commands
from proxylm.results.commands import CommandsWork, content_of, said
from proxylm.results.points import Inputs, Points

WORK: dict[str, Any] = {
    "steps": {
        "made-<how>": {
            "each": {"how": {"well": "{text} 'a={b: 1, c: 2}'", "badly": "{text} --wrong"}},
            "command": "make <how> --out {out}",
        }
    },
    "points_of": [
        {
            "labels": {"part": "one"},
            "each": {"how": ["well", "badly"], "number": [3, 12]},
            "command": "measure {made-<how>}/step-<number:04d> {text}",
            "numbers": {"bits": "total.<number>"},
        }
    ],
}


def points_of(text: Path, **values: Any) -> Points:
    content_of.cache_clear()
    given = {} if text == Path() else {"text": text}
    inputs = Inputs(described={"text": "a text"}, given=given)
    work = validate_config(CommandsWork, WORK | values)
    return work.points(inputs, EvaluationData(), Path())


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text"
    path.mkdir()
    (path / "a.txt").write_text("a")
    return path


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Calls that were made; measuring says numbers, and what is made badly fails."""
    calls: list[list[str]] = []

    def say(words: list[str], *kept_open: int) -> dict[str, Any]:
        calls.append(words)
        if "--wrong" in words:
            raise UsageError("no such option")
        return {"total": {"3": 1.5, "12": 2.5}}

    monkeypatch.setattr(commands, "said", say)
    return calls


def test_words_have_labels_and_paths_in_place(
    text: Path, tmp_path: Path, called: list[list[str]]
) -> None:
    points = points_of(text)
    make_all(points.artifacts(), tmp_path / "pool")
    good = [one for one in points.points if one.labels["how"] == "well"]
    assert [one.labels for one in good] == [
        {"part": "one", "how": "well", "number": number} for number in (3, 12)
    ]
    assert [one.numbers["bits"].value(tmp_path / "pool") for one in good] == [(1.5, ""), (2.5, "")]
    folder = good[0].artifacts[0].needs[0].folder(tmp_path / "pool")
    assert ["make", str(text), "a={b: 1, c: 2}", "--out", str(folder), "--json"] in called
    assert ["measure", f"{folder}/step-0012", str(text), "--json"] in called


def test_what_fails_leaves_its_reason_and_is_tried_again(
    text: Path, tmp_path: Path, called: list[list[str]]
) -> None:
    points = points_of(text)
    make_all(points.artifacts(), tmp_path)
    bad = next(one for one in points.points if one.labels["how"] == "badly")
    assert bad.numbers["bits"].value(tmp_path) == (None, "made-badly could not be made")
    before = len(called)
    make_all(points.artifacts(), tmp_path)
    assert [words[:2] for words in called[before:]] == [["make", str(text)]]


def test_keys_follow_content_and_words(text: Path, tmp_path: Path) -> None:
    def keys(path: Path, **values: Any) -> list[str]:
        return [one.key for one in points_of(path, **values).artifacts()]

    first = keys(text)
    moved = text.rename(tmp_path / "elsewhere")
    assert keys(moved) == first
    (moved / "a.txt").write_text("b")
    assert not set(keys(moved)) & set(first)
    (moved / "a.txt").write_text("a")
    renamed = (moved / "a.txt").rename(moved / "b.txt")
    assert not set(keys(moved)) & set(first)
    renamed.rename(moved / "a.txt")
    steps = {"made-<how>": WORK["steps"]["made-<how>"] | {"command": "make <how> {out} more"}}
    assert not set(keys(moved, steps=steps)) & set(first)


def test_what_is_not_there_says_so(text: Path) -> None:
    assert {one.lacking for one in points_of(Path()).points} == {"needs --input text=PATH: a text"}
    point = WORK["points_of"][0] | {"command": "measure {text}/later <how> <number>"}
    assert all(
        one.lacking.endswith("is not there (yet)")
        for one in points_of(text, points_of=[point]).points
    )


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("measure {nothing}", "no step or input 'nothing'"),
        ("measure <nothing>", "a label that is not known"),
        ("measure <how:04d>", "a label that is not known (how, number), or its form"),
        ("measure '{text}", "No closing quotation"),
    ],
)
def test_a_command_that_names_what_there_is_not_is_refused(
    text: Path, command: str, reason: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)):
        points_of(text, points_of=[WORK["points_of"][0] | {"command": command}])


def test_a_command_waits_for_its_own_process_that_outlived_an_engine(
    text: Path, tmp_path: Path, called: list[list[str]]
) -> None:
    make = points_of(text).points[0].artifacts[0].needs[0]
    folder = make.folder(tmp_path)
    folder.parent.mkdir(parents=True)
    thread = threading.Thread(target=make.make, args=(tmp_path, print))
    with folder.with_name(f".{folder.name}.process").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread.start()
        thread.join(timeout=0.2)
        assert called == []
    thread.join()
    assert len(called) == 1


def test_an_interrupt_lets_the_command_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, begun, saved = (tmp_path / name for name in ("program", "begun", "saved"))
    wait = "while true; do sleep 0.02; done"
    program.write_text(f"#!/bin/sh\ntrap 'touch {saved}; exit 0' TERM\ntouch {begun}\n{wait}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))

    communicate, calls = subprocess.Popen.communicate, []

    def interrupted_at_first(self: Any) -> Any:
        calls.append(self)
        if len(calls) > 1:
            return communicate(self)
        while not begun.exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted_at_first)
    with pytest.raises(KeyboardInterrupt):
        said([])
    assert saved.exists()


def test_the_program_itself_is_asked() -> None:
    found = said(["rates", "--rho", "3.7", "--json"])
    assert found["cpu_seconds"] > 0
    with pytest.raises(ProxylmError, match=r"proxylm rates --none: .*--none"):
        said(["rates", "--none"])
