"""``proxylm.load``: from a folder to a model that reads and writes bytes."""

from __future__ import annotations

import os
from pathlib import Path

from proxylm.checkpoints.reading import load_module
from proxylm.device import resolve_device
from proxylm.errors import UsageError
from proxylm.generation.byte_model import ByteModel
from proxylm.models.stored_matrices import WeightType, store_matrices


def load(
    path: str | os.PathLike[str], *, device: str = "cpu", weights: str = WeightType.FLOAT32
) -> ByteModel:
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
        weights: how its matrices are kept: ``float32``, or ``bfloat16`` for half the memory, and
            faster decoding of a large model on a CPU.

    Returns:
        The model in evaluation mode.

    Raises:
        UsageError: there is no such folder, or nothing in it that can be loaded; ``weights`` is
            neither.
        CheckpointError: no checkpoint of a run can be loaded, or weights do not fit.
        DamagedFileError: a file in it is missing, truncated or altered; the message names it.
    """
    stored = _weight_type(weights)
    loaded = load_module(Path(path))
    store_matrices(loaded.module, stored)
    return ByteModel(
        loaded.module.to(resolve_device(device)),
        compressor_fingerprint=loaded.compressor_fingerprint,
        data_fingerprint=loaded.origin.data_fingerprint,
        checkpoint=loaded.checkpoint.path.name if loaded.checkpoint else None,
        folder=Path(path),
    )


def _weight_type(weights: str) -> WeightType:
    try:
        return WeightType(weights)
    except ValueError:
        raise UsageError(f"weights {weights!r}: must be {' or '.join(WeightType)}") from None
