"""The contract of a layout: how one architecture is described in a ``config.json``.

A layout translates between ``ModelConfig`` and the keys that other programs know; parameter names
are shared (EvaByte's; Llama's are the same without the summaries). What those keys cannot say
stands under ``proxylm``. Folders of other origin do without it: published models were not trained
with our sentinels, whose ids are unused ones there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from proxylm.config import Config, validate_config
from proxylm.errors import CheckpointError
from proxylm.models.config import ModelConfig
from proxylm.symbols import (
    BOS,
    COMPRESSED_OFFSET,
    COMPRESSED_OPEN,
    EOS,
    PAD,
    RAW_OFFSET,
    RAW_OPEN,
)

FACTS_KEY = "proxylm"


class SymbolLayout(Config):
    """Where raw bytes and compressed symbols start, and the sentinels that open them."""

    first_byte: int = RAW_OFFSET
    first_compressed: int = COMPRESSED_OFFSET
    raw_open: int = RAW_OPEN
    compressed_open: int = COMPRESSED_OPEN


class Facts(Config):
    """What ``config.json`` says under ``proxylm``: how to read the model's symbols.

    Attributes:
        softmax, sentinels: as in ``ModelConfig``.
        compressor_fingerprint: of the compressor behind the compressed symbols; None without any.
        symbols: the symbol layout, for code that has no other way to know it.
    """

    format_version: Literal[1] = 1
    softmax: Literal["full", "by_format"] = "full"
    sentinels: bool = True
    compressor_fingerprint: str | None = None
    symbols: SymbolLayout = SymbolLayout()


class Layout(ABC):
    """One architecture in the keys of other programs.

    Attributes:
        model_type: what ``config.json`` calls it.
        class_name: the transformers class that reads it.
        code: modelling code that goes into the folder; empty where transformers has its own.
    """

    model_type: str
    class_name: str
    code: tuple[Path, ...] = ()

    @abstractmethod
    def read(self, values: Mapping[str, Any], facts: Facts | None, *, origin: str) -> ModelConfig:
        """The model that a parsed ``config.json`` describes.

        Args:
            values: the whole file.
            facts: what it says under ``proxylm``; None if it is not there.
            origin: named in errors.

        Raises:
            CheckpointError: a key is missing, or has a value that this layout cannot mean.
            UsageError: sizes that do not fit together.
        """

    @abstractmethod
    def write(self, config: ModelConfig) -> dict[str, Any]:
        """The sizes in the layout's keys; ``read`` gives ``config`` back."""

    def expressible(self, config: ModelConfig) -> ModelConfig:
        """What of a model the layout can carry: the same, or with fewer prediction heads.

        Raises:
            UsageError: the next-symbol distribution itself cannot be expressed.
        """
        return config


COMMON_FIELDS = {
    "vocabulary_size": "vocab_size",
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "ffn": "intermediate_size",
    "heads": "num_attention_heads",
    "context": "max_position_embeddings",
    "norm_epsilon": "rms_norm_eps",
}
"""Fields of ``ModelConfig`` by the keys that all layouts have for them."""


def common_values(layout: Layout, config: ModelConfig, facts: Facts) -> dict[str, Any]:
    """The whole ``config.json`` of a model in a layout."""
    return {
        "architectures": [layout.class_name],
        "model_type": layout.model_type,
        "torch_dtype": "float32",
        **{key: getattr(config, field) for field, key in COMMON_FIELDS.items()},
        "hidden_act": "silu",
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
        **layout.write(config),
        FACTS_KEY: facts.model_dump(mode="json"),
    }


def read_facts(values: Mapping[str, Any], *, origin: str) -> Facts | None:
    """What a ``config.json`` says under ``proxylm``; None in folders of other origin.

    Raises:
        UsageError: it is not what this version writes.
        CheckpointError: its symbols stand elsewhere than ours.
    """
    given = values.get(FACTS_KEY)
    if given is None:
        return None
    facts = validate_config(Facts, given, origin=f"{origin}: {FACTS_KEY}")
    if facts.symbols != SymbolLayout():
        raise CheckpointError(f"{origin}: {FACTS_KEY}.symbols differ from this program's layout")
    return facts


def required(values: Mapping[str, Any], key: str, *, origin: str) -> Any:
    """``values[key]``.

    Raises:
        CheckpointError: it is not there; the key is named.
    """
    if values.get(key) is None:
        raise CheckpointError(f"{origin}: key '{key}' is missing")
    return values[key]


def require_value(values: Mapping[str, Any], key: str, wanted: Any, *, origin: str) -> None:
    """Refuse a key that is there and says something else; what is left out is taken as wanted.

    Raises:
        CheckpointError: naming the key and both values.
    """
    found = values.get(key, wanted)
    if found != wanted:
        raise CheckpointError(f"{origin}: {key} is {found!r}, only {wanted!r} is supported")
