"""``proxylm.load``: from a folder to a model that reads and writes bytes.

A run folder gives its newest checkpoint that verifies, a checkpoint folder itself, and a folder
in the published EvaByte layout its weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proxylm.device import resolve_device
from proxylm.errors import CheckpointError, UsageError
from proxylm.inference.byte_model import ByteModel
from proxylm.interchange.evabyte_folder import CONFIG_FILE, load_published
from proxylm.models.language_model import LanguageModel
from proxylm.training.checkpoint import (
    CHECKPOINTS_FOLDER,
    MODEL_CONFIG,
    STATE,
    Checkpoint,
    copy_weights,
    newest_valid,
    open_checkpoint,
)

EXPECTED = (
    f"expected a run folder (with {CHECKPOINTS_FOLDER}/), a checkpoint (with {MODEL_CONFIG}) or a "
    f"published EvaByte folder (with {CONFIG_FILE})"
)


def load(path: str | os.PathLike[str], *, device: str = "cpu") -> ByteModel:
    """Load a model for inference.

    Args:
        path: a run folder, a checkpoint folder, or a published EvaByte folder.
        device: where it runs; ``auto`` takes the GPU if there is one.

    Returns:
        The model in evaluation mode.

    Raises:
        UsageError: there is no such folder, or nothing in it that can be loaded.
        CheckpointError: no checkpoint of a run can be loaded, or weights do not fit.
        DamagedFileError: a file in it is missing, truncated or altered; the message names it.
    """
    folder = Path(path)
    with _unreadable_as_checkpoint_error(folder):
        model, compressor_fingerprint = _load_language_model(folder)
    return ByteModel(
        model.to(resolve_device(device)), compressor_fingerprint=compressor_fingerprint
    )


def _load_language_model(folder: Path) -> tuple[LanguageModel, str | None]:
    """The model, and the fingerprint of the compressor it was trained with where that is known."""
    if not folder.exists():
        raise UsageError(f"{folder}: no such folder; {EXPECTED}")
    if not folder.is_dir():
        raise UsageError(f"{folder}: is a file; {EXPECTED}")
    if (folder / MODEL_CONFIG).exists() or (folder / STATE).exists():
        return _from_checkpoint(open_checkpoint(folder))
    if (folder / CHECKPOINTS_FOLDER).is_dir():
        return _from_checkpoint(_newest(folder))
    if (folder / CONFIG_FILE).exists():
        return load_published(folder), None
    raise UsageError(f"{folder}: nothing to load in it; {EXPECTED}")


def _from_checkpoint(checkpoint: Checkpoint) -> tuple[LanguageModel, str | None]:
    model = LanguageModel(checkpoint.model_config())
    copy_weights(model, checkpoint)
    return model, checkpoint.manifest.origin.compressor_fingerprint


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
