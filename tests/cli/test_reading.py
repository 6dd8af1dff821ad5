"""How a model is read: what ``--read-as`` and ``--compressor`` name together."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from proxylm.cli.reading import read_by
from proxylm.compressors.registry import load_compressor
from proxylm.errors import UsageError
from proxylm.generation.byte_model import ByteModel
from proxylm.scoring.read_as import ReadAs
from proxylm.scoring.readings import CompressedReading, MixedReading, RawReading
from small_models import small_model
from units_store import write_units_store

UNITS = "units:bits=8"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder whose training data has the views units and lossy."""
    store = write_units_store(tmp_path / "store")
    config = {"data": [{"store": str(store.folder), "view": "units"}]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def test_bytes_need_no_compressor_and_tokens_find_theirs(run: Path) -> None:
    model = ByteModel(small_model(), compressor_fingerprint=load_compressor(UNITS).fingerprint)
    assert isinstance(read_by(model, run, ReadAs()), RawReading)
    for read_as, given in (("tokens", None), ("tokens", UNITS), ("units", None)):
        found = read_by(model, run, ReadAs(read_as=read_as, compressor=given))
        assert isinstance(found, CompressedReading)
        assert found.compressor.fingerprint == model.compressor_fingerprint


@pytest.mark.parametrize(
    ("read_as", "given", "message"),
    [
        ("words", None, "--read-as words: must be bytes, tokens or mixed, or a view of .*units"),
        ("units", UNITS, "--read-as units names a compressor, and so does --compressor"),
        ("bytes", UNITS, "--compressor goes with --read-as tokens"),
        ("tokens", "units:bits=16", "has room for 256"),
        ("tokens", UNITS, "was trained with compressor 0000"),
    ],
)
def test_what_cannot_be_read_so_is_named(
    run: Path, read_as: str, given: str | None, message: str
) -> None:
    model = ByteModel(small_model(), compressor_fingerprint="0" * 32)
    with pytest.raises(UsageError, match=message):
        read_by(model, run, ReadAs(read_as=read_as, compressor=given))


@pytest.mark.parametrize(
    ("read_as", "message"),
    [("tokens", "needs the model's compressor: give --compressor"), ("units", "not at hand")],
)
def test_without_training_data_there_are_no_views(
    tmp_path: Path, read_as: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        read_by(ByteModel(small_model()), tmp_path, ReadAs(read_as=read_as))


@pytest.mark.parametrize(
    ("mixing", "is_warned"),
    [
        ({"granularity": {"kind": "piece"}}, False),
        ({"granularity": {"kind": "document"}}, True),
        ({}, True),
        (None, True),
    ],
)
def test_mixed_reading_warns_where_no_document_was_cut_into_pieces(
    run: Path, capsys: pytest.CaptureFixture[str], mixing: object, is_warned: bool
) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"mixing": mixing}))
    model = ByteModel(small_model(), compressor_fingerprint=load_compressor(UNITS).fingerprint)
    for given in (None, UNITS):
        found = read_by(model, run, ReadAs(read_as="mixed", compressor=given))
        assert isinstance(found, MixedReading)
        assert ("were not cut into pieces" in capsys.readouterr().err) == is_warned


def test_nothing_is_said_of_a_model_whose_training_is_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read_by(ByteModel(small_model()), tmp_path, ReadAs(read_as="mixed", compressor=UNITS))
    assert capsys.readouterr().err == ""
