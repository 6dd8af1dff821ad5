"""An imported model on its way back: its own ``config.json``, tokenizer and ids, our weights.

Imported again, it is the same model, bit for bit. What training has changed is in the weights, and
in how long a context may be.
"""

from __future__ import annotations

from pathlib import Path

from proxylm.checkpoints.published_folder import CONFIG_FILE
from proxylm.checkpoints.run_data import compressor_of
from proxylm.errors import UsageError
from proxylm.files import write_json
from proxylm.interchange.source import Source
from proxylm.models.config import ModelConfig

_OUR_WEIGHTS = {"torch_dtype": "float32"}
_NO_LONGER_TRUE = ("dtype", "quantization_config")


def write_as_imported(
    folder: Path, model: Path, source: Source | None, exported: ModelConfig
) -> None:
    """Write everything but the weights into an export's new folder.

    Args:
        folder: where.
        model: the model's own place, which knows its tokenizer.
        source: what it was imported from.
        exported: the model with the tokens' rows alone.

    Raises:
        UsageError: it was not imported, or its tokenizer is not at hand.
    """
    if source is None:
        raise UsageError(
            f"{model}: not imported, or the folder that it was imported to is not there any more "
            "(or of an older version: import it again); give --vocabulary bytes"
        )
    compressor = compressor_of(model)
    if compressor is None:
        raise UsageError(f"{model}: the tokenizer that it was trained with is not at hand")
    values = {key: value for key, value in source.config.items() if key not in _NO_LONGER_TRUE}
    sizes = {
        "vocab_size": exported.vocabulary_size,
        "max_position_embeddings": exported.context,
    }
    write_json(folder / CONFIG_FILE, values | sizes | _OUR_WEIGHTS)
    compressor.save_files(folder)
    source.write_settings(folder)
