"""What ``proxylm doctor`` says is there, and what it says of what is not."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from proxylm.cli import doctor
from proxylm.cli.doctor import EXTRAS
from proxylm.cli.main import run

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def found(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    status = run(["doctor", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["works"] == (status == 0)
    return status, {one["about"]: one for one in result["findings"]}


def test_every_extra_is_named() -> None:
    groups = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    assert EXTRAS.keys() == groups["optional-dependencies"].keys() - {"dev"}


def test_here_everything_works(capsys: pytest.CaptureFixture[str]) -> None:
    status, findings = found(capsys)
    assert status == 0
    assert metadata.version("proxylm") in findings["proxylm"]["found"]
    assert metadata.version("torch") in findings["packages"]["found"]
    assert "threads" in findings["processor"]["found"]
    assert "GB available" in findings["memory"]["found"]
    assert findings["[hf]"]["state"] == "ok"
    assert run(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert all(about in shown for about in findings)


def test_what_is_missing_comes_with_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    version, usage = metadata.version, shutil.disk_usage

    def of_another_machine(name: str) -> str:
        if name == "uvicorn":
            raise metadata.PackageNotFoundError(name)
        return {"numpy": "1.26.4"}.get(name, version(name))

    monkeypatch.setattr(metadata, "version", of_another_machine)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(path)._replace(free=10**9))
    status, findings = found(capsys)
    assert status == 1
    packages, serve = findings["packages"], findings["[serve]"]
    assert (packages["state"], serve["state"]) == ("broken", "lacking")
    assert packages["found"].startswith("numpy 1.26.4 is not ")
    assert serve["found"] == "the server: uvicorn is not there"
    assert serve["remedy"] == "pip install 'proxylm[serve]'"
    assert findings["disk, here"]["state"] == "lacking"
    assert run(["doctor"]) == 1
    assert "-> pip install 'proxylm[serve]'" in capsys.readouterr().out


def test_what_cannot_be_looked_at_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def _sandbox() -> Iterator[doctor.Finding]:
        yield doctor.Finding(about="first", found="is here")
        raise ImportError("no such library")

    monkeypatch.setattr(doctor, "LOOKS", (_sandbox,))
    status, findings = found(capsys)
    assert (status, list(findings)) == (1, ["first", "sandbox"])
    assert findings["sandbox"]["found"] == "not looked at: no such library"


def test_kernels_that_are_not_kept_are_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def njit(**options: object) -> Any:
        raise RuntimeError("no locator available")

    monkeypatch.setattr("numba.njit", njit)
    monkeypatch.setattr(doctor, "LOOKS", (doctor._kernels,))
    status, findings = found(capsys)
    assert (status, findings["kernels"]["state"]) == (0, "lacking")
    assert "NUMBA_CACHE_DIR" in findings["kernels"]["remedy"]
