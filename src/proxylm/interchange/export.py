"""``export_model``: a folder that transformers loads, and ``proxylm.load`` too.

The folder holds ``config.json``, safetensors (in shards where they are large), the byte vocabulary
as ``tokenizer.json``, ``generation_config.json``, a model card and, for EvaByte, modelling code of
our own. It appears whole or not at all.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import save_torch_state_dict
from torch import Tensor

from proxylm.checkpoints.layouts.choice import layout_for
from proxylm.checkpoints.layouts.contract import Facts, Layout, common_values
from proxylm.checkpoints.published_folder import CONFIG_FILE
from proxylm.checkpoints.reading import LoadedModel, load_module
from proxylm.files import atomic_folder, require_new, write_json
from proxylm.interchange.byte_vocabulary import byte_tokenizer, end_symbols, tokenizer_settings
from proxylm.interchange.model_card import Card, describe
from proxylm.models.config import ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import BOS, COMPRESSED_OFFSET, PAD, RAW_OFFSET

CARD_FILE = "README.md"
EMBEDDING = "model.embed_tokens.weight"
OUTPUT = "lm_head.weight"
RAW_OUTPUT = "raw_multibyte_lm_head.weight"


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What was written.

    Attributes:
        folder: where.
        architecture: the transformers class that loads it.
        parameters: of the exported model.
        vocabulary_size: its symbols.
        dropped_symbols: compressed symbols that were left out.
        dropped_heads: prediction heads that were left out; head 0 never is.
        needs_remote_code: whether loading it runs the modelling code in the folder.
    """

    folder: str
    architecture: str
    parameters: int
    vocabulary_size: int
    dropped_symbols: int
    dropped_heads: int
    needs_remote_code: bool

    def as_json(self) -> dict[str, Any]:
        """Plain values, as ``proxylm export --json`` prints them."""
        return asdict(self)


def export_model(source: Path, out: Path, *, drop_compressed: bool = False) -> ExportResult:
    """Write a model for transformers.

    Args:
        source: whatever ``proxylm.load`` takes: a run, a checkpoint, another folder.
        out: the new folder; it must not be there yet.
        drop_compressed: leave the compressed symbols out; the logits of all others are the same.

    Raises:
        UsageError: ``out`` is there already; the model has no raw bytes; or its layout cannot
            express what the model computes.
        CheckpointError, DamagedFileError: ``source`` cannot be loaded.
    """
    require_new(out)
    loaded = load_module(source)
    config = loaded.module.config
    config.require_raw_bytes()
    bytes_alone = config.model_copy(update={"vocabulary_size": COMPRESSED_OFFSET})
    kept = bytes_alone if drop_compressed else config
    layout = layout_for(config)
    exported = layout.expressible(kept)
    with atomic_folder(out) as folder:
        _write_model(folder, layout, loaded, exported)
        _write_vocabulary(folder, exported)
        card = Card(name=out.resolve().name, original=config, exported=exported,
                    layout=layout, checkpoint=loaded.checkpoint)  # fmt: skip
        (folder / CARD_FILE).write_text(describe(card), encoding="utf-8")
    return ExportResult(
        folder=str(out),
        architecture=layout.class_name,
        parameters=exported.parameter_count,
        vocabulary_size=exported.vocabulary_size,
        dropped_symbols=config.vocabulary_size - exported.vocabulary_size,
        dropped_heads=config.target_heads - exported.target_heads,
        needs_remote_code=bool(layout.code),
    )


def _write_model(folder: Path, layout: Layout, loaded: LoadedModel, exported: ModelConfig) -> None:
    has_compressed = exported.vocabulary_size > COMPRESSED_OFFSET
    facts = Facts(
        softmax=exported.softmax,
        sentinels=exported.sentinels,
        compressor_fingerprint=loaded.compressor_fingerprint if has_compressed else None,
    )
    write_json(folder / CONFIG_FILE, common_values(layout, exported, facts))
    tensors = _kept_tensors(loaded.module, exported)
    save_torch_state_dict(tensors, folder, metadata={"format": "pt"})
    for file in folder.glob("*.safetensors"):  # written for their owner alone
        file.chmod((folder / CONFIG_FILE).stat().st_mode)
    for file in layout.code:
        shutil.copyfile(file, folder / file.name)


def _kept_tensors(module: LanguageModel, exported: ModelConfig) -> dict[str, Tensor]:
    """The model's tensors without the rows of symbols and heads that ``exported`` does not have.

    Rows that stay are those of the lowest symbols and of the first heads, bit for bit.
    """
    tensors, config = module.state_dict(), module.config
    rows = exported.vocabulary_size
    heads = tensors[OUTPUT].unflatten(0, (config.prediction_heads, config.vocabulary_size))
    tensors[EMBEDDING] = tensors[EMBEDDING][:rows].clone()
    tensors[OUTPUT] = heads[: exported.prediction_heads, :rows].flatten(0, 1).clone()
    if not exported.raw_prediction_heads:
        tensors.pop(RAW_OUTPUT, None)
    return tensors


def _write_vocabulary(folder: Path, exported: ModelConfig) -> None:
    tokenizer = byte_tokenizer(sentinels=exported.sentinels)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", tokenizer_settings(context=exported.context))
    write_json(folder / "generation_config.json", generation_settings(exported))


def generation_settings(config: ModelConfig) -> dict[str, Any]:
    """What ``generate`` does unless it is told otherwise: greedy, bytes alone, to the text's end.

    Logits are the trained ones, so the other symbols are named here, one by one.
    """
    ends = end_symbols(sentinels=config.sentinels)
    suppressed = [symbol for symbol in range(RAW_OFFSET) if symbol not in ends]
    suppressed += range(COMPRESSED_OFFSET, config.vocabulary_size)
    return {
        "bos_token_id": BOS,
        "eos_token_id": ends,
        "pad_token_id": PAD,
        "do_sample": False,
        "suppress_tokens": suppressed,
    }
