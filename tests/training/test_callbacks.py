"""Callbacks: what they are told, what they add, how they end a run, and what errors leave."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch

from proxylm.checkpoints.checkpoint import checkpoint_folders
from proxylm.errors import UsageError
from proxylm.training.callbacks import Callback, EarlyStopping, Record, Sample
from proxylm.training.metrics import read_metrics
from proxylm.training.run import train
from proxylm.training.training_run import TrainingRun
from small_runs import make_store, tiny_config

STEPS = 6


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("data") / "store")


class Diary(Callback):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def on_start(self, run: TrainingRun) -> None:
        self.lines.append(("start", run.step))

    def on_step(self, run: TrainingRun, record: Record) -> dict[str, Any]:
        self.lines.append((run.step, run.total_steps, record["step"]))
        return {"twice": 2 * run.step}

    def on_end(self, run: TrainingRun) -> None:
        self.lines.append(("end", run.step))


def test_every_step_is_told_and_answers_are_recorded(store: Path, tmp_path: Path) -> None:
    diary, seen = Diary(), []

    def after(run: TrainingRun, record: Record) -> None:
        seen.append((record["twice"], "held_out" in record))

    train(tiny_config(store, steps=STEPS), tmp_path, [diary, after])
    told = [(step, STEPS, step) for step in range(1, STEPS + 1)]
    assert diary.lines == [("start", 0), *told, ("end", STEPS)]
    assert seen == [(2 * step, step % 3 == 0) for step in range(1, STEPS + 1)]
    records = read_metrics(tmp_path / "metrics.jsonl")
    assert [record["twice"] for record in records] == [2, 4, 6, 8, 10, 12]
    train(tiny_config(store, steps=STEPS), tmp_path, [diary])
    assert diary.lines[-1] == ("end", STEPS), "a finished run has no further step"
    assert len(diary.lines) == STEPS + 2


def test_objects_need_only_the_methods_that_they_have(store: Path) -> None:
    class Starts:
        def on_start(self, run: TrainingRun) -> None:
            self.step = run.step

    watcher: Any = Starts()
    train(tiny_config(store, steps=1, learning_rate={"kind": "constant", "warmup_steps": 0}),
          callbacks=[watcher])  # fmt: skip
    assert watcher.step == 0


def returning(value: Any) -> Any:
    return lambda run, record: value


@pytest.mark.parametrize(
    ("callback", "shown"),
    [
        ("loss", "callbacks: str is none"),
        (returning({"loss": 1.0}), "the record has a 'loss' already"),
        (returning({"mine": float("nan")}), "cannot be recorded"),
        (returning({"mine": torch.ones(1)}), "cannot be recorded"),
        (returning(3), "expected a mapping of names .* found int"),
        (returning(torch.ones(2)), "expected a mapping of names .* found Tensor"),
    ],
)
def test_what_is_no_callback_is_one_line(store: Path, callback: Any, shown: str) -> None:
    with pytest.raises(UsageError, match=shown) as caught:
        train(tiny_config(store), callbacks=[callback])
    assert "\n" not in str(caught.value)


def test_an_error_is_the_users_own_and_the_run_goes_on(store: Path, tmp_path: Path) -> None:
    config, diary = tiny_config(store, steps=STEPS), Diary()

    def broken(run: TrainingRun, record: Record) -> None:
        if run.step == 3:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        train(config, tmp_path, [diary, broken])
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "broken"
    assert diary.lines[-1] == ("end", 3), "whoever was started is ended"
    names = [path.name for path in checkpoint_folders(tmp_path / "checkpoints")]
    assert names == ["step-00000002"]
    assert train(config, tmp_path).steps == STEPS
    assert [r["step"] for r in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


def stop_at(step: int) -> Any:
    def callback(run: TrainingRun, record: Record) -> None:
        if run.step == step:
            run.stop("enough")

    return callback


def test_a_stop_is_saved_and_said(store: Path, tmp_path: Path) -> None:
    config = tiny_config(store, steps=STEPS, checkpoints={"every_steps": 99, "keep_last": 2})
    result = train(config, tmp_path, [stop_at(3)])
    assert (result.steps, result.stopped) == (3, "enough")
    assert result.as_json()["stopped"] == "enough"
    assert checkpoint_folders(tmp_path / "checkpoints")[0].name == "step-00000003"
    again = train(config, tmp_path)
    assert (again.steps, again.stopped) == (STEPS, None)


def test_a_run_has_a_step_and_a_whole_one_was_not_stopped(store: Path) -> None:
    class AtOnce(Callback):
        def on_start(self, run: TrainingRun) -> None:
            run.stop("at once")

    config = tiny_config(store, steps=STEPS)
    first = train(config, callbacks=[AtOnce()])
    assert (first.steps, first.stopped) == (1, "at once")
    whole = train(config, callbacks=[stop_at(STEPS)])
    assert (whole.steps, whole.stopped) == (STEPS, None)


def scores(run: TrainingRun, record: Record) -> dict[str, Any]:
    return {"score": {"mine": [3.0, 2.0, 2.5, 2.25, 1.0, 0.5][run.step - 1]}}


@pytest.mark.parametrize("broken_at", [None, 2, 3])
def test_early_stopping_counts_the_steps_of_earlier_starts(
    store: Path, tmp_path: Path, broken_at: int | None
) -> None:
    config = tiny_config(store, steps=STEPS, checkpoints={"every_steps": 1, "keep_last": 2})
    if broken_at is not None:
        with pytest.raises(KeyError):
            train(config, tmp_path, [scores, break_at(broken_at)])
    stopping = EarlyStopping("score.mine", patience=2)
    result = train(config, tmp_path, [scores, stopping])
    assert (result.steps, result.stopped) == (4, "score.mine has not fallen below 2 2 times")
    assert train(config, tmp_path, [scores, stopping]).steps == 4, "it is stopped for good"
    longer = train(config, tmp_path, [scores, EarlyStopping("score.mine", patience=3)])
    assert (longer.steps, longer.stopped) == (STEPS, None)


def test_early_stopping_counts_no_step_twice(store: Path, tmp_path: Path) -> None:
    config = tiny_config(store, steps=STEPS, checkpoints={"every_steps": 2, "keep_last": 2})
    with pytest.raises(KeyError):  # step 3 is in the metrics, and the run goes on from step 2
        train(config, tmp_path, [scores, break_at(4)])
    result = train(config, tmp_path, [scores, EarlyStopping("score.mine", patience=2)])
    assert result.steps == 4


def break_at(step: int) -> Any:
    def callback(run: TrainingRun, record: Record) -> None:
        if run.step == step:
            raise KeyError

    return callback


def test_a_mistyped_metric_is_said(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(tiny_config(store, steps=2), callbacks=[EarlyStopping("held_out.row", patience=1)])
    assert "no record of this run has a 'held_out.row'" in caplog.text
    with pytest.raises(UsageError, match="patience must be 1 or more"):
        EarlyStopping("loss", patience=0)


@pytest.mark.parametrize("metric", ["held_out", "epochs", "sample"])
def test_what_is_no_number_is_never_compared(
    store: Path, caplog: pytest.LogCaptureFixture, metric: str
) -> None:
    config = tiny_config(store, steps=2, held_out={"every_steps": 1, "max_bytes": 200})
    sample = Sample(b"def ", every_steps=1, max_new_bytes=1)
    result = train(config, callbacks=[sample, EarlyStopping(metric, patience=1)])
    assert result.stopped is None
    assert f"has a '{metric}' that is a number" in caplog.text


def test_a_number_in_a_list_has_its_place_for_a_name(store: Path) -> None:
    rising = lambda run, record: {"mine": [0, run.step]}  # noqa: E731
    stopping = EarlyStopping("mine.1", patience=2)
    assert train(tiny_config(store), callbacks=[rising, stopping]).steps == 3


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ({"max_new_byte": 3}, "did you mean 'max_new_bytes'"),
        ({"every_steps": 0}, "every_steps must be 1 or more"),
        ({"prompt": "text"}, "a prompt is bytes, not str"),
    ],
)
def test_a_sample_that_cannot_be_drawn_is_refused_before_any_step(
    arguments: dict[str, Any], shown: str
) -> None:
    with pytest.raises(UsageError, match=shown):
        Sample(**{"prompt": b"x", "every_steps": 1} | arguments)


def test_samples_are_recorded_and_change_no_bit(store: Path, tmp_path: Path) -> None:
    config = tiny_config(store, steps=STEPS)
    sample = Sample(b"def ", every_steps=4, max_new_bytes=5)
    sampled = train(config, tmp_path, [sample])
    records = read_metrics(tmp_path / "metrics.jsonl")
    assert [record["step"] for record in records if "sample" in record] == [4, 6]
    assert all(isinstance(record.get("sample", ""), str) for record in records)
    plain = train(config)
    assert all(
        torch.equal(value, plain.model.state_dict()[name])
        for name, value in sampled.model.state_dict().items()
    )


def test_evaluating_leaves_the_model_as_it_was(store: Path) -> None:
    seen = []

    def look(run: TrainingRun, record: Record) -> None:
        frozen = run.model.model.norm.weight.requires_grad_(False)
        with run.evaluating() as model:
            seen.append(model.bits_per_byte([b"some text"])[0] > 0)
            assert not run.model.training
        assert run.model.training
        assert run.model.lm_head.weight.requires_grad
        assert not frozen.requires_grad

    train(tiny_config(store, steps=2), callbacks=[look])
    assert seen == [True, True]


def test_without_tensorboard_there_are_no_event_files(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    with caplog.at_level(logging.INFO):
        train(tiny_config(store, steps=2), tmp_path)
    assert not (tmp_path / "tensorboard").exists()
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 2
    assert caplog.text.count("pip install 'proxylm[tensorboard]'") == 1
