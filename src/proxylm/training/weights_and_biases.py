"""Weights & Biases, where it is asked for: the extra ``wandb``.

What the service and its environment variables are is its own matter: with ``WANDB_MODE=offline``
nothing leaves the machine, and ``wandb sync`` sends it later.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxylm.config import plain_config
from proxylm.errors import needing_extra
from proxylm.fingerprint import fingerprint_of
from proxylm.training.callbacks import Callback, Record
from proxylm.training.metrics import numbers_of

if TYPE_CHECKING:
    from proxylm.training.training_run import TrainingRun


class WeightsAndBiases(Callback):
    """Sends the numbers of a run's records.

    A run that goes on is the same one there, by its folder; steps that it makes again are those
    of before.

    Args:
        project: what the run belongs to.

    Raises:
        UsageError: the extra is not installed.
    """

    def __init__(self, project: str) -> None:
        with needing_extra("Weights & Biases", "wandb"):
            import wandb
        self._wandb, self._project = wandb, project

    def on_start(self, run: TrainingRun) -> None:
        """Begin the run, or take it up again; of several ranks the first one speaks for all."""
        self._run = None
        if not run.ranks.is_first:
            return
        folder = None if run.folder is None else run.folder.absolute()
        self._run = self._wandb.init(
            project=self._project,
            config=plain_config(run.inputs.recorded),
            **({} if folder is None else self._of_folder(folder)),
        )

    def _of_folder(self, folder: Path) -> dict[str, Any]:
        known = {"id": fingerprint_of(self._project, str(folder))[:16], "resume": "allow"}
        return known | {"name": folder.name, "dir": str(folder)}

    def on_step(self, run: TrainingRun, record: Record) -> None:
        """Send the numbers of one step."""
        if self._run is not None:
            self._run.log(numbers_of(record), step=record["step"])

    def on_end(self, run: TrainingRun) -> None:
        """Wait until all of it is sent, or written where it is offline."""
        if self._run is not None:
            self._run.finish()
