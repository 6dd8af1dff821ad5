from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from proxylm.errors import DamagedFileError, UsageError
from proxylm.files import (
    TEMPORARY_PREFIX,
    atomic_file,
    atomic_folder,
    read_json,
    remove_temporaries,
    sha256_of,
    write_json,
)


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
