"""What a run was trained on, as far as its folder says and the data is still there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxylm.compressors.contract import Compressor
from proxylm.compressors.registry import load_compressor
from proxylm.training.checkpoint import CHECKPOINTS_FOLDER
from proxylm.training.run_folder import CONFIG_FILE, read_run_config
from proxylm.views.manifest import MANIFEST_NAME
from proxylm.views.store import ViewStore


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """The first source of a run: its view store, and the compressed view, if there is one."""

    store: Path
    view: str | None

    def compressor(self) -> Compressor | None:
        """The view's compressor, as the store has saved it."""
        if self.view is None:
            return None
        folder = ViewStore.open(self.store).view(self.view).compressor_folder
        return None if folder is None else load_compressor(folder)


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
    run = run_folder(path)
    if not (run / CONFIG_FILE).is_file():
        return None
    sources: Any = read_run_config(run).get("data")
    if not isinstance(sources, list) or not sources or not isinstance(sources[0], dict):
        return None
    store, view = sources[0].get("store"), sources[0].get("view")
    if not isinstance(store, str) or not (Path(store) / MANIFEST_NAME).is_file():
        return None
    return RunData(store=Path(store), view=view if isinstance(view, str) else None)
