"""``proxylm import``: a pretrained model of another program, with its tokenizer, as one of ours.

Symbols are its tokens, read and written as the compressed view; the raw bytes are new, and the
model knows nothing of them until it is trained on them (``docs/byteify.md``).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from proxylm.checkpoints.checkpoint import Origin, write_saved_model
from proxylm.checkpoints.layouts.families import family_config
from proxylm.checkpoints.published_folder import CONFIG_FILE, TENSORS_FILE, tensor_files
from proxylm.checkpoints.run_data import COMPRESSOR_FOLDER
from proxylm.checkpoints.saving import save
from proxylm.checkpoints.tensor_files import TensorFiles
from proxylm.compressors.registry import load_compressor, save_compressor
from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.errors import (
    CheckpointError,
    DamagedFileError,
    DataError,
    UsageError,
    needing_extra,
    one_line,
)
from proxylm.files import atomic_folder, read_json, require_new, write_json
from proxylm.interchange.byte_rows import ByteRows, with_bytes
from proxylm.interchange.gguf_file import GGUF_SUFFIX, GgufFile
from proxylm.interchange.source import SOURCE_FOLDER, Source, SourceDescription, read_settings
from proxylm.models.config import ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.progress import TellCount, stage, untold

_FOLLOWS = r".*\.rotary_emb\.inv_freq"
"""A tensor of old files that follows from the configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignModel:
    """A model of tokens as it was published.

    Attributes:
        module: ids are the tokens' own.
        tokenizer: the compressor that it reads by.
        begins, ends: ids of the tokens that begin and end a text; None where it has none.
        source: what else its files say.
    """

    module: LanguageModel
    tokenizer: TokenizerCompressor
    begins: int | None
    ends: int | None
    source: Source


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """What was imported.

    Attributes:
        folder: where it is now.
        parameters, layers, width, tied_embeddings: of the model as it was.
        tokens: that its tokenizer has; 0 of one of our own byte models.
    """

    folder: str
    parameters: int
    layers: int
    width: int
    tokens: int
    tied_embeddings: bool

    def as_json(self) -> dict[str, Any]:
        """Plain values, as ``proxylm import --json`` prints them."""
        return asdict(self)


def import_model(
    source: Path, out: Path, *, rows: ByteRows = ByteRows.SINGLE, progress: TellCount = untold
) -> ImportResult:
    """Import a folder as transformers has them, or a GGUF file.

    A GGUF file that ``proxylm export`` wrote comes back as the byte model that it is.

    Args:
        source: a folder with ``config.json``, safetensors and ``tokenizer.json``, or a GGUF file
            (needs the extra ``gguf``).
        out: the new folder, a saved model with its compressor.
        rows: what the rows of raw bytes begin as.
        progress: hears what is under way.

    Raises:
        UsageError: ``out`` is there already; ``source`` is neither; a package is not installed.
        CheckpointError: an architecture, a key or a value that is not supported; it is named.
        DataError: a file is damaged, or the tokenizer is none that can be taken exactly.
    """
    require_new(out)
    if not source.exists():
        raise UsageError(f"{source}: no such folder or file")
    with stage("reading the model", progress):
        found = _read(source)
    with stage("writing the model", progress):
        if isinstance(found, LanguageModel):
            save(found, out)
            return _result(out, found.config, tokens=0)
        _save(found, out, rows)
    return _result(out, found.module.config, tokens=found.tokenizer.symbol_count)


def _read(source: Path) -> ForeignModel | LanguageModel:
    """A model of tokens, or one of our own byte models."""
    if source.is_dir():
        return read_folder(source)
    if source.suffix != GGUF_SUFFIX:
        raise UsageError(f"{source}: give a folder with {CONFIG_FILE}, or a {GGUF_SUFFIX} file")
    file = GgufFile(source)
    return file.module() if file.is_ours else _read_gguf(source, file.tensor_types())


def _save(foreign: ForeignModel, out: Path, rows: ByteRows) -> None:
    model = with_bytes(
        foreign.module, foreign.tokenizer, begins=foreign.begins, ends=foreign.ends, rows=rows
    )
    origin = Origin(compressor_fingerprint=foreign.tokenizer.fingerprint)
    with atomic_folder(out) as folder:
        write_saved_model(folder, model.state_dict(), model.config, step=None, origin=origin)
        save_compressor(foreign.tokenizer, folder / COMPRESSOR_FOLDER)
        foreign.source.save(folder / SOURCE_FOLDER)


def _result(out: Path, config: ModelConfig, *, tokens: int) -> ImportResult:
    return ImportResult(
        folder=str(out),
        parameters=config.parameter_count,
        layers=config.layers,
        width=config.width,
        tokens=tokens,
        tied_embeddings=config.tied_embeddings,
    )


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
        source=Source(
            description=SourceDescription(name=folder.resolve().name),
            config=values,
            settings=read_settings(folder),
        ),
    )


def _one_id(values: Mapping[str, Any], key: str, path: Path) -> int | None:
    given = values.get(key)
    first = given[0] if isinstance(given, list) and given else given
    if first is None or first == []:
        return None
    if not isinstance(first, int) or not 0 <= first < int(values["vocab_size"]):
        raise CheckpointError(f"{path}: {key} is {given!r}, not one of its tokens")
    return first


def _read_gguf(path: Path, tensor_types: dict[str, int]) -> ForeignModel:
    """Through transformers, which knows the quantizations; dequantized to float32."""
    with needing_extra(f"{path}: reading GGUF", "gguf"):
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar
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
        values = model.config.to_dict()
        for key in ("quantization_config", "_name_or_path"):  # and that is a path of this machine
            values.pop(key, None)
        write_json(Path(folder) / CONFIG_FILE, values)
        tensors = {name: value.contiguous() for name, value in model.named_parameters()}
        save_file(tensors, Path(folder) / TENSORS_FILE)
        foreign = read_folder(Path(folder))
        description = SourceDescription(name=path.name, tensor_types=tensor_types)
        return replace(foreign, source=replace(foreign.source, description=description))
