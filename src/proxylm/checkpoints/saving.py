"""``proxylm.save``: a model, however it was trained, as a folder that every command takes."""

from __future__ import annotations

import os
from pathlib import Path

from proxylm.checkpoints.checkpoint import Origin, write_saved_model
from proxylm.checkpoints.reading import LoadedModel, TrainedModel, require_compressor
from proxylm.checkpoints.run_data import COMPRESSOR_FOLDER
from proxylm.compressors.contract import Compressor
from proxylm.compressors.registry import is_registered, save_compressor
from proxylm.errors import UsageError
from proxylm.files import atomic_folder
from proxylm.models.language_model import LanguageModel


def save(
    model: LanguageModel | TrainedModel | Compressor,
    folder: str | os.PathLike[str],
    compressor: Compressor | None = None,
) -> None:
    """Save a model; ``proxylm.load`` and every command that takes a checkpoint read it.

    A compressor is saved likewise; ``proxylm.load_compressor`` and the commands read that.

    The folder appears whole or not at all, and is verified by SHA-256 wherever it is read. What is
    known of a model's training goes along: the fingerprints of a ``ByteModel``, and the
    compressor's.

    >>> import tempfile
    >>> import proxylm as px
    >>> from proxylm.models.language_model import LanguageModel
    >>> from proxylm.models.presets import preset
    >>> model = LanguageModel(preset("demo"), seed=1)
    >>> with tempfile.TemporaryDirectory() as place:
    ...     save(model, f"{place}/mine")
    ...     again = px.load(f"{place}/mine")
    >>> again.config == model.config
    True

    Args:
        model: the model, which stays as it is, on its device and in its mode; or a compressor.
        folder: the new folder; it must not be there yet.
        compressor: of a model, that made the compressed symbols which the model was trained on. Its
            fingerprint goes in: nobody can then read the model with another one unnoticed. It is
            saved along where a saved copy can be loaded, so that the model can be read as tokens.

    Raises:
        UsageError: ``folder`` is there already; ``model`` is nothing of ours; it has no room for
            the compressor's symbols, or was trained with another compressor.
        CannotWriteError: the disk is full, or the folder cannot be written. Nothing is left.
    """
    if isinstance(model, Compressor):
        save_compressor(model, Path(folder))
        return
    module = model if isinstance(model, LanguageModel) else getattr(model, "module", None)
    if not isinstance(module, LanguageModel):
        raise UsageError(
            "save: expected a LanguageModel, a ByteModel or a Compressor, found "
            f"{type(model).__name__}"
        )
    origin = Origin(
        data_fingerprint=getattr(model, "data_fingerprint", None),
        compressor_fingerprint=getattr(model, "compressor_fingerprint", None),
    )
    if compressor is not None:
        known = LoadedModel(module=module, origin=origin)
        require_compressor(known, compressor.symbol_count, compressor.fingerprint)
        origin = origin.model_copy(update={"compressor_fingerprint": compressor.fingerprint})
    with atomic_folder(Path(folder)) as temporary:
        write_saved_model(temporary, module.state_dict(), module.config, step=None, origin=origin)
        if compressor is not None and is_registered(compressor):
            save_compressor(compressor, temporary / COMPRESSOR_FOLDER)
