"""Loss spikes: which steps are some, what is done about them, and that it survives a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from proxylm.checkpoints.checkpoint import newest_valid, open_checkpoint
from proxylm.data.batch import Batch
from proxylm.models.language_model import LanguageModel
from proxylm.training.callbacks import Record
from proxylm.training.loop import TrainingDivergedError
from proxylm.training.loss_spikes import LossSpikes
from proxylm.training.metrics import read_metrics
from proxylm.training.run import train
from proxylm.training.training_run import TrainingRun
from small_runs import CONTEXT, SYMBOL_COUNT, tiny_config

STEPS, SPIKE = 8, 6
"""The sixth step of eight has contexts like no other."""


class SpikyBatches:
    """The same context in every step, but in those that are a spike."""

    fingerprint = "s" * 32

    def __init__(self, spikes: tuple[int, ...] = (SPIKE,)) -> None:
        self.spikes = spikes

    def __len__(self) -> int:
        return STEPS

    def batch(self, step: int) -> Batch:
        inputs = np.full((1, CONTEXT), 70, np.int32)
        if step + 1 in self.spikes:
            inputs = np.random.default_rng(step).integers(64, 320, (1, CONTEXT)).astype(np.int32)
        return Batch(
            inputs=inputs,
            targets=inputs[..., None],
            segment_ids=np.zeros_like(inputs),
            position_ids=np.arange(CONTEXT, dtype=np.int32)[None],
            contexts=np.array([step], dtype=np.int64),
        )


def spiky_run(out: Path, spikes: tuple[int, ...] = (SPIKE,), **settings: Any) -> list[Record]:
    config = tiny_config(Path("none")).model_for(SYMBOL_COUNT)
    model = LanguageModel(config, seed=1)
    values = {"window": 3, "deviations": 1.5} | settings.pop("loss_spikes", {})
    train(
        model=model,
        batches=SpikyBatches(spikes),
        out=out,
        learning_rate=1e-2,
        checkpoints={"every_steps": 2, "keep_last": 9},
        loss_spikes=values,
        **settings,
    )
    return read_metrics(out / "metrics.jsonl")


def weights(run: Path, step: int) -> torch.Tensor:
    model = open_checkpoint(run / "checkpoints" / f"step-{step:08d}").model()
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize(
    ("loss", "is_spike"), [(2.5, False), (2.79, True), (float("nan"), True), (-5.0, False)]
)
def test_a_spike_is_far_above_the_losses_before(loss: float, is_spike: bool) -> None:
    spikes = LossSpikes(window=4, deviations=6.0)
    before = [2.0, 2.2, 2.0, 2.2]  # a mean of 2.1 and a deviation of 0.1
    assert spikes.has(loss, 1.0, before) == is_spike
    assert spikes.has(2.0, float("inf"), before)
    assert not spikes.has(100.0, 1.0, before[:3])
    assert not spikes.has(float("nan"), 1.0, [])


def test_the_update_of_a_spike_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = spiky_run(tmp_path / "run")
    assert [one["step"] for one in records if "spike" in one] == [SPIKE]
    assert f"step {SPIKE}: the loss jumps up" in caplog.text
    assert not torch.equal(weights(tmp_path / "run", 4), weights(tmp_path / "run", 6))
    # Of steps 5 and 6 only one has been made.
    calm = tmp_path / "calm"
    spiky_run(calm, spikes=())
    assert not torch.equal(weights(calm, 6), weights(tmp_path / "run", 6))


def test_a_run_rolls_back_to_the_newest_checkpoint_and_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    records = spiky_run(run, loss_spikes={"then": "roll_back"})
    assert [one["step"] for one in records] == list(range(1, STEPS + 1))
    assert "of step 4 again" in records[SPIKE - 1]["spike"]
    assert torch.equal(weights(run, 6), weights(run, 4))
    assert not torch.equal(weights(run, 8), weights(run, 4))


@pytest.mark.parametrize("then", ["skip", "roll_back"])
def test_a_stopped_run_compares_with_the_same_losses(tmp_path: Path, then: str) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    expected = spiky_run(whole, loss_spikes={"then": then})

    def stop(run: TrainingRun, record: Record) -> None:
        if run.step == 4:
            run.stop("enough")

    assert len(spiky_run(stopped, loss_spikes={"then": then}, callbacks=[stop])) == 4
    records = spiky_run(stopped, loss_spikes={"then": then})
    assert [one.get("spike") for one in records] == [one.get("spike") for one in expected]
    assert torch.equal(weights(stopped, STEPS), weights(whole, STEPS))


def test_spikes_in_a_row_end_the_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(TrainingDivergedError, match="a spike after 2 in a row"):
        spiky_run(run, spikes=(5, 6, 7), loss_spikes={"at_most": 2})
    newest = newest_valid(run)
    assert newest is not None
    assert newest.state.step == 6
    assert newest.state.spikes_in_a_row == 2
