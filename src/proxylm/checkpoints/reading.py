"""The one reader of models on disk: checkpoints, runs, and folders of other programs' layouts.

A run folder gives its newest checkpoint that verifies, a checkpoint folder itself, and a folder
that was published or exported its weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from proxylm.checkpoints.checkpoint import (
    CHECKPOINTS_FOLDER,
    MODEL_CONFIG,
    STATE,
    Checkpoint,
    copy_weights,
    newest_valid,
    open_checkpoint,
)
from proxylm.checkpoints.published_folder import CONFIG_FILE, load_folder
from proxylm.errors import CheckpointError, UsageError
from proxylm.models.language_model import LanguageModel

EXPECTED = (
    f"expected a run folder (with {CHECKPOINTS_FOLDER}/), a checkpoint (with {MODEL_CONFIG}) or a "
    f"published EvaByte or exported folder (with {CONFIG_FILE})"
)


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model with its weights on the CPU, and where it comes from.

    Attributes:
        module: the model, ready to train or to run.
        compressor_fingerprint: of the compressor it was trained with; None if that is unknown or
            there was none.
        checkpoint: the checkpoint it was read from; None for published and exported folders.
    """

    module: LanguageModel
    compressor_fingerprint: str | None
    checkpoint: Checkpoint | None


def load_module(folder: Path) -> LoadedModel:
    """The model of such a folder, to train, run or export.

    Raises:
        UsageError: there is no such folder, or nothing in it that can be loaded.
        CheckpointError: no checkpoint of a run can be loaded, or weights do not fit.
        DamagedFileError: a file in it is missing, truncated or altered; the message names it.
    """
    with _unreadable_as_checkpoint_error(folder):
        return _load_module(folder)


def _load_module(folder: Path) -> LoadedModel:
    if not folder.exists():
        raise UsageError(f"{folder}: no such folder; {EXPECTED}")
    if not folder.is_dir():
        raise UsageError(f"{folder}: is a file; {EXPECTED}")
    if (folder / MODEL_CONFIG).exists() or (folder / STATE).exists():
        return _from_checkpoint(open_checkpoint(folder))
    if (folder / CHECKPOINTS_FOLDER).is_dir():
        return _from_checkpoint(_newest(folder))
    if (folder / CONFIG_FILE).exists():
        module, facts = load_folder(folder)
        fingerprint = facts.compressor_fingerprint if facts else None
        return LoadedModel(module=module, compressor_fingerprint=fingerprint, checkpoint=None)
    raise UsageError(f"{folder}: nothing to load in it; {EXPECTED}")


def _from_checkpoint(checkpoint: Checkpoint) -> LoadedModel:
    with torch.device("meta"):  # nothing is drawn that the weights replace
        module = LanguageModel(checkpoint.model_config())
    module.to_empty(device="cpu")
    copy_weights(module, checkpoint)
    return LoadedModel(
        module=module,
        compressor_fingerprint=checkpoint.manifest.origin.compressor_fingerprint,
        checkpoint=checkpoint,
    )


def _newest(run: Path) -> Checkpoint:
    newest = newest_valid(run)
    if newest is None:
        raise CheckpointError(f"{run}: this run has no checkpoint yet; train it further first")
    return newest


@contextmanager
def _unreadable_as_checkpoint_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise CheckpointError(f"{where}: cannot be read ({error.strerror or error})") from None
