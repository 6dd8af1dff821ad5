"""``export_model``: a folder that transformers loads, and ``proxylm.load`` too.

The folder holds ``config.json``, safetensors (in shards where they are large), the byte vocabulary
as ``tokenizer.json``, ``generation_config.json``, a model card and, for EvaByte, modelling code of
our own. An imported model can leave as its tokens as well, which is how it came
(``proxylm.interchange.token_export``). The folder appears whole or not at all.
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
from proxylm.interchange.byte_vocabulary import (
    byte_tokenizer,
    end_symbols,
    suppressed_symbols,
    tokenizer_settings,
)
from proxylm.interchange.model_card import Card, describe
from proxylm.interchange.source import source_of
from proxylm.interchange.token_export import write_as_imported
from proxylm.interchange.vocabulary import Vocabulary, kept_tensors
from proxylm.models.config import ModelConfig
from proxylm.progress import TellCount, stage, untold
from proxylm.symbols import BOS, COMPRESSED_OFFSET, PAD

CARD_FILE = "README.md"


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What was written.

    Attributes:
        folder: where; of GGUF, the file.
        architecture: the transformers class that loads it, or llama.cpp's architecture.
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

    @classmethod
    def of(
        cls, out: Path, original: ModelConfig, exported: ModelConfig, **others: Any
    ) -> ExportResult:
        """What left of a model; ``others`` are ``architecture`` and ``needs_remote_code``."""
        return cls(
            folder=str(out),
            parameters=exported.parameter_count,
            vocabulary_size=exported.vocabulary_size,
            dropped_symbols=original.vocabulary_size - exported.vocabulary_size,
            dropped_heads=original.target_heads - exported.target_heads,
            **others,
        )

    @property
    def has_compressed_symbols(self) -> bool:
        """Whether there are more than specials and bytes."""
        return self.vocabulary_size > COMPRESSED_OFFSET

    def as_json(self) -> dict[str, Any]:
        """Plain values, as ``proxylm export --json`` prints them."""
        return asdict(self)


def export_model(
    source: Path,
    out: Path,
    *,
    vocabulary: Vocabulary = Vocabulary.BOTH,
    progress: TellCount = untold,
) -> ExportResult:
    """Write a model for transformers.

    Args:
        source: whatever ``proxylm.load`` takes: a run, a checkpoint, another folder.
        out: the new folder; it must not be there yet.
        vocabulary: which symbols go along; the logits of those that do are the same.
        progress: hears what is under way.

    Raises:
        UsageError: ``out`` is there already; the model has no raw bytes, or, of ``TOKENS``, was
            not imported; or its layout cannot express what the model computes.
        CheckpointError, DamagedFileError: ``source`` cannot be loaded.
    """
    require_new(out)
    with stage("reading the model", progress):
        loaded, imported = load_module(source), source_of(source)
    config = loaded.module.config
    config.require_raw_bytes()
    layout = layout_for(config)
    exported = layout.expressible(vocabulary.of(config))
    card = Card(
        name=out.resolve().name,
        original=config,
        exported=exported,
        vocabulary=vocabulary,
        layout=layout,
        checkpoint=loaded.checkpoint,
        source=imported,
    )
    with stage("writing the model", progress), atomic_folder(out) as folder:
        if vocabulary is Vocabulary.TOKENS:
            write_as_imported(folder, source, imported, exported)
        else:
            _write_config(folder, layout, loaded, exported)
            _write_vocabulary(folder, exported)
        _write_tensors(folder, kept_tensors(loaded.module, exported, vocabulary))
        (folder / CARD_FILE).write_text(describe(card), encoding="utf-8")
    return ExportResult.of(
        out,
        config,
        exported,
        architecture=layout.class_name,
        needs_remote_code=bool(layout.code),
    )


def _write_config(folder: Path, layout: Layout, loaded: LoadedModel, exported: ModelConfig) -> None:
    has_compressed = exported.vocabulary_size > COMPRESSED_OFFSET
    facts = Facts(
        softmax=exported.softmax,
        sentinels=exported.sentinels,
        compressor_fingerprint=loaded.compressor_fingerprint if has_compressed else None,
    )
    write_json(folder / CONFIG_FILE, common_values(layout, exported, facts))
    for file in layout.code:
        shutil.copyfile(file, folder / file.name)


def _write_tensors(folder: Path, tensors: dict[str, Tensor]) -> None:
    save_torch_state_dict(tensors, folder, metadata={"format": "pt"})
    for file in folder.glob("*.safetensors"):  # written for their owner alone
        file.chmod((folder / CONFIG_FILE).stat().st_mode)


def _write_vocabulary(folder: Path, exported: ModelConfig) -> None:
    tokenizer = byte_tokenizer(sentinels=exported.sentinels)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", tokenizer_settings(context=exported.context))
    write_json(folder / "generation_config.json", generation_settings(exported))


def generation_settings(config: ModelConfig) -> dict[str, Any]:
    """What ``generate`` does unless it is told otherwise: greedy, bytes alone, to the text's end.

    Logits are the trained ones, so the other symbols are named here, one by one.
    """
    return {
        "bos_token_id": BOS,
        "eos_token_id": end_symbols(sentinels=config.sentinels),
        "pad_token_id": PAD,
        "do_sample": False,
        "suppress_tokens": suppressed_symbols(config),
    }
