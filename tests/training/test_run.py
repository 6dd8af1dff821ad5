"""Whole runs: what they leave, and that stopping anywhere and going on changes no bit."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import proxylm
from proxylm.checkpoints import checkpoint as checkpoint_module
from proxylm.checkpoints.checkpoint import (
    CheckpointManifest,
    StoredFile,
    checkpoint_folders,
    open_checkpoint,
)
from proxylm.config import load_config, validate_config
from proxylm.data.mixture_numbers import MixtureNumbers
from proxylm.data.store.store import ViewStore
from proxylm.errors import CheckpointError, DamagedFileError, DataError, UsageError
from proxylm.files import sha256_of, write_json
from proxylm.scoring.score import score
from proxylm.symbols import BOS, RAW_OFFSET, vocabulary_size
from proxylm.threads import torch_threads
from proxylm.training.config import TrainingConfig
from proxylm.training.loop import TrainingDivergedError
from proxylm.training.metrics import read_metrics
from proxylm.training.run import TrainResult, train
from proxylm.training.training_run import Checkpoints, TrainingRun
from small_runs import SYMBOL_COUNT, TIMES, make_store, tiny_config

STEPS = 6


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("data") / "store")


@pytest.fixture(scope="module")
def config(store: Path) -> TrainingConfig:
    return tiny_config(store, steps=STEPS, checkpoints={"every_steps": 1, "keep_last": 99})


@pytest.fixture(scope="module")
def whole(config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run with a checkpoint after every step."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    train(config, run)
    return run


def tensors(run: Path) -> dict[str, torch.Tensor]:
    newest = checkpoint_folders(run / "checkpoints")[0]
    assert newest.name == f"step-{STEPS:08d}"
    return load_file(newest / "model.safetensors") | load_file(newest / "optimizer.safetensors")


def timeless(run: Path) -> list[dict[str, Any]]:
    records = read_metrics(run / "metrics.jsonl")
    return [{key: value for key, value in r.items() if key not in TIMES} for r in records]


def require_same_bits(run: Path, whole: Path) -> None:
    assert timeless(run) == timeless(whole)
    found, expected = tensors(run), tensors(whole)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def stop_after(step: int) -> Any:
    def report(run: TrainingRun, record: Mapping[str, Any]) -> None:
        if run.step == step:
            raise RuntimeError("stopped by the test")

    return report


def test_what_a_run_leaves(config: TrainingConfig, whole: Path) -> None:
    names = {path.name for path in whole.iterdir()}
    assert names == {
        ".lock",
        ".verified",
        "config.yaml",
        "metrics.jsonl",
        "tensorboard",
        "checkpoints",
    }
    assert load_config(TrainingConfig, whole / "config.yaml") == config.resolved()
    model = open_checkpoint(checkpoint_folders(whole / "checkpoints")[0]).model()
    assert model.config == config.model_for(SYMBOL_COUNT)
    assert any((whole / "tensorboard").iterdir())


def test_metrics_have_one_line_per_step(config: TrainingConfig, whole: Path) -> None:
    records = read_metrics(whole / "metrics.jsonl")
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert [record["symbols"] for record in records] == [256 * step for step in range(1, 7)]
    assert [step for step, record in enumerate(records, 1) if "held_out" in record] == [3, 6]
    for record in records:
        assert record["raw_bytes"] > 0
        assert record["documents"] > 0
        assert 0 <= record["rate_shown"] <= 1
        assert record["rate_asked"] == pytest.approx(0.9 if record["step"] > 1 else 0.4)
        assert record["pairs_in_one_context"] <= record["pairs"]
        assert set(record["loss_by_format"]) <= {"special", "raw", "compressed"}
        assert len(record["epochs"]) == 1
    flops = [record["training_flops"] for record in records]
    parameters = config.model_for(SYMBOL_COUNT).matrix_parameter_count
    assert flops[0] > 6 * parameters * 256
    assert flops[-1] == pytest.approx(6 * flops[0], rel=0.05)


def test_a_late_raw_stage_carries_learning_rate_and_optimizer_through(
    store: Path, tmp_path: Path
) -> None:
    changes = {
        "mixing": {
            "rate": {"kind": "points", "points": [[0, 1], [0.5, 1], [0.5, 0]]},
            "granularity": {"pairing": {"kind": "none"}},
            "shuffle_block_steps": 1,
        },
        "learning_rate": {
            "kind": "constant_then_cosine",
            "peak": 1e-2,
            "warmup_steps": 1,
            "fraction": 0.5,
        },
        "checkpoints": {"every_steps": 1, "keep_last": 99},
        "held_out": None,
    }
    config = tiny_config(store, steps=STEPS, **changes)
    train(config, tmp_path / "whole")
    records = read_metrics(tmp_path / "whole" / "metrics.jsonl")
    assert [record["rate_asked"] for record in records] == [1, 1, 1, 0, 0, 0]
    # A document that is open where the stage begins is shown to its end as it was begun.
    assert [record["raw_symbols"] > 0 for record in records] == [False] * 3 + [True] * 3
    assert sum(record["compressed_symbols"] for record in records[4:]) == 0
    rates = [record["learning_rate"] for record in records]
    assert rates[:3] == [1e-2] * 3
    assert rates[5] == pytest.approx(1e-3)
    for last in (2, 3, 4):  # before, at, and after the first step of the stage
        stopped = tmp_path / f"stopped-{last}"
        with pytest.raises(RuntimeError, match="stopped by the test"):
            train(config, stopped, callbacks=[stop_after(last)])
        train(config, stopped)
        require_same_bits(stopped, tmp_path / "whole")


def test_bytes_shown_as_bytes_are_counted_also_in_runs_of_before(
    config: TrainingConfig, whole: Path, tmp_path: Path
) -> None:
    records = read_metrics(whole / "metrics.jsonl")
    counted = [record["raw_format_bytes"] for record in records]
    assert counted == np.cumsum([record["raw_symbols"] for record in records]).tolist()
    older = tmp_path / "older"
    shutil.copytree(whole, older)
    for folder in checkpoint_folders(older / "checkpoints"):
        if folder.name > "step-00000003":
            shutil.rmtree(folder)
            continue
        without_the_count(folder)
    train(config, older)
    require_same_bits(older, whole)


def without_the_count(folder: Path) -> None:
    """The checkpoint as it was written before these bytes were counted."""
    state = json.loads((folder / "state.json").read_text())
    del state["raw_format_bytes"]
    write_json(folder / "state.json", state)
    manifest = open_manifest(folder)
    stored = StoredFile(
        num_bytes=(folder / "state.json").stat().st_size, sha256=sha256_of(folder / "state.json")
    )
    changed = manifest.model_copy(update={"files": manifest.files | {"state.json": stored}})
    signed = changed.model_copy(update={"checksum": changed.expected_checksum()})
    write_json(folder / "manifest.json", signed.model_dump(mode="json"))


def open_manifest(folder: Path) -> CheckpointManifest:
    return validate_config(CheckpointManifest, json.loads((folder / "manifest.json").read_text()))


def test_the_result_is_the_last_line(config: TrainingConfig, whole: Path) -> None:
    result = train(config, whole)
    assert isinstance(result, TrainResult)
    last = read_metrics(whole / "metrics.jsonl")[-1]
    as_json = json.loads(json.dumps(result.as_json()))
    for key in ("symbols", "loss", "raw_bytes", "documents", "training_flops", "seconds"):
        assert as_json[key] == last[key]
    assert as_json["steps"] == STEPS
    assert as_json["run"] == str(whole)
    assert as_json["held_out"] == last["held_out"]
    assert set(as_json["held_out"]) == {"raw", "compressed"}
    assert as_json["symbols_per_second"] == pytest.approx(last["symbols"] / last["seconds"])
    newest = open_checkpoint(checkpoint_folders(whole / "checkpoints")[0])
    parameters = sum(value.numel() for value in newest.model().parameters())
    assert as_json["parameters"] == parameters


def test_held_out_bits_are_total_bits_over_total_bytes(store: Path, whole: Path) -> None:
    documents = ViewStore.open(store)
    held_out = [documents.raw(int(i)).tobytes() for i in documents.ordinals(held_out=True)]
    record = read_metrics(whole / "metrics.jsonl")[-1]
    model = open_checkpoint(checkpoint_folders(whole / "checkpoints")[0]).model()
    config = tiny_config(store, held_out={"every_steps": 1, "max_bytes": 10**9})
    from proxylm.training.device import place_for
    from proxylm.training.held_out import choose_held_out

    chosen = choose_held_out(config)
    assert chosen is not None
    assert chosen.raw_bytes == sum(map(len, held_out))
    scores = score(model, held_out, stride=31).per_document
    expected = sum(s * len(d) for s, d in zip(scores, held_out, strict=True)) / chosen.raw_bytes
    found = chosen.bits_per_byte(model, place_for(config))
    assert found["raw"] == pytest.approx(expected, rel=1e-5)
    assert record["held_out"]["raw"] == pytest.approx(expected, rel=0.5)


@pytest.mark.parametrize("split", range(1, STEPS))
def test_every_split_point_gives_the_same_bits(
    config: TrainingConfig, whole: Path, tmp_path: Path, split: int
) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for path in checkpoint_folders(run / "checkpoints")[: STEPS - split]:
        shutil.rmtree(path)
    assert train(config, run).steps == STEPS
    require_same_bits(run, whole)


def test_a_run_that_broke_off_between_checkpoints_goes_on(
    store: Path, whole: Path, tmp_path: Path
) -> None:
    config = tiny_config(store, steps=STEPS, checkpoints={"every_steps": 2, "keep_last": 2})
    for step in (1, 3, 4):
        with pytest.raises(RuntimeError):
            train(config, tmp_path, callbacks=[stop_after(step)])
    with (tmp_path / "metrics.jsonl").open("ab") as lines:
        lines.write(b'{"step": 5, "lo')
    train(config, tmp_path)
    require_same_bits(tmp_path, whole)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000004", "step-00000006"]


def test_a_damaged_newest_checkpoint_is_passed_over(
    config: TrainingConfig, whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    damaged = run / "checkpoints" / f"step-{STEPS:08d}" / "model.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    train(config, run)
    assert str(damaged) in caplog.text
    require_same_bits(run, whole)
    assert (run / "checkpoints" / f"damaged-step-{STEPS:08d}").is_dir()


def test_it_never_starts_again_at_zero(config: TrainingConfig, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for path in checkpoint_folders(run / "checkpoints"):
        (path / "state.json").write_text("{}")
    before = (run / "metrics.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match="none of its 6 checkpoints"):
        train(config, run)
    assert (run / "metrics.jsonl").read_bytes() == before


def test_a_changed_configuration_is_shown(store: Path, whole: Path) -> None:
    changed = tiny_config(
        store, steps=STEPS + 1, checkpoints={"every_steps": 1, "keep_last": 99}, seed=4
    )
    with pytest.raises(UsageError) as caught:
        train(changed, whole)
    assert "length.steps: 6 → 7; seed: 0 → 4" in str(caught.value).replace("; micro", "")


@pytest.mark.parametrize(
    ("changes", "what"), [({"seed": 1}, "data"), ({"compressor": "e" * 32}, "compressor")]
)
def test_changed_data_is_refused(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    store = make_store(tmp_path / "store")
    config = tiny_config(store, steps=2)
    train(config, tmp_path / "run")
    shutil.rmtree(store)
    make_store(store, **changes)
    with pytest.raises(CheckpointError, match=f"its {what} has changed"):
        train(config, tmp_path / "run")


@pytest.mark.parametrize("name", ["raw-00000.arrow", "halves-00000.arrow", "manifest.json"])
def test_a_flipped_bit_in_a_store_stops_the_start_and_is_named(tmp_path: Path, name: str) -> None:
    config = tiny_config(make_store(tmp_path / "store"))
    flip_a_bit(tmp_path / "store" / name)
    with pytest.raises(DamagedFileError, match=re.escape(name)) as caught:
        train(config, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_files_found_right_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(make_store(tmp_path / "store"))
    with pytest.raises(RuntimeError, match="stopped by the test"):
        train(config, tmp_path / "run", callbacks=[stop_after(3)])
    read: list[Path] = []
    monkeypatch.setattr(
        "proxylm.data.store.verifying.check_content", lambda folder, file: read.append(folder)
    )
    train(config, tmp_path / "run")
    assert read == []


def test_a_store_damaged_between_two_starts_is_named(tmp_path: Path) -> None:
    config = tiny_config(make_store(tmp_path / "store"))
    with pytest.raises(RuntimeError, match="stopped by the test"):
        train(config, tmp_path / "run", callbacks=[stop_after(3)])
    flip_a_bit(tmp_path / "store" / "halves-00000.arrow")
    with pytest.raises(DamagedFileError, match=r"halves-00000\.arrow"):
        train(config, tmp_path / "run")


def flip_a_bit(path: Path) -> None:
    """Flip one bit in the middle of a file; its length stays as it was."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_full_disk_stops_the_run_and_loses_nothing(
    config: TrainingConfig, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError):
        train(config, tmp_path, callbacks=[stop_after(3)])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module, "save_file", full)
        with pytest.raises(CheckpointError, match="No space left"):
            train(config, tmp_path)
    assert len(checkpoint_folders(tmp_path / "checkpoints")) == 2
    train(config, tmp_path)
    require_same_bits(tmp_path, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops(
    store: Path,
    whole: Path,
    tmp_path: Path,
    number: signal.Signals,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = tiny_config(store, steps=STEPS, checkpoints={"every_steps": 99, "keep_last": 2})

    def interrupt(run: TrainingRun, record: Mapping[str, Any]) -> None:
        if run.step == 3:
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, callbacks=[interrupt])
    assert f"stopped by {number.name} after step 3 of 6" in caplog.text
    names = [path.name for path in checkpoint_folders(tmp_path / "checkpoints")]
    assert names == ["step-00000003"]
    train(config, tmp_path)
    require_same_bits(tmp_path, whole)


def test_a_signal_after_a_step_was_not_saved_stops_the_next_one(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny_config(store, steps=STEPS, checkpoints={"every_steps": 99, "keep_last": 2})
    save = Checkpoints.on_step

    def late(self: Checkpoints, run: TrainingRun, record: dict[str, Any]) -> None:
        save(self, run, record)
        if run.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Checkpoints, "on_step", late)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path)
    assert "after step 4 of 6, which is saved" in caplog.text
    assert checkpoint_folders(tmp_path / "checkpoints")[0].name == "step-00000004"


