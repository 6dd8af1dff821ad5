"""What a run was trained on, as far as its folder says and the data is still there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxylm.checkpoints.checkpoint import CHECKPOINTS_FOLDER
from proxylm.compressors.contract import Compressor
from proxylm.compressors.registry import load_compressor
from proxylm.data.mixture import PieceGranularity
from proxylm.data.sources import data_fingerprint
from proxylm.data.store.manifest import MANIFEST_NAME
from proxylm.data.store.store import ViewStore
from proxylm.errors import DamagedFileError, DataNotAtHandError, UsageError
from proxylm.yaml_text import read_yaml

CONFIG_FILE = "config.yaml"
"""A run's configuration, in its folder."""

COMPRESSOR_FOLDER = "compressor"
"""What a saved model brings its compressor in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """The first source of a run: its view store, and the compressed view, if there is one.

    Attributes:
        stores: the view stores of all sources, in order.
        view: the compressed view of the first; None where it was trained on bytes alone.
    """

    stores: tuple[Path, ...]
    view: str | None

    @property
    def store(self) -> Path:
        """The first source's."""
        return self.stores[0]

    def require_same(self, trained_on: str | None) -> None:
        """Refuse data that has changed since the training: its split may be another one.

        Args:
            trained_on: the model's ``data_fingerprint``; None, which nothing is known of, passes.

        Raises:
            DataNotAtHandError: the stores are not those of the training, or not there any more.
        """
        for path in self.stores:
            if not (path / MANIFEST_NAME).is_file():
                raise DataNotAtHandError(f"{path}: the training's view store is not there any more")
        now = data_fingerprint(ViewStore.open(path) for path in self.stores)
        if trained_on is not None and trained_on != now:
            raise DataNotAtHandError(
                f"{self.store}: has changed since the training ({trained_on} → {now}), so what it "
                "holds out may have been trained on"
            )

    def compressor(self) -> Compressor | None:
        """The view's compressor, as the store has saved it."""
        if self.view is None:
            return None
        folder = ViewStore.open(self.store).view(self.view).compressor_folder
        return None if folder is None else load_compressor(folder)


def read_run_config(run: Path) -> dict[str, Any]:
    """The plain values of a run's ``config.yaml``.

    Raises:
        DamagedFileError: it cannot be read as YAML keys and values.
    """
    path = run / CONFIG_FILE
    try:
        values = read_yaml(path)
    except UsageError as error:
        raise DamagedFileError(str(error)) from None
    if not isinstance(values, dict):
        raise DamagedFileError(f"{path}: holds no configuration")
    return values


def run_folder(path: Path) -> Path:
    """The run that ``path`` is, or is a checkpoint of; any other folder is itself."""
    whole = path.resolve()
    return whole.parents[1] if whole.parent.name == CHECKPOINTS_FOLDER else path


def run_data(path: Path) -> RunData | None:
    """The data of the run that ``path`` is, or is a checkpoint of; None where that is unknown.

    A store that is named by a relative path is looked for from the current folder, as in training.

    Raises:
        DamagedFileError: the run's configuration cannot be read.
    """
    config = run_config_of(path)
    sources = None if config is None else config.get("data")
    if not isinstance(sources, list) or not sources:
        return None
    names = [one.get("store") if isinstance(one, dict) else None for one in sources]
    stores = tuple(Path(name) for name in names if isinstance(name, str))
    if len(stores) < len(names) or not (stores[0] / MANIFEST_NAME).is_file():
        return None
    view = sources[0].get("view")
    return RunData(stores=stores, view=view if isinstance(view, str) else None)


def shows_pieces(path: Path) -> bool | None:
    """Whether a run's documents are cut into pieces in both forms; None where that is unknown.

    Raises:
        DamagedFileError: the run's configuration cannot be read.
    """
    config = run_config_of(path)
    if config is None:
        return None
    mixing = config.get("mixing")
    granularity = mixing.get("granularity") if isinstance(mixing, dict) else None
    return isinstance(granularity, dict) and granularity.get("kind") == PieceGranularity().kind


def run_config_of(path: Path) -> dict[str, Any] | None:
    """The configuration of the run that ``path`` is, or is a checkpoint of; None without one."""
    run = run_folder(path)
    return read_run_config(run) if (run / CONFIG_FILE).is_file() else None


def compressor_of(path: Path) -> Compressor | None:
    """The compressor that a saved model brings along, or of the run's data; None without either.

    Raises:
        DamagedFileError: the run's configuration or the compressor cannot be read.
    """
    if (path / COMPRESSOR_FOLDER).is_dir():
        return load_compressor(path / COMPRESSOR_FOLDER)
    data = run_data(path)
    return None if data is None else data.compressor()
