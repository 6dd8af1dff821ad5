"""The one reader of models on disk: saved models, checkpoints, runs, other programs' layouts.

A run folder gives its newest checkpoint that verifies; a checkpoint, a saved model and a folder
that was published or exported give themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from proxylm.checkpoints.checkpoint import (
    CHECKPOINTS_FOLDER,
    MODEL_CONFIG,
    STATE,
    Checkpoint,
    Origin,
    newest_valid,
    open_checkpoint,
    open_saved_model,
)
from proxylm.checkpoints.published_folder import CONFIG_FILE, load_folder
from proxylm.errors import CheckpointError, UsageError
from proxylm.models.language_model import LanguageModel

EXPECTED = (
    f"expected a run folder (with {CHECKPOINTS_FOLDER}/), a checkpoint or a saved model (with "
    f"{MODEL_CONFIG}) or a published EvaByte or exported folder (with {CONFIG_FILE})"
)


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model with its weights on the CPU, and where it comes from.

    Attributes:
        module: the model, ready to train or to run.
        origin: what is known of its training.
        checkpoint: the checkpoint of a run that it was read from; None for all other folders.
    """

    module: LanguageModel
    origin: Origin
    checkpoint: Checkpoint | None = None

    @property
    def compressor_fingerprint(self) -> str | None:
        """Of the compressor it was trained with; None if unknown, or if there was none."""
        return self.origin.compressor_fingerprint


@runtime_checkable
class TrainedModel(Protocol):
    """A model of ours, and what is known of its training: a ``LoadedModel``, a ``ByteModel``."""

    @property
    def module(self) -> LanguageModel:
        """The model."""

    @property
    def compressor_fingerprint(self) -> str | None:
        """Of the compressor it was trained with; None if unknown, or if there was none."""


def require_compressor(model: TrainedModel, symbol_count: int, fingerprint: str) -> None:
    """Refuse a compressor, of so many symbols, that the model cannot know.

    Raises:
        UsageError: the vocabulary has no room for it, or the model was trained with another one
            (both are shown).
    """
    config = model.module.config
    config.require_compressed_symbols()
    room = config.compressed_symbol_count
    if symbol_count > room:
        raise UsageError(
            f"this compressor has {symbol_count} symbols and the model has room for {room}; "
            "use the compressor that the model was trained with"
        )
    trained_on = model.compressor_fingerprint
    if trained_on is not None and trained_on != fingerprint:
        raise UsageError(
            f"the model was trained with compressor {trained_on} and this one is "
            f"{fingerprint}; use the one it was trained with"
        )


def load_module(folder: Path) -> LoadedModel:
    """The model of such a folder, to train, run or export.

    Raises:
        UsageError: there is no such folder, or nothing in it that can be loaded.
        CheckpointError: no checkpoint of a run can be loaded, or weights do not fit.
        DamagedFileError: a file in it is missing, truncated or altered; the message names it.
    """
    try:
        return _load_module(folder)
    except OSError as error:
        where = error.filename or folder
        raise CheckpointError(f"{where}: cannot be read ({error.strerror or error})") from None


def _load_module(folder: Path) -> LoadedModel:
    if not folder.exists():
        raise UsageError(f"{folder}: no such folder; {EXPECTED}")
    if not folder.is_dir():
        raise UsageError(f"{folder}: is a file; {EXPECTED}")
    if (folder / STATE).exists():
        return _from_checkpoint(open_checkpoint(folder))
    if (folder / MODEL_CONFIG).exists():
        saved = open_saved_model(folder)
        return LoadedModel(module=saved.model(), origin=saved.manifest.origin)
    if (folder / CHECKPOINTS_FOLDER).is_dir():
        return _from_checkpoint(_newest(folder))
    if (folder / CONFIG_FILE).exists():
        module, facts = load_folder(folder)
        fingerprint = facts.compressor_fingerprint if facts else None
        return LoadedModel(module=module, origin=Origin(compressor_fingerprint=fingerprint))
    raise UsageError(f"{folder}: nothing to load in it; {EXPECTED}")


def _from_checkpoint(checkpoint: Checkpoint) -> LoadedModel:
    origin = checkpoint.manifest.origin
    return LoadedModel(module=checkpoint.model(), origin=origin, checkpoint=checkpoint)


def _newest(run: Path) -> Checkpoint:
    newest = newest_valid(run)
    if newest is None:
        raise CheckpointError(f"{run}: this run has no checkpoint yet; train it further first")
    return newest
