from __future__ import annotations

import errno
import os
import pickle
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors import _safetensors_rust
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from proxylm.errors import CannotWriteError, CheckpointError, DamagedFileError, UsageError
from proxylm.files import (
    TEMPORARY_PREFIX,
    atomic_file,
    atomic_folder,
    named_write,
    read_json,
    remove_temporaries,
    sha256_of,
    write_json,
)
from small_disk import DISK_BYTES


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "state.json"
    write_json(target, {"step": 1})
    with pytest.raises(RuntimeError), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("no space")
    assert read_json(target) == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "made") as folder:
        (folder / "one").write_text("1")
        raise RuntimeError("killed")
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(tmp_path / "made") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "one").write_text("1")
    assert (tmp_path / "made" / "sub" / "one").read_text() == "1"
    with pytest.raises(UsageError, match="exists already"), atomic_folder(tmp_path / "made"):
        pass


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    (tmp_path / f"{TEMPORARY_PREFIX}x-shard").write_text("half")
    (tmp_path / f"{TEMPORARY_PREFIX}y-step").mkdir()
    (tmp_path / "kept").write_text("whole")
    remove_temporaries(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_nan_is_not_written_as_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_damaged_json_names_the_file(tmp_path, content):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"broken\.json"):
        read_json(path)


def test_sha256_is_the_standard_one(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256_of(path).startswith(
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f200"
    )


def test_a_full_disk_leaves_the_old_file(tmp_path):
    """A file-size limit makes the write fail the way a full disk does: part-way through."""
    target = tmp_path / "state.json"
    write_json(target, {"step": 1})
    program = (
        "import pathlib, sys\nfrom proxylm.files import write_json\n"
        "write_json(pathlib.Path(sys.argv[1]), {'step': 'x' * 100_000})"
    )
    limit = 10_000
    result = subprocess.run(
        [sys.executable, "-B", "-c", program, str(target)],  # no cut-off compiled modules
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert read_json(target) == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def _write_arrow(path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink:
        sink.write(bytes(2 * DISK_BYTES))


WRITERS = {
    "text": lambda path: path.write_text("x" * 2 * DISK_BYTES),
    "numpy": lambda path: np.save(path.with_suffix(".npy"), np.zeros(2 * DISK_BYTES)),
    "arrow": _write_arrow,
    "safetensors": lambda path: save_file({"w": np.zeros(2 * DISK_BYTES)}, path),
    "tokenizers": lambda path: Tokenizer(
        WordLevel({f"token {number}": number for number in range(DISK_BYTES // 4)})
    ).save(str(path)),
    "copy": lambda path: shutil.copyfile(_safetensors_rust.__file__, path),
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_named_whichever_library_writes(small_disk, writer):
    """What each library raises on a disk that is really full, in a folder and in a file."""
    with pytest.raises(CannotWriteError) as error, atomic_folder(small_disk / "made") as folder:
        writer(folder / "one")
    # numpy alone counts bytes instead of saying why.
    assert error.value.reason.endswith(("No space left on device", "written"))
    assert str(error.value).startswith(f"{small_disk}/made: cannot be written (")
    assert "free some space" in str(error.value)
    with pytest.raises(CannotWriteError), atomic_file(small_disk / "one") as temporary:
        writer(temporary)
    assert [path.name for path in small_disk.iterdir() if path.suffix != ".npy"] == []


def test_a_file_inside_a_folder_is_named_where_it_would_have_been(small_disk):
    with pytest.raises(CannotWriteError) as error, atomic_folder(small_disk / "made") as folder:
        write_json(folder / "state.json", "x" * 2 * DISK_BYTES)
    assert str(error.value).startswith(f"{small_disk}/made/state.json: cannot be written (")


def test_errors_about_other_things_stay_as_they_are(tmp_path):
    target = tmp_path / "made"
    for error in (
        FileNotFoundError(errno.ENOENT, "No such file", str(tmp_path / "other")),
        CheckpointError("elsewhere (os error 28)"),
        CannotWriteError(tmp_path / "other", "full"),
        ValueError("(os error 2)"),
    ):
        with pytest.raises(type(error)) as raised, named_write(target):
            raise error
        assert raised.value is error


def test_an_error_of_a_worker_arrives_as_it_was():
    error = CannotWriteError(Path("a/b"), "No space left on device")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.path, copy.reason) == (str(error), error.path, error.reason)


def test_a_name_too_long_or_a_missing_folder_names_the_target(tmp_path):
    for target in (tmp_path / ("x" * 250), tmp_path / "missing" / "x"):
        with pytest.raises(CannotWriteError, match="cannot be written") as error:
            write_json(target, 1)
        assert error.value.path == target


def test_a_folder_that_cannot_be_made_names_the_target(tmp_path):
    (tmp_path / "file").write_text("no folder")
    target = tmp_path / "file" / "below" / "made"
    with pytest.raises(CannotWriteError, match="Not a directory") as error, atomic_folder(target):
        pass
    assert error.value.path == target


@pytest.mark.skipif(sys.platform == "darwin", reason="file names must be Unicode there")
def test_our_files_have_names_that_every_library_can_open(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    path.mkdir()
    for use in (read_json, lambda path: write_json(path, 1), lambda path: atomic_folder(path)):
        with pytest.raises(UsageError, match="this name is not UTF-8"):
            entered = use(path / "x")
            entered.__enter__()
    assert list(path.iterdir()) == []


def test_half_a_surrogate_pair_survives_in_json(tmp_path):
    write_json(tmp_path / "x.json", {"name": "caf\udce9 ☃"})
    assert read_json(tmp_path / "x.json") == {"name": "caf\udce9 ☃"}
    assert "☃" in (tmp_path / "x.json").read_text(encoding="utf-8")
