"""Compressors and corpora of one's own: they reach the workers, and their stores stay readable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_corpus import ByteCompressor, gzip_and_units, open_lines, write_json_lines

from proxylm.compressors.registry import load_compressor
from proxylm.compressors.units import UnitsCompressor, UnitsSettings
from proxylm.data.preparing import prepare
from proxylm.data.store.prepare import prepare_store
from proxylm.data.store.store import ViewStore
from proxylm.errors import UsageError

SCRIPT = """
import bz2, sys
import numpy as np
from proxylm.compressors.contract import CompressedView, Compressor
from proxylm.data.preparing import prepare
from proxylm.errors import ProxylmError

class Bzip2(Compressor):
    kind, reversible, symbol_count, settings = "bzip2", True, 256, {}
    def encode(self, documents):
        packed = [np.frombuffer(bz2.compress(one), np.uint8) for one in documents]
        return [CompressedView(symbols=one.astype(np.uint32)) for one in packed]

def work(compressor, out, workers):
    documents = [bytes([number]) * (1 << 20) for number in range(3)]
    try:
        prepare(documents, compressor, out, workers=workers)
    except ProxylmError as error:
        print(error)
"""
GUARD = 'if __name__ == "__main__":\n    '
OWN = 'work(Bzip2(), sys.argv[1] + "/own", 2)\n'
INSTALLED = 'work("gzip", sys.argv[1] + "/installed", 2)\n'


def run_script(folder: Path, last_lines: str, *, how: str = "file") -> str:
    script = folder / "script.py"
    script.write_text(SCRIPT + last_lines)
    program = [script] if how == "file" else ["-c", script.read_text()]
    command = [sys.executable, *program, folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_a_compressor_of_an_imported_module_reaches_the_workers(tmp_path):
    lines = write_json_lines(tmp_path / "lines.jsonl")
    compressors = {"own": ByteCompressor(refused=b"none has this"), **gzip_and_units()}
    for workers in (1, 2):
        prepare_store(open_lines(lines), compressors, tmp_path / str(workers), workers=workers)
    one, two = [sorted((tmp_path / name).glob("*.*")) for name in ("1", "2")]
    assert [path.name for path in one] == [path.name for path in two]
    assert len(one) > 20
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_a_compressor_of_the_script_reaches_the_workers(tmp_path):
    assert run_script(tmp_path, GUARD + OWN) == ""
    store = ViewStore.open(tmp_path / "own", verify=True)
    assert (store.document_count, len(store.manifest.shards)) == (3, 3)
    assert store.view("bzip2").symbol_lengths.min() > 0


def test_a_script_needs_a_guard_only_where_workers_need_what_it_defines(tmp_path):
    said = run_script(tmp_path, INSTALLED + OWN)
    assert ViewStore.open(tmp_path / "installed").document_count == 3
    assert said.count("\n") == 1
    assert "put its work under 'if __name__ == \"__main__\":', or use 1 worker" in said


def test_a_compressor_of_a_session_is_refused_in_one_line(tmp_path):
    said = run_script(tmp_path, OWN, how="session")
    assert "(Bzip2 is defined in this session); define its class at the top level" in said
    assert said.count("\n") == 1


def test_what_cannot_be_pickled_is_refused_before_any_work(tmp_path):
    class Local(ByteCompressor):
        kind = "local"

    corpus = open_lines(write_json_lines(tmp_path / "lines.jsonl"))
    with pytest.raises(UsageError, match=r"cannot be handed to workers \(.*Local.*\); define"):
        prepare_store(corpus, {"local": Local()}, tmp_path / "s", workers=2)
    assert [path.name for path in (tmp_path / "s").iterdir()] == [".lock"]
    assert (
        prepare_store(corpus, {"local": Local()}, tmp_path / "s", workers=1).views["local"].symbols
    )


def test_a_store_outlives_what_made_it(tmp_path):
    """It opens and is read; only its symbols' bytes need the compressor."""
    store = prepare([b"abc", b"de"], ByteCompressor(), tmp_path / "s", held_out_fraction=0.0)
    view = ViewStore.open(tmp_path / "s", verify=True).view("bytes-in-test")
    assert view.symbols(1).tolist() == list(b"de")
    message = "compressors/bytes-in-test: compressor 'bytes-in-test' is not installed; there are: "
    with pytest.raises(UsageError, match=message):
        load_compressor(view.compressor_folder)
    added = prepare(None, {"gz": "gzip"}, tmp_path / "s")
    assert added.view_names == ["bytes-in-test", "gz"]
    assert added.document_count == store.document_count == 2


class ShiftedUnits(UnitsCompressor):
    """Says that it is units of 8 bits, and is not."""

    def _encode_one(self, raw):
        view = super()._encode_one(raw)
        np.add(view.symbols, 1, out=view.symbols)
        return view


def test_a_class_needs_a_kind_of_its_own(tmp_path):
    shifted = ShiftedUnits(UnitsSettings())
    with pytest.raises(UsageError, match=r"compressor 'units' is proxylm.*ShiftedUnits; give that"):
        prepare([b"x"], shifted, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_settings_that_no_file_can_hold_are_named():
    class Odd(ByteCompressor):
        @property
        def settings(self):
            return {"table": np.arange(3)}

    with pytest.raises(UsageError, match="bytes-in-test: its settings are no plain JSON values"):
        prepare([b"x"], Odd())
