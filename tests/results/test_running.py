"""An experiment from the command to the page: stopped, gone on with, and told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import small_neural
from proxylm.cli.main import run
from proxylm.errors import UsageError
from proxylm.recipes import artifacts
from proxylm.results import commands
from proxylm.results.record import read_record

EXPERIMENT = """
title: A small grid
text: Two arms.
core_hours: 1
inputs: {texts: some texts}
work:
  kind: grid
  base:
    model: {kind: preset, name: demo}
    symbols_per_step: 128
    learning_rate: {kind: cosine, peak: 1.0e-3, warmup_steps: 1}
    device: cpu
    held_out: null
  corpora: {texts: {files: {path: "{texts}"}}}
  held_out_fraction: 0.3
  sizes:
    small:
      model:
        {layers: 1, width: 16, ffn: 16, heads: 1, context: 64,
         attention: {kind: causal, kv_heads: 1}}
      vocabulary: 270
      symbols: 512
      seeds: 2
  arms:
    bytes: {values: {mixing: {rate: {kind: constant, rate: 0}}}}
    byteified: {start: bytes, budget: 0.5, peak_of: bytes, values: {mixing: {}}}
  peaks: [1.0e-3, 2.0e-3]
  swept: small
  chosen_by: bits per byte
  measures: {held_out: {kind: held-out}, training: {kind: training}}
  numbers: {bits per byte: held_out.own.bits_per_byte, FLOPs: training.training_flops}
  measuring: {held_out_bytes: 500}
statements:
  - says: It is lower
    source: nowhere
    rule: {kind: lower, number: bits per byte, of: {arm: byteified}, minus: {arm: bytes}}
tables:
  - {title: Bits per byte, rows: [arm], columns: size, numbers: {bits per byte: .3f}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results")
    small_neural.write_corpus(path / "texts")
    (path / "small.yaml").write_text(EXPERIMENT)
    return path


def command(folder: Path, *more: str) -> list[str]:
    where = ["--pool", str(folder / "pool"), "--results", str(folder / "out")]
    experiment, given = str(folder / "small.yaml"), f"texts={folder / 'texts'}"
    return ["results", "run", experiment, *where, "--input", given, "--json", *more]


def test_it_is_planned_stopped_and_gone_on_with_and_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*more: str) -> dict[str, Any]:
        capsys.readouterr()
        assert run(command(folder, *more)) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    planned = said("--plan")
    names = {one["name"] for one in planned["artifacts"] if one["kind"] == "runs"}
    # As many as there will be: two peaks, then two seeds of either arm.
    assert len(names) == 5
    assert planned["left_core_hours"] > 0
    assert not (folder / "pool").exists()

    train, trained = artifacts.train, []

    def train_three(*arguments: Any) -> Any:
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(arguments)
        return train(*arguments)

    monkeypatch.setattr(artifacts, "train", train_three)
    assert run(command(folder)) == 130
    [path] = (folder / "out").iterdir()
    stopped = read_record(path)
    assert (path.name, stopped.wanted, stopped.is_complete) == ("small.json", 4, False)
    assert len(stopped.sweep) == 2

    monkeypatch.setattr(artifacts, "train", lambda *given: trained.append(given) or train(*given))
    assert said()["complete"]
    assert len(trained) == 5
    record = read_record(path)
    assert [one.labels["arm"] for one in record.observations] == ["bytes", "byteified"] * 2
    best = min(record.sweep, key=lambda one: one.numbers["bits per byte"])
    assert set(record.chosen.values()) == {best.labels["peak"]}
    assert stopped.observations == record.observations[: len(stopped.observations)]
    assert 0 < record.core_hours < 0.1  # seconds would be more
    assert record.configuration["peaks"] == [1e-3, 2e-3]
    started = [config for config, _ in trained if config.init_from]
    assert len(started) == 2
    assert said()["core_hours"] == record.core_hours
    assert len(trained) == 5

    page = folder / "page.md"
    assert run(["results", "page", "--results", str(folder / "out"), "--out", str(page)]) == 0
    text = page.read_text()
    assert "| It is lower | nowhere | **cannot be told** | A small grid |" in text
    values = [one.numbers["bits per byte"] for one in record.observations[::2]]
    assert f"| bytes | {sum(values) / 2:.3f} ± " in text
    assert "over 2 pairs" in text


def test_numbers_that_are_not_there_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(words: list[str], *kept_open: int) -> dict[str, Any]:
        if "bad" in words:
            raise UsageError("it is bad")
        return {"x": 1}

    monkeypatch.setattr(commands, "said", said)
    points = 'points_of: [{each: {how: [good, bad]}, command: "rates <how>", numbers: {x: x}}]'
    file = tmp_path / "two.yaml"
    file.write_text(f"{{title: Two, text: b, core_hours: 1, work: {{kind: commands, {points}}}}}")
    where = ["--pool", str(tmp_path / "pool"), "--results", str(tmp_path / "out")]
    assert run(["results", "run", str(file), *where]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "left out: it is bad"
    [record] = (tmp_path / "out").iterdir()
    assert not read_record(record).is_complete
    assert run(["results", "run", str(file), *where[:3], str(file)]) == 2
    assert "is a file; --results names a folder" in capsys.readouterr().err


def test_what_is_no_result_and_no_experiment_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["results", "page", "--results", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
    (tmp_path / "a.json").write_text("{}")
    assert run(["results", "page", "--results", str(tmp_path)]) == 1
    assert "a.json: is no result" in capsys.readouterr().err
    assert run(["results", "run", "none", "--plan"]) == 2
    assert "no experiment 'none'; there are: ladder" in capsys.readouterr().err
