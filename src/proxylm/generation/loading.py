"""``proxylm.load``: from a folder to a model that reads and writes bytes."""

from __future__ import annotations

import os
from pathlib import Path

from proxylm.checkpoints.reading import load_module
from proxylm.device import resolve_device
from proxylm.generation.byte_model import ByteModel


def load(path: str | os.PathLike[str], *, device: str = "cpu") -> ByteModel:
    """Load a model for inference.

    >>> import tempfile
    >>> from proxylm.checkpoints.saving import save
    >>> from proxylm.models.language_model import LanguageModel
    >>> from proxylm.models.presets import preset
    >>> with tempfile.TemporaryDirectory() as place:
    ...     save(LanguageModel(preset("demo")), f"{place}/mine")
    ...     model = load(f"{place}/mine")
    >>> len(model.generate(b"bytes in, ", max_new_bytes=8)) <= 8
    True

    Args:
        path: a folder that ``proxylm.save`` wrote, a run folder, a checkpoint folder, a published
            EvaByte folder, or one that ``proxylm export`` wrote.
        device: where it runs; ``auto`` takes the GPU if there is one.

    Returns:
        The model in evaluation mode.

    Raises:
        UsageError: there is no such folder, or nothing in it that can be loaded.
        CheckpointError: no checkpoint of a run can be loaded, or weights do not fit.
        DamagedFileError: a file in it is missing, truncated or altered; the message names it.
    """
    loaded = load_module(Path(path))
    return ByteModel(
        loaded.module.to(resolve_device(device)),
        compressor_fingerprint=loaded.compressor_fingerprint,
        data_fingerprint=loaded.origin.data_fingerprint,
        checkpoint=loaded.checkpoint.path.name if loaded.checkpoint else None,
        folder=Path(path),
    )
