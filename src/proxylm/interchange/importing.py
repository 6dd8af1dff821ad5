"""``proxylm import``: a pretrained model of another program, with its tokenizer, as one of ours.

Symbols are its tokens, read and written as the compressed view; the raw bytes are new, and the
model knows nothing of them until it is trained on them (``docs/byteify.md``).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from proxylm.checkpoints.published_folder import CONFIG_FILE, TENSORS_FILE, tensor_files
from proxylm.checkpoints.saving import save
from proxylm.checkpoints.tensor_files import TensorFiles
from proxylm.compressors.registry import load_compressor
from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.errors import CheckpointError, DamagedFileError, DataError, UsageError, one_line
from proxylm.files import read_json, require_new, write_json
from proxylm.interchange.byte_rows import ByteRows, with_bytes
from proxylm.interchange.families import family_config
from proxylm.models.language_model import LanguageModel

GGUF_SUFFIX = ".gguf"
_FOLLOWS = r".*\.rotary_emb\.inv_freq"
"""A tensor of old files that follows from the configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignModel:
    """A model of tokens as it was published.

    Attributes:
        module: ids are the tokens' own.
        tokenizer: the compressor that it reads by.
        begins, ends: ids of the tokens that begin and end a text; None where it has none.
    """

    module: LanguageModel
    tokenizer: TokenizerCompressor
    begins: int | None
    ends: int | None


def import_model(source: Path, out: Path, *, rows: ByteRows = ByteRows.SINGLE) -> ForeignModel:
    """Import a folder as transformers has them, or a GGUF file; returns it as it was read.

    Args:
        source: a folder with ``config.json``, safetensors and ``tokenizer.json``, or a GGUF file
            (needs the extra ``gguf``).
        out: the new folder, a saved model with its compressor.
        rows: what the rows of raw bytes begin as.

    Raises:
        UsageError: ``out`` is there already; ``source`` is neither; a package is not installed.
        CheckpointError: an architecture, a key or a value that is not supported; it is named.
        DataError: a file is damaged, or the tokenizer is none that can be taken exactly.
    """
    require_new(out)
    if not source.exists():
        raise UsageError(f"{source}: no such folder or file")
    if source.is_dir():
        foreign = read_folder(source)
    elif source.suffix == GGUF_SUFFIX:
        foreign = _read_gguf(source)
    else:
        raise UsageError(f"{source}: give a folder with {CONFIG_FILE}, or a {GGUF_SUFFIX} file")
    model = with_bytes(
        foreign.module, foreign.tokenizer, begins=foreign.begins, ends=foreign.ends, rows=rows
    )
    save(model, out, foreign.tokenizer)
    return foreign


def read_folder(folder: Path) -> ForeignModel:
    """A folder as transformers writes it; weights in float32.

    Raises:
        CheckpointError, DataError: see ``import_model``.
    """
    path = folder / CONFIG_FILE
    values = read_json(path)
    if not isinstance(values, Mapping):
        raise DamagedFileError(f"{path}: expected a JSON object of keys and values")
    config = family_config(values, origin=str(path))
    # Programs differ in whether a tied output layer is stored once more.
    follows = f"{_FOLLOWS}|lm_head.weight" if config.tied_embeddings else _FOLLOWS
    tensors = TensorFiles(tensor_files(folder), sizes_from=CONFIG_FILE, ignored=re.compile(follows))
    tokenizer = load_compressor(folder)
    if not isinstance(tokenizer, TokenizerCompressor):
        raise DataError(f"{folder}: its compressor is a {tokenizer.kind}, not a tokenizer")
    if tokenizer.symbol_count > config.vocabulary_size:
        raise CheckpointError(
            f"{path}: vocab_size is {config.vocabulary_size}, and the tokenizer has "
            f"{tokenizer.symbol_count} tokens"
        )
    ends = _one_id(values, "eos_token_id", path)
    begins = _one_id(values, "bos_token_id", path)
    return ForeignModel(
        module=tensors.new_model(config),
        tokenizer=tokenizer,
        begins=ends if begins is None else begins,
        ends=ends,
    )


def _one_id(values: Mapping[str, Any], key: str, path: Path) -> int | None:
    given = values.get(key)
    first = given[0] if isinstance(given, list) and given else given
    if first is None or first == []:
        return None
    if not isinstance(first, int) or not 0 <= first < int(values["vocab_size"]):
        raise CheckpointError(f"{path}: {key} is {given!r}, not one of its tokens")
    return first


def _read_gguf(path: Path) -> ForeignModel:
    """Through transformers, which knows the quantizations; dequantized to float32."""
    try:
        import gguf  # noqa: F401
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise UsageError(
            f"{path}: reading GGUF needs transformers and gguf ({error}): pip install proxylm[gguf]"
        ) from None
    disable_progress_bar()
    place: dict[str, Any] = {
        "pretrained_model_name_or_path": str(path.resolve().parent),
        "gguf_file": path.name,
        "local_files_only": True,
    }
    with tempfile.TemporaryDirectory(prefix="proxylm-") as folder:
        try:
            model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
            AutoTokenizer.from_pretrained(**place).save_pretrained(folder)
        except Exception as error:  # of whatever kind: the library's, about the file
            raise DataError(f"{path}: cannot be read as GGUF ({one_line(error)})") from None
        # Not by save_pretrained, which takes the model for a quantized one still.
        values = model.config.to_dict() | {"quantization_config": None}
        write_json(Path(folder) / CONFIG_FILE, values)
        tensors = {name: value.contiguous() for name, value in model.named_parameters()}
        save_file(tensors, Path(folder) / TENSORS_FILE)
        return read_folder(Path(folder))
