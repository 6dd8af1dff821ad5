"""Saving, loading, and kinds that other distributions bring."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from compressor_cases import ODD_DOCUMENTS

import proxylm
from proxylm.compressors.registry import (
    compressor_class,
    load_compressor,
    registered_kinds,
    save_compressor,
)
from proxylm.errors import DamagedFileError, UsageError

FOREIGN_MODULE = """
import numpy as np
from proxylm.compressors.contract import CompressedView, Compressor

class Reversed(Compressor):
    kind = "reversed"
    reversible = True
    symbol_count = 256
    settings = {}

    @classmethod
    def from_settings(cls, settings):
        made = cls()
        made.settings = settings
        return made

    def encode(self, documents):
        return [
            CompressedView(symbols=np.frombuffer(raw[::-1], dtype=np.uint8).astype(np.uint32))
            for raw in documents
        ]

not_a_compressor = 3
"""


@pytest.fixture
def foreign_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution, as its files look on the path."""
    (tmp_path / "foreign_module.py").write_text(FOREIGN_MODULE)
    information = tmp_path / "foreign-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[proxylm.compressors]\n"
        "reversed = foreign_module:Reversed\n"
        "missing = foreign_module:Missing\n"
        "absent = absent_module:Absent\n"
        "number = foreign_module:not_a_compressor\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "foreign_module", raising=False)


def test_our_kinds_are_registered():
    assert set(registered_kinds()) >= {"tokenizer", "token-bytes", "gzip", "units"}
    for kind in ("tokenizer", "token-bytes", "gzip", "units"):
        assert compressor_class(kind).kind == kind


def test_another_distribution_adds_a_kind(foreign_package, tmp_path):
    assert "reversed" in registered_kinds()
    compressor = proxylm.load_compressor("reversed")
    assert compressor.compress([b"abc"])[0].tolist() == [99, 98, 97]
    save_compressor(compressor, tmp_path / "saved")
    assert load_compressor(tmp_path / "saved").fingerprint == compressor.fingerprint


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("reversed", {}),
        ("reversed:", {}),
        ("reversed:level=3,", {"level": 3}),
        ("reversed:file=lists/a,b.bin,level=3", {"file": "lists/a,b.bin", "level": 3}),
        ("reversed:words=[1,2],file=x:y=z", {"words": [1, 2], "file": "x:y=z"}),
    ],
)
def test_settings_end_where_the_next_begins(foreign_package, name, settings):
    assert load_compressor(name).settings == settings


@pytest.mark.parametrize("name", ["units:bits=4", "lr=0.1", "a,b", "gzip:level=3,x=1"])
def test_what_exists_is_a_path_whatever_it_looks_like(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    save_compressor(load_compressor("units:bits=1"), Path(name))
    assert load_compressor(name).symbol_count == 2


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
def test_what_can_be_no_path_is_an_unknown_name(name):
    with pytest.raises(UsageError, match="no such folder or file"):
        load_compressor(name)


@pytest.mark.parametrize("kind", ["missing", "absent", "number"])
def test_a_kind_that_is_no_compressor_is_one_line(foreign_package, kind):
    with pytest.raises(UsageError, match=f"compressor '{kind}'"):
        compressor_class(kind)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"no such folder or file.*gzip.*units"):
        load_compressor("gzipp")
    with pytest.raises(UsageError, match=r"^compressor 'lzma' is not installed; there are: gzip"):
        compressor_class("lzma")


@pytest.mark.parametrize("value", ["4", "4.0", "0x4", "04", "4e0"])
def test_settings_follow_the_rules_of_configuration(value: str):
    assert load_compressor(f"units:bits={value}").settings == {"bits": 4}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("units:bits=4,bits=8", "'bits' is given twice"),
        ("units:bits=true", r"bits: Input should be a valid integer \(given: True\)"),
        ("gzip:level=true", r"level: Input should be a valid integer \(given: True\)"),
        ("gzip:level='3'", r"level: Input should be a valid integer \(given: '3'\)"),
        ("gzip:level=[3", r"'level=\[3': line 1, column 3: '0': expected ',' or '\]'"),
        ("gzip:level", r"'level' is not key=value"),
    ],
)
def test_settings_that_are_mistaken_are_one_line(name: str, message: str):
    with pytest.raises(UsageError, match=message) as caught:
        load_compressor(name)
    assert "\n" not in str(caught.value)


def test_a_kind_with_files_needs_its_folder(tmp_path):
    with pytest.raises(UsageError, match="tokenizer: has no ready-made form"):
        load_compressor("tokenizer")
    with pytest.raises(UsageError, match="has neither"):
        load_compressor(tmp_path)


@pytest.mark.parametrize("name", ["gzip:level=3", "units:bits=4", "bpe"])
def test_saved_compressors_come_back_the_same(tmp_path, trained, name):
    compressor = trained[name] if name == "bpe" else load_compressor(name)
    save_compressor(compressor, tmp_path / "saved")
    loaded = load_compressor(str(tmp_path / "saved"))
    assert loaded.describe() == compressor.describe()
    for one, other in zip(
        loaded.compress(ODD_DOCUMENTS), compressor.compress(ODD_DOCUMENTS), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(UsageError, match="exists already"):
        save_compressor(compressor, tmp_path / "saved")


def test_an_altered_file_is_noticed_and_both_fingerprints_shown(tmp_path, trained):
    folder = tmp_path / "saved"
    save_compressor(trained["bpe"], folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    merges = tokenizer["model"]["merges"]
    merges[-1], merges[-2] = merges[-2], merges[-1]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(DamagedFileError, match=trained["bpe"].fingerprint) as error:
        load_compressor(folder)
    assert str(error.value).count("fingerprint") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format 99"),
        ({"fingerprint": None}, "says None"),
        ({"kind": "other"}, ": compressor 'other' is not installed"),
        ({"settings": {"bits": 5}}, "bits"),
        ({"kind": ["units"]}, "not a name"),
        ({"symbol_count": 16}, "says K is 16, its compressor has 256"),
    ],
)
def test_an_altered_description_is_noticed(tmp_path, change, message):
    save_compressor(load_compressor("units"), tmp_path / "saved")
    path = tmp_path / "saved" / "compressor.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(proxylm.errors.ProxylmError, match=message):
        load_compressor(tmp_path / "saved")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kind": "units"}'])
def test_a_broken_description_names_the_file(tmp_path, content):
    (tmp_path / "compressor.json").write_text(content)
    with pytest.raises(DamagedFileError, match=r"compressor\.json"):
        load_compressor(tmp_path)


def test_a_tokenizer_file_loads_by_path_or_folder(tmp_path, trained):
    trained["bpe"].save_files(tmp_path)
    by_folder = load_compressor(tmp_path)
    by_file = load_compressor(tmp_path / "tokenizer.json")
    assert by_folder.fingerprint == by_file.fingerprint == trained["bpe"].fingerprint


@pytest.mark.parametrize("content", [b"", b"{}", b'{"model": {}}', b"\xff", b'{"model": 3}'])
def test_what_is_no_tokenizer_is_named(tmp_path, content):
    path = tmp_path / "odd.json"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"odd\.json"):
        load_compressor(path)