def test_divergence_leaves_the_last_checkpoint(store: Path, tmp_path: Path) -> None:
    config = tiny_config(
        store,
        checkpoints={"every_steps": 1, "keep_last": 2},
        learning_rate={"kind": "constant", "peak": 1e30, "warmup_steps": 0},
    )
    with pytest.raises(TrainingDivergedError, match="diverged") as caught:
        train(config, tmp_path)
    (newest, *_) = checkpoint_folders(tmp_path / "checkpoints")
    open_checkpoint(newest).model()
    safe = f"checkpoint {newest.name} is intact: start again from it (init_from)"
    assert safe in str(caught.value)


def test_divergence_before_the_first_checkpoint_promises_none(store: Path, tmp_path: Path) -> None:
    config = tiny_config(
        store,
        checkpoints={"every_steps": 99, "keep_last": 2},
        learning_rate={"kind": "constant", "peak": 1e30, "warmup_steps": 0},
    )
    with pytest.raises(
        TrainingDivergedError, match=r"no checkpoint yet: start again with"
    ) as error:
        train(config, tmp_path)
    assert "intact" not in str(error.value) and "init_from" not in str(error.value)
    assert checkpoint_folders(tmp_path / "checkpoints") == []


def test_a_run_ends_where_its_data_ends(
    store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mixing = {"when_exhausted": "stop", "rate": {"kind": "constant", "rate": 0.5}}
    result = train(tiny_config(store, steps=500, mixing=mixing), tmp_path)
    assert 5 < result.steps < 100
    assert result.held_out
    assert f"the data ends after {result.steps} of 500 steps" in caplog.text
    assert checkpoint_folders(tmp_path / "checkpoints")[0].name == f"step-{result.steps:08d}"


def test_data_that_fills_no_step_is_refused(store: Path, tmp_path: Path) -> None:
    mixing = {"when_exhausted": "stop"}
    with pytest.raises(DataError, match="does not fill the contexts of one step"):
        train(tiny_config(store, mixing=mixing, symbols_per_step=64 * 500), tmp_path)


@pytest.mark.parametrize(("at_start", "later"), [(1, 3), (3, 1)])
def test_a_run_keeps_its_threads_and_with_them_its_bits(
    config: TrainingConfig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    at_start: int,
    later: int,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    with torch_threads(at_start):
        train(config, tmp_path / "whole")
        with pytest.raises(RuntimeError, match="stopped by the test"):
            train(config, tmp_path / "stopped", callbacks=[stop_after(3)])
    with torch_threads(later):
        train(config, tmp_path / "stopped")
        assert torch.get_num_threads() == later
    require_same_bits(tmp_path / "stopped", tmp_path / "whole")
    assert f"goes on with the {at_start} threads that it was started with" in caplog.text


def test_a_new_run_takes_no_more_threads_than_it_can_keep_busy(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("proxylm.pool.usable_cores", lambda: 2)
    with torch_threads(5):
        train(config, tmp_path)
    newest = checkpoint_folders(tmp_path / "checkpoints")[0]
    assert json.loads((newest / "state.json").read_text())["threads"] == 2


def test_a_finished_run_says_nothing_of_threads(
    config: TrainingConfig, whole: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with torch_threads(torch.get_num_threads() + 1):
        train(config, whole)
    assert "threads" not in caplog.text


def test_a_start_from_weights_extends_the_vocabulary(store: Path, tmp_path: Path) -> None:
    raw = tiny_config(
        store,
        steps=2,
        data=[{"store": str(store)}],
        mixing={
            "rate": {"kind": "constant", "rate": 0},
            "granularity": {"kind": "document", "pairing": {"kind": "none"}},
        },
    )
    result = train(raw, tmp_path / "raw")
    assert set(result.held_out) == {"raw"}
    old = open_checkpoint(checkpoint_folders(tmp_path / "raw" / "checkpoints")[0]).model()
    assert old.config.vocabulary_size == vocabulary_size(0)

    unmoved = {"kind": "constant", "peak": 1e-30, "warmup_steps": 0}
    mixed = tiny_config(store, steps=1, init_from=str(tmp_path / "raw"), learning_rate=unmoved)
    train(mixed, tmp_path / "mixed")
    new = open_checkpoint(checkpoint_folders(tmp_path / "mixed" / "checkpoints")[0]).model()
    assert new.config.vocabulary_size == vocabulary_size(SYMBOL_COUNT)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert torch.equal(new.state_dict()[name][: vocabulary_size(0)], old.state_dict()[name])
    assert torch.equal(new.model.norm.weight, old.model.norm.weight)

    back = tiny_config(
        store, **raw.model_dump(mode="json", include={"data", "mixing"}), steps=1,
        init_from=str(checkpoint_folders(tmp_path / "mixed" / "checkpoints")[0]),
        learning_rate=unmoved,
    )  # fmt: skip
    train(back, tmp_path / "back")
    kept = open_checkpoint(checkpoint_folders(tmp_path / "back" / "checkpoints")[0]).model()
    assert kept.config.vocabulary_size == vocabulary_size(SYMBOL_COUNT)


BYTES_OF_A_VIEW: dict[str, Any] = {
    "mixing": {
        "rate": {"kind": "constant", "rate": 0},
        "granularity": {"kind": "document", "pairing": {"kind": "none"}},
    },
    "checkpoints": {"every_steps": 1, "keep_last": 99},
}


def test_attention_across_documents_is_paid_for(
    config: TrainingConfig, whole: Path, tmp_path: Path
) -> None:
    mixing = config.mixing.model_copy(update={"cross_document_attention": True})
    result = train(config.model_copy(update={"mixing": mixing}), tmp_path / "run")
    last = read_metrics(whole / "metrics.jsonl")[-1]
    assert result.symbols == last["symbols"]
    assert result.training_flops > last["training_flops"]
    assert result.loss != last["loss"]


def test_a_byte_model_without_sentinels_is_read_without_them(store: Path, tmp_path: Path) -> None:
    mixing = BYTES_OF_A_VIEW["mixing"] | {"sentinels": False}
    train(tiny_config(store, steps=2, mixing=mixing), tmp_path / "run")
    model = proxylm.load(tmp_path / "run")
    assert not model.config.sentinels
    ids = torch.tensor([[BOS, *(RAW_OFFSET + byte for byte in b"def x")]])
    logits = model.module.logits(ids)[0, :-1, 0].log_softmax(-1)
    bits = -logits.gather(1, ids[0, 1:, None]).sum() / math.log(2)
    assert model.bits_per_byte([b"def x"])[0] * 5 == pytest.approx(float(bits), rel=1e-5)


def test_a_view_that_is_never_shown_has_no_symbols_in_the_model(
    store: Path, tmp_path: Path
) -> None:
    result = train(tiny_config(store, steps=2, **BYTES_OF_A_VIEW), tmp_path / "run")
    assert result.model.config.vocabulary_size == vocabulary_size(0)


def test_a_byte_run_that_has_symbols_of_a_view_goes_on_with_them(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of before: the vocabulary held the view's symbols, shown or not."""
    config = tiny_config(store, steps=STEPS, **BYTES_OF_A_VIEW)
    with monkeypatch.context() as before:
        before.setattr(MixtureNumbers, "shows_compressed", True)
        train(config, tmp_path / "whole")
        with pytest.raises(RuntimeError, match="stopped by the test"):
            train(config, tmp_path / "stopped", callbacks=[stop_after(3)])
    train(config, tmp_path / "stopped")
    require_same_bits(tmp_path / "stopped", tmp_path / "whole")
    model = open_checkpoint(checkpoint_folders(tmp_path / "stopped" / "checkpoints")[0]).model()
    assert model.config.vocabulary_size == vocabulary_size(SYMBOL_COUNT)


def test_a_start_from_other_sizes_shows_both_and_binds_nobody(
    store: Path, whole: Path, tmp_path: Path
) -> None:
    sizes = (
        tiny_config(store)
        .model_for(0)
        .model_dump(mode="json", exclude={"vocabulary_size", "sentinels"})
    )
    wider = {"kind": "explicit", "sizes": sizes | {"width": 32}}
    config = tiny_config(store, model=wider, init_from=str(whole))
    with pytest.raises(UsageError, match="width: 16 → 32"):
        train(config, tmp_path / "run")
    train(tiny_config(store, steps=1, learning_rate={"kind": "constant", "warmup_steps": 0}),
          tmp_path / "run")  # fmt: skip


def test_a_start_from_a_published_folder(store: Path, golden: Path, tmp_path: Path) -> None:
    from proxylm.checkpoints.published_folder import load_folder

    published, _ = load_folder(golden / "evabyte")
    sizes = published.config.model_dump(mode="json", exclude={"vocabulary_size", "sentinels"})
    sizes["context"] = sizes["attention"]["window"]
    config = tiny_config(
        store,
        steps=1,
        model={"kind": "explicit", "sizes": sizes},
        symbols_per_step=sizes["context"],
        init_from=str(golden / "evabyte"),
        learning_rate={"kind": "constant", "peak": 1e-30, "warmup_steps": 0},
        held_out=None,
    )
    train(config, tmp_path)
    model = open_checkpoint(checkpoint_folders(tmp_path / "checkpoints")[0]).model()
    rows = published.config.vocabulary_size
    assert torch.equal(model.model.embed_tokens.weight[:rows], published.model.embed_tokens.weight)


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"data": [{"store": "nowhere", "view": "halves"}]}, "nowhere"),
        ({"device": "cuda"}, "no GPU"),
        ({"init_from": "nowhere"}, "nowhere"),
    ],
)
def test_mistakes_leave_a_folder_that_can_be_used(
    store: Path, tmp_path: Path, changes: dict[str, Any], shown: str
) -> None:
    if shown == "no GPU" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises((UsageError, DataError, CheckpointError), match=shown) as caught:
        train(tiny_config(store, steps=2, **changes), tmp_path / "run")
    assert "\n" not in str(caught.value)
    train(tiny_config(store, steps=2), tmp_path / "run")
