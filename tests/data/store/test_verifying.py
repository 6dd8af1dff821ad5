"""Verification in shares and with stamps: what changed is found, and nothing is read twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from small_store import write_small_store

from proxylm.cli.main import run
from proxylm.data.store import store as store_module
from proxylm.data.store import verifying
from proxylm.data.store.store import ViewStore
from proxylm.data.store.verifying import verify_store
from proxylm.errors import DamagedFileError, DataError, UsageError


@pytest.fixture
def hashed(monkeypatch) -> list[str]:
    """Names of the files whose content is read from now on."""
    names: list[str] = []
    check = verifying.check_content

    def noted(folder, file):
        names.append(file.name)
        check(folder, file)

    monkeypatch.setattr(verifying, "check_content", noted)
    return names


def flip_a_bit(path: Path, *, keep_time: bool = False) -> None:
    """In the last bytes of a file's values: the length of what follows them stands at its end."""
    before, content = path.stat(), bytearray(path.read_bytes())
    place = len(content) - 10 - int.from_bytes(content[-10:-6], "little") - 9
    content[place] ^= 4
    path.write_bytes(content)
    times = (before.st_atime_ns, before.st_mtime_ns + (0 if keep_time else 10**9))
    os.utime(path, ns=times)


@pytest.mark.parametrize("world", [1, 2, 4, 20])
def test_the_shares_of_all_ranks_are_the_whole(small_store, hashed, world):
    store = ViewStore.open(small_store)
    files = {file.name: file.num_bytes for file in store.manifest.files()}
    shares = [verify_store(store, rank=rank, world=world) for rank in range(world)]
    assert sorted(hashed) == sorted(files)
    assert sum(share.files for share in shares) == len(files) == 9
    assert sum(share.num_bytes for share in shares) == sum(files.values())
    assert max(share.files for share in shares) - min(share.files for share in shares) <= 1


@pytest.mark.parametrize("name", ["raw-00000", "pairs-00002", "wide-00000"])
def test_each_flipped_bit_is_named_by_the_rank_of_its_file(small_store, name):
    flip_a_bit(small_store / f"{name}.arrow")
    store = ViewStore.open(small_store)
    raised = 0
    for rank in range(3):
        try:
            verify_store(store, rank=rank, world=3)
        except DamagedFileError as error:
            raised += 1
            assert f"{name}.arrow: its content is not what was written" in str(error)
    assert raised == 1


def test_after_a_restart_only_what_has_no_stamp_is_read(small_store, tmp_path, hashed):
    store, stamps = ViewStore.open(small_store), tmp_path / "run" / "stamps"
    for rank in range(2):
        assert verify_store(store, rank=rank, world=2, stamps=stamps).stamped_files == 0
    assert len(hashed) == 9
    hashed.clear()
    for world in (1, 2, 3):  # in whatever world it goes on
        shares = [verify_store(store, rank=r, world=world, stamps=stamps) for r in range(world)]
        assert sum(share.stamped_files for share in shares) == 9
    assert hashed == []
    (small_store / "raw-00002.arrow").touch()
    assert verify_store(store, stamps=stamps).stamped_files == 8
    assert hashed == ["raw-00002.arrow"]
    assert verify_store(store, stamps=stamps).stamped_files == 9


def test_stamps_of_another_number_of_ranks_stay(small_store, tmp_path, hashed):
    store, stamps = ViewStore.open(small_store), tmp_path / "stamps"
    verify_store(store, stamps=stamps)
    (small_store / "raw-00000.arrow").touch()
    hashed.clear()
    for rank in range(2):
        verify_store(store, rank=rank, world=2, stamps=stamps)
    assert hashed == ["raw-00000.arrow"]


def test_a_file_that_changed_since_its_stamp_is_found(small_store, tmp_path, hashed):
    stamps = tmp_path / "stamps"
    verify_store(ViewStore.open(small_store), stamps=stamps)
    flip_a_bit(small_store / "wide-00002.arrow")
    with pytest.raises(DamagedFileError, match=r"wide-00002\.arrow"):
        verify_store(ViewStore.open(small_store), stamps=stamps)
    with pytest.raises(DamagedFileError, match=r"wide-00002\.arrow"):  # it got no stamp by that
        verify_store(ViewStore.open(small_store), stamps=stamps)


