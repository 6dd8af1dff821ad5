"""Speed, waiting and memory in a run's metrics."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

import proxylm as px
from proxylm.gpus import GPUS, known_gpu
from proxylm.training.device import Place
from proxylm.training.metrics import read_metrics
from proxylm.training.run import train
from proxylm.training.speed import peak_flops
from small_runs import make_store, tiny_config

WAIT = 0.05


class SlowBatches:
    """Batches that are long in coming."""

    fingerprint = "slow"

    def __init__(self, batches: px.Batches) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def batch(self, step: int) -> px.Batch:
        time.sleep(WAIT)
        return self._batches.batch(step)


def test_a_step_says_how_fast_it_was(tmp_path: Path) -> None:
    config = tiny_config(make_store(tmp_path / "store"), steps=3)
    train(config, tmp_path / "run")
    for record in read_metrics(tmp_path / "run" / "metrics.jsonl"):
        assert record["mfu"] == pytest.approx(record["flops_per_second"] / record["peak_flops"])
        assert 0 < record["mfu"] < 1
        assert 0 <= record["waited_seconds"] < record["seconds"]
        assert 1e7 < record["peak_memory_bytes"] < 1e11


def test_waiting_for_data_is_counted(tmp_path: Path) -> None:
    store = px.prepare([b"some text " * 60], held_out_fraction=0.0)
    drawn = px.batches(store, px.Mixture.bytes_only(), context=128, contexts_per_step=1, steps=3)
    model = px.LanguageModel(px.preset("demo", layers=1, width=16, ffn=16, heads=2))
    train(model=model, batches=SlowBatches(drawn), out=tmp_path / "run", learning_rate=1e-3)
    first, *_ = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert first["waited_seconds"] >= WAIT


def test_every_head_has_its_losses(tmp_path: Path) -> None:
    store = px.prepare([b"some text " * 60], held_out_fraction=0.0)
    drawn = px.batches(
        store, px.Mixture.bytes_only(), context=128, contexts_per_step=1, steps=1, heads=3
    )
    sizes = {"layers": 1, "width": 16, "ffn": 16, "heads": 2}
    model = px.LanguageModel(px.preset("demo", raw_prediction_heads=2, **sizes))
    train(model=model, batches=drawn, out=tmp_path / "run", learning_rate=1e-3)
    [record] = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert record["loss_by_head"][0] == record["loss_by_format"]
    assert len(record["loss_by_head"]) == 3
    assert all("raw" in head and "compressed" not in head for head in record["loss_by_head"])


def test_the_peak_of_a_known_gpu_is_its_data_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "NVIDIA H100 80GB HBM3"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    device = torch.device("cuda")
    assert known_gpu(name) is GPUS["h100"]
    assert peak_flops(Place(device=device, autocast=True)) == 989.4e12
    assert peak_flops(Place(device=device, autocast=False)) == 67e12
    for other in (
        "GeForce GTX 1080",
        "GeForce RTX 4090 Laptop GPU",
        "H200 NVL",
        "H200 MIG 1g.18gb",
    ):
        assert known_gpu(f"NVIDIA {other}") is None


def test_a_measured_peak_is_measured_once() -> None:
    place = Place(device=torch.device("cpu"), autocast=False)
    assert peak_flops(place) == peak_flops(place) > 1e8
