"""Run folders: whose folder it is, the lock, and the comparison of configurations."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from proxylm.config import Config
from proxylm.errors import DamagedFileError, UsageError
from proxylm.training.run_folder import differences, opened_run, read_run_config, record_config


class Inner(Config):
    width: int = 8


class Sample(Config):
    seed: int = 0
    inner: Inner = Inner()
    names: tuple[str, ...] = ("a",)


def start(run: Path, config: Sample) -> None:
    with opened_run(run, config):
        record_config(run, config)


def hold(run: Path, pipe: Connection) -> None:
    with opened_run(run, Sample()):
        pipe.send("held")
        pipe.recv()


def test_a_new_run_gets_its_configuration(tmp_path: Path) -> None:
    run = tmp_path / "deep" / "run"
    with opened_run(run, Sample(seed=3)):
        assert [path.name for path in run.iterdir()] == [".lock"]
        record_config(run, Sample(seed=3))
        assert read_run_config(run) == {"seed": 3, "inner": {"width": 8}, "names": ["a"]}


def test_a_start_that_fails_binds_nobody(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), opened_run(tmp_path, Sample()):
        raise RuntimeError
    start(tmp_path, Sample(seed=9))
    assert read_run_config(tmp_path)["seed"] == 9


def test_the_same_configuration_goes_on(tmp_path: Path) -> None:
    for _ in range(2):
        start(tmp_path, Sample())


def test_changed_values_are_shown_old_to_new(tmp_path: Path) -> None:
    start(tmp_path, Sample())
    changed = Sample(seed=5, inner=Inner(width=16), names=("a", "b"))
    with pytest.raises(UsageError) as caught, opened_run(tmp_path, changed):
        pass
    for shown in ("seed: 0 → 5", "inner.width: 8 → 16", "names.1: (absent) → b"):
        assert shown in str(caught.value)
    assert "\n" not in str(caught.value)
    assert read_run_config(tmp_path)["seed"] == 0


def test_long_differences_are_cut() -> None:
    old = {str(key): 0 for key in range(9)}
    assert len(differences(old, {str(key): 1 for key in range(9)})) == 9
    assert differences({"a": {}}, {"a": {"b": 1}}) == ["a.b: (absent) → 1", "a: {} → (absent)"]


@pytest.mark.parametrize("name", ["notes.txt", "metrics.jsonl", "checkpoints"])
def test_someone_elses_folder_is_refused_and_untouched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=name), opened_run(tmp_path, Sample()):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"), opened_run(tmp_path / "file", Sample()):
        pass


def test_what_an_early_kill_leaves_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".partial-0-config.yaml").write_text("se")
    with opened_run(tmp_path, Sample()):
        assert not (tmp_path / ".partial-0-config.yaml").exists()


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe", b"- 1", b"a: 1\na: 2", b"[" * 3000])
def test_a_damaged_configuration_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"config\.yaml"), opened_run(tmp_path, Sample()):
        pass


def test_two_trainers_in_one_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    other = context.Process(target=hold, args=(tmp_path, there))
    other.start()
    assert here.recv() == "held"
    with (
        pytest.raises(UsageError, match="another trainer"),
        opened_run(tmp_path, Sample()),
    ):
        pass
    other.kill()  # A killed trainer's lock is free again.
    other.join()
    with opened_run(tmp_path, Sample()):
        pass