def test_stamps_of_another_store_say_nothing(tmp_path, hashed):
    stamps = tmp_path / "stamps"
    write_small_store(tmp_path / "a")
    verify_store(ViewStore.open(tmp_path / "a"), stamps=stamps)
    hashed.clear()
    # Files of one name, length and time; only what the manifest says of them differs.
    write_small_store(tmp_path / "b", corpus="d" * 32)
    for path in (tmp_path / "a").glob("*.arrow"):
        times = path.stat().st_mtime_ns
        os.utime(tmp_path / "b" / path.name, ns=(times, times))
    assert verify_store(ViewStore.open(tmp_path / "b"), stamps=stamps).stamped_files == 0
    assert len(hashed) == 9


@pytest.mark.parametrize("text", ["", "[1]", '{"a": 1}', "[[1, 2]]", "null"])
def test_stamps_that_cannot_be_read_cost_a_further_look(small_store, tmp_path, hashed, text):
    (tmp_path / "damaged.json").write_text(text)
    assert verify_store(ViewStore.open(small_store), stamps=tmp_path).stamped_files == 0
    assert len(hashed) == 9


def test_stamps_that_are_a_file_are_refused_before_anything_is_read(small_store, tmp_path, hashed):
    (tmp_path / "stamps").write_text("no folder")
    with pytest.raises(UsageError, match="stamps are kept in a folder"):
        verify_store(ViewStore.open(small_store), stamps=tmp_path / "stamps")
    assert hashed == []


def test_the_command_verifies_the_whole(small_store, tmp_path, capsys):
    assert run(["views", "verify", str(small_store), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["files"], result["stamped_files"]) == (9, 0)
    stamps = str(tmp_path / "stamps")
    for expected in (0, 9):
        assert run(["views", "verify", str(small_store), "--stamps", stamps]) == 0
        assert f"({expected} by their stamps)" in capsys.readouterr().out
    flip_a_bit(small_store / "pairs-00000.arrow", keep_time=True)
    assert run(["views", "verify", str(small_store), "--stamps", stamps]) == 0  # as make does
    capsys.readouterr()
    assert run(["views", "verify", str(small_store)]) == 1
    assert "pairs-00000.arrow: its content is not what was written" in capsys.readouterr().err


def test_an_open_store_is_not_mapped_again(small_store):
    store = ViewStore.open(small_store)
    assert ViewStore.open(small_store, verify=True) is store
    maps = Path("/proc/self/maps").read_text().count(str(small_store))
    assert maps == 9
    (small_store / "raw-00000.arrow").touch()
    again = ViewStore.open(small_store)
    assert again is not store
    del store, again
    assert not [key for key, one in store_module._OPENED.items() if one.folder == small_store]


def test_maps_that_run_out_are_no_damage(small_store, monkeypatch):
    def no_more(path):
        raise OSError("Memory mapping file failed: Cannot allocate memory")

    monkeypatch.setattr(pa, "memory_map", no_more)
    with pytest.raises(DataError, match=r"vm\.max_map_count.*--part-bytes") as error:
        ViewStore.open(small_store)
    assert not isinstance(error.value, DamagedFileError)


_USE_UP_THE_MAPS = """
import mmap, sys
from pathlib import Path
from proxylm.data.store.store import ViewStore
ViewStore.open(Path(sys.argv[1]))  # once, so that all libraries are there
held = []
try:
    while True:  # neighbours of two kinds, which the system cannot join
        held += [mmap.mmap(-1, 4096, prot=1 + 2 * (len(held) % 2), flags=mmap.MAP_PRIVATE)]
except OSError:
    del held[-6:]
try:
    ViewStore.open(Path(sys.argv[1]))
except BaseException as error:
    held.clear()
    print(error)
"""


@pytest.mark.long
def test_the_system_itself_says_that_maps_have_run_out(small_store):
    command = [sys.executable, "-c", _USE_UP_THE_MAPS, str(small_store)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "vm.max_map_count" in done.stdout, done
