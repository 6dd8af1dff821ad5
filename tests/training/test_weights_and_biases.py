"""Weights & Biases: what is sent, and that the real library takes it without a network."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from proxylm.errors import UsageError
from proxylm.ranks import Ranks
from proxylm.training.metrics import numbers_of, read_metrics
from proxylm.training.run import train
from proxylm.training.weights_and_biases import WeightsAndBiases
from small_runs import make_store, tiny_config


class StandIn:
    """Keeps what a run sends."""

    def __init__(self) -> None:
        self.begun: list[dict[str, Any]] = []
        self.sent: list[tuple[int, dict[str, float]]] = []
        self.finished = 0

    def init(self, **settings: Any) -> StandIn:
        self.begun.append(settings)
        return self

    def log(self, numbers: dict[str, float], step: int) -> None:
        self.sent.append((step, numbers))

    def finish(self) -> None:
        self.finished += 1


def test_a_run_sends_its_numbers_and_stays_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", there)
    config, out = tiny_config(make_store(tmp_path / "store"), steps=4), tmp_path / "run"

    def stop(run: Any, record: Any) -> None:
        if run.step == 2:
            run.stop("enough")

    train(config, out, [stop, WeightsAndBiases("bytes")])
    train(config, out, [WeightsAndBiases("bytes")])
    first, second = there.begun
    assert first == second and first["project"] == "bytes" and first["resume"] == "allow"
    assert (first["name"], first["dir"]) == ("run", str(out))
    assert first["config"]["symbols_per_step"] == config.symbols_per_step
    records = read_metrics(out / "metrics.jsonl")
    assert there.sent == [(record["step"], numbers_of(record)) for record in records]
    assert "held_out/raw" in there.sent[-1][1]
    assert there.finished == 2


def test_without_a_folder_the_service_names_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", there)
    train(tiny_config(make_store(tmp_path / "store"), steps=2), None, [WeightsAndBiases("bytes")])
    assert set(there.begun[0]) == {"project", "config"}


def test_of_several_ranks_one_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    there = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", there)
    second: Any = SimpleNamespace(ranks=Ranks(rank=1, world=2))
    sends = WeightsAndBiases("bytes")
    sends.on_start(second)
    sends.on_step(second, {"step": 1, "loss": 2.0})
    sends.on_end(second)
    assert (there.begun, there.sent, there.finished) == ([], [], 0)


def test_without_the_extra_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match=r"pip install 'proxylm\[wandb\]'"):
        WeightsAndBiases("bytes")


@pytest.mark.long
def test_offline_nothing_leaves_the_machine_and_all_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    out = tmp_path / "run"
    config = tiny_config(make_store(tmp_path / "store"), steps=3)
    train(config, out, [WeightsAndBiases("bytes")])
    [written] = out.glob("wandb/offline-run-*/run-*.wandb")
    sent = written.read_bytes()
    for record in read_metrics(out / "metrics.jsonl"):
        assert json.dumps(record["loss"]).encode() in sent
