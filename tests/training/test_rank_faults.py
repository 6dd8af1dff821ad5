"""Whatever ends a rank, or damages a file of a sharded checkpoint: named, and nothing is lost."""

from __future__ import annotations

import logging
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import ranked_runs
from proxylm.checkpoints.checkpoint import checkpoint_folders, newest_valid
from proxylm.config import dump_config
from proxylm.data.batches import batches as drawn
from proxylm.files import read_json
from proxylm.training.metrics import read_metrics
from proxylm.training.reading import hash_sum
from ranked_runs import changes
from small_disk import mounted_small_disk
from small_runs import make_store, tiny_config
from started_ranks import PATIENCE_SECONDS, Rank, RankError, ended, run_ranks, start_ranks

MANY_STEPS = 5000
SELDOM = {"every_steps": MANY_STEPS}
OFTEN = {"every_steps": 1, "keep_last": 2}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("data") / "store")


@pytest.fixture(scope="module")
def finished(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two ranks with a checkpoint after each of its two steps."""
    out = tmp_path_factory.mktemp("finished") / "run"
    settings = changes(checkpoints=OFTEN, held_out=None)
    run_ranks(2, ranked_runs.trained, store, out, 2, settings)
    return out


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.01)


def steps_made(out: Path) -> int:
    path = out / "metrics.jsonl"
    return len(read_metrics(path)) if path.exists() else 0


def newest_step(out: Path) -> int:
    folders = checkpoint_folders(out / "checkpoints")
    return int(folders[0].name.removeprefix("step-")) if folders else 0


@contextmanager
def at_work(world: int, store: Path, out: Path, **settings: Any) -> Iterator[list[Rank]]:
    """Ranks of a run without an end that has made its first steps; none is left afterwards."""
    settings = changes(checkpoints=SELDOM, held_out=None, **settings)
    ranks = start_ranks(world, ranked_runs.trained, store, out, MANY_STEPS, settings)
    with ended(ranks):
        wait_until(lambda: steps_made(out) > 1)
        yield ranks


def error_of(rank: Rank) -> str:
    with pytest.raises(RankError) as caught:
        rank.result()
    return str(caught.value).strip().splitlines()[-1]


FILES = ["shard-1", "shard-2", "model.json", "state.json", "manifest.json"]


def deleted(path: Path) -> None:
    path.unlink()


def truncated(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [deleted, truncated, flipped])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_and_the_checkpoint_before_taken(
    finished: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    damage: Callable[[Path], None],
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    newest = checkpoint_folders(run / "checkpoints")[0]
    shards = sorted(newest.glob("shard-*"))
    assert {path.name for path in newest.iterdir()} == {*FILES[2:], *(one.name for one in shards)}
    path = shards[int(name[-1]) - 1] if name.startswith("shard") else newest / name
    damage(path)
    with caplog.at_level(logging.WARNING):
        taken = newest_valid(run)
    assert taken is not None
    assert taken.state.step == 1
    assert str(path) in caplog.text


def train_command(store: Path, out: Path, folder: Path) -> list[str]:
    """The command of the run ``finished``, whose configuration is written into ``folder``."""
    config = tiny_config(store, steps=2, **changes(checkpoints=OFTEN, held_out=None))
    (folder / "run.yaml").write_text(dump_config(config), encoding="utf-8")
    return ["train", str(folder / "run.yaml"), "--out", str(out)]


def test_ranks_agree_on_a_damaged_checkpoint_whoever_finds_it(
    store: Path, finished: Path, tmp_path: Path
) -> None:
    for checkpoint in checkpoint_folders(finished / "checkpoints"):
        flipped(sorted(checkpoint.glob("shard-*"))[1])
    first, second = run_ranks(2, ranked_runs.command, train_command(store, finished, tmp_path))
    assert "none of its 2 checkpoints can be loaded" in first.stderr
    assert "shard-00002" in first.stderr
    assert (first.status, second) == (1, ranked_runs.Ended(1, "", ""))


def test_a_signal_to_one_rank_saves_one_common_step(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with at_work(2, store, out) as ranks:
        ranks[1].signal(signal.SIGTERM)
        assert [error_of(rank) for rank in ranks] == ["KeyboardInterrupt"] * 2
    checkpoint = newest_valid(out)
    assert checkpoint is not None
    assert checkpoint.is_sharded
    assert checkpoint.state.step == steps_made(out) > 1


@pytest.mark.parametrize(("world", "shard"), [(2, "all"), (4, 2)])
def test_a_rank_that_stands_still_ends_the_others_within_the_timeout(
    store: Path, tmp_path: Path, world: int, shard: Any
) -> None:
    out, timeout = tmp_path / "run", 2
    parallel = {"timeout_seconds": timeout, "shard": shard}
    with at_work(world, store, out, parallel=parallel) as ranks:
        ranks[1].signal(signal.SIGSTOP)
        stopped_at = time.monotonic()
        assert "RankLostError: rank 0: another rank does not answer" in error_of(ranks[0])
        assert time.monotonic() - stopped_at < 5 * timeout


def test_two_trainers_do_not_share_a_folder(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with at_work(1, store, out) as first:
        settings = changes(checkpoints=SELDOM, held_out=None)
        second = start_ranks(2, ranked_runs.trained, store, out, MANY_STEPS, settings)
        with ended(second):
            for rank in second:
                error = error_of(rank)
                assert "another trainer is at work in this folder" in error
                assert f"process {first[0].process.pid}" in error


def test_a_node_with_another_version_of_a_store_is_named(tmp_path: Path) -> None:
    folders = [tmp_path / "here", tmp_path / "there"]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        make_store(folder / "store", seed=seed)
    out = tmp_path / "run"
    command = train_command(Path("store"), out, tmp_path)
    first, second = run_ranks(2, ranked_runs.command_where, folders, command)
    assert "rank 1 on " in first.stderr
    assert "has another data fingerprint" in first.stderr
    assert (first.status, second) == (2, ranked_runs.Ended(2, "", ""))
    assert not (out / "config.yaml").exists()


def test_a_run_that_diverges_says_so_once(store: Path, tmp_path: Path) -> None:
    command = train_command(store, tmp_path / "run", tmp_path)
    rate = "learning_rate={kind: constant, peak: 1e30, warmup_steps: 0}"
    first, second = run_ranks(2, ranked_runs.command, [*command, rate])
    assert "training has diverged and stops here" in first.stderr
    assert (first.status, second) == (1, ranked_runs.Ended(1, "", ""))


def test_a_shard_that_only_its_writer_sees_is_in_the_manifest(tmp_path: Path) -> None:
    run_ranks(2, ranked_runs.saved_where_names_come_late, tmp_path)
    [checkpoint] = checkpoint_folders(tmp_path)
    files = read_json(checkpoint / "manifest.json")["files"]
    assert files.keys() | {"manifest.json"} == {path.name for path in checkpoint.iterdir()}
    assert sum(name.startswith("shard-") for name in files) == 2


def test_a_full_disk_leaves_the_checkpoint_before(store: Path, tmp_path: Path) -> None:
    with mounted_small_disk(tmp_path / "disk", 1 << 20) as disk:
        out = disk / "run"
        settings = changes(checkpoints=OFTEN | {"keep_last": 99}, held_out=None)
        ranks = start_ranks(2, ranked_runs.trained, store, out, MANY_STEPS, settings)
        with ended(ranks):
            for rank in ranks:
                error = error_of(rank)
                assert "CheckpointError" in error
                assert "No space left on device" in error
                assert "is intact" in error
        checkpoint = newest_valid(out)
        assert checkpoint is not None
        assert checkpoint.state.step == steps_made(out) - 1
        assert not list((out / "checkpoints").glob(".partial-*"))


@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.long)])
def test_killed_ranks_lose_nothing(store: Path, tmp_path: Path, kills: int) -> None:
    out, settings = tmp_path / "run", changes(checkpoints=OFTEN, held_out=None)
    chance = random.Random(kills)
    for kill in range(kills):
        before = newest_step(out)
        world = 1 + kill % 3
        ranks = start_ranks(world, ranked_runs.trained, store, out, MANY_STEPS, settings)
        with ended(ranks):
            wait_until(lambda before=before: newest_step(out) > before)
            time.sleep(0.2 * chance.random())
            ranks[chance.randrange(world)].signal(signal.SIGKILL)
            for rank in ranks:
                rank.process.join(PATIENCE_SECONDS)
        checkpoint = newest_valid(out)
        assert checkpoint is not None
        assert checkpoint.state.step == newest_step(out) > before
    require_one_stream_of_contexts(store, out)


def require_one_stream_of_contexts(store: Path, out: Path) -> None:
    """The run's metrics name the contexts of steps 1, 2, 3, ... of its configuration."""
    records = read_metrics(out / "metrics.jsonl")
    config = tiny_config(store, steps=MANY_STEPS, **changes())
    contexts = drawn(
        config.data,
        config.mixing,
        context=config.context,
        contexts_per_step=config.contexts_per_step,
        steps=MANY_STEPS,
        heads=config.model_for(0).target_heads,
        seed=config.seed,
    )
    assert [one["step"] for one in records] == list(range(1, len(records) + 1))
    hashes = [f"{hash_sum(contexts.batch(step)):016x}" for step in range(len(records))]
    assert [one["contexts_hash"] for one in records] == hashes


def test_the_failure_of_one_rank_is_the_error_of_all(tmp_path: Path) -> None:
    folders = [tmp_path / "here", tmp_path / "there"]
    for folder in folders:
        folder.mkdir()
    make_store(folders[0] / "store")
    ranks = start_ranks(2, ranked_runs.trained_where, folders, tmp_path / "run", changes())
    with ended(ranks):
        errors = [error_of(rank) for rank in ranks]
        assert "store" in errors[0]
        assert errors[0] == errors[1]
