"""What a run's folder says of its data, and what is said where it is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from proxylm.checkpoints.checkpoint import CHECKPOINTS_FOLDER
from proxylm.checkpoints.run_data import RunData, run_data, run_folder
from proxylm.errors import DamagedFileError
from small_models import save_small_run
from units_store import units, write_units_store


@pytest.fixture
def run(tmp_path: Path) -> Path:
    save_small_run(tmp_path / "run")
    write_units_store(tmp_path / "store")
    return tmp_path / "run"


def configure(run: Path, *sources: object) -> None:
    (run / "config.yaml").write_text(yaml.safe_dump({"data": list(sources)}))


def test_the_store_the_view_and_its_compressor(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = run.parent / "store"
    configure(run, {"store": str(store), "view": "units"}, {"store": "elsewhere"})
    data = run_data(run)
    assert data == RunData(view="units", stores=(store, Path("elsewhere")))
    found = data.compressor()
    assert found is not None and found.fingerprint == units(8).fingerprint
    [checkpoint] = (run / CHECKPOINTS_FOLDER).iterdir()
    assert run_data(checkpoint) == data
    assert run_folder(checkpoint) == run
    monkeypatch.chdir(checkpoint)
    assert run_folder(Path()) == run


def test_a_run_on_bytes_has_no_compressor(run: Path) -> None:
    configure(run, {"store": str(run.parent / "store")})
    data = run_data(run)
    assert data is not None and data.view is None
    assert data.compressor() is None


def test_a_relative_store_is_looked_for_from_here(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(run, {"store": "store", "view": "units"})
    monkeypatch.chdir(run.parent)
    assert run_data(run) == RunData(view="units", stores=(Path("store"),))
    monkeypatch.chdir(run)
    assert run_data(run) is None


def test_what_is_unknown_is_none(run: Path, tmp_path: Path) -> None:
    assert run_data(run) is None  # no configuration
    assert run_data(tmp_path / "nowhere") is None
    for sources in ([], [3], [{"view": "units"}], [{"store": str(tmp_path / "gone")}]):
        configure(run, *sources)
        assert run_data(run) is None
    (run / "config.yaml").write_text("data: [\n")
    with pytest.raises(DamagedFileError, match=r"config\.yaml"):
        run_data(run)
