"""GGUF, llama.cpp's file format: how a family's tensors are stored, and files of our own read back.

Only files that ``gguf_export`` wrote are read here: they say under ``proxylm.config`` what an
export for transformers has in ``config.json``. Others are read by transformers
(``proxylm.interchange.importing``).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from proxylm.checkpoints.layouts.choice import causal_layout_for, read_config
from proxylm.errors import CheckpointError, DataError, needing_extra, one_line
from proxylm.models.config import ModelConfig
from proxylm.models.language_model import LanguageModel

GGUF_SUFFIX = ".gguf"
CONFIG_KEY = "proxylm.config"


def gguf_library(path: Path) -> ModuleType:
    """The package ``gguf``; ``path`` names in errors what it is needed for.

    Raises:
        UsageError: it is not installed.
    """
    with needing_extra(f"{path}: GGUF", "gguf"):
        import gguf
    return gguf


def stored_names(names: Iterable[str], config: ModelConfig, gguf: ModuleType) -> dict[str, str]:
    """What GGUF calls the tensors of a causal model."""
    family = causal_layout_for(config).family
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH[family.model_type.upper()], config.layers)
    return {name: table.get_name(name, try_suffixes=(".weight", ".bias")) for name in names}


def interleaved(name: str, tensor: Tensor, config: ModelConfig) -> Tensor:
    """A tensor as llama.cpp has it: for Llama, rotated channels stand in pairs, not in halves.

    The other families are rotated there as here.
    """
    heads = _heads_to_permute(name, config)
    if not heads:
        return tensor
    return tensor.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2).contiguous()


def in_halves(name: str, tensor: Tensor, config: ModelConfig) -> Tensor:
    """The inverse of ``interleaved``."""
    heads = _heads_to_permute(name, config)
    if not heads:
        return tensor
    return tensor.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2).contiguous()


def _heads_to_permute(name: str, config: ModelConfig) -> int:
    if causal_layout_for(config).family.model_type != "llama":
        return 0
    if name.endswith("q_proj.weight"):
        return config.heads
    return config.kv_heads if name.endswith("k_proj.weight") else 0


class GgufFile:
    """A GGUF file, of whatever origin.

    Raises:
        UsageError: the package ``gguf`` is not installed.
        DataError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._gguf = gguf_library(path)
        try:
            self._reader = self._gguf.GGUFReader(path)
        except Exception as error:  # of whatever kind: the library's, about the file
            raise DataError(f"{path}: cannot be read as GGUF ({one_line(error)})") from None

    @property
    def is_ours(self) -> bool:
        """Whether ``proxylm export`` wrote it."""
        return CONFIG_KEY in self._reader.fields

    def tensor_types(self) -> dict[str, int]:
        """How many tensors are stored in each type."""
        return dict(Counter(tensor.tensor_type.name for tensor in self._reader.tensors))

    def module(self) -> LanguageModel:
        """The byte model in a file of ours, in float32.

        Raises:
            CheckpointError: a tensor is missing, or has another shape than the file says.
        """
        values = json.loads(self._reader.fields[CONFIG_KEY].contents())
        config, _ = read_config(values, origin=f"{self.path}: {CONFIG_KEY}")
        with torch.device("meta"):
            module = LanguageModel(config)
        module.allocate("cpu")
        stored = {tensor.name: tensor for tensor in self._reader.tensors}
        names = stored_names(module.state_dict(), config, self._gguf)
        for name, parameter in module.state_dict().items():
            found = self._read(stored.get(names[name]))
            if found is None or found.shape != parameter.shape:
                shown = "missing" if found is None else f"{list(found.shape)}"
                raise CheckpointError(
                    f"{self.path}: tensor '{names[name]}' is {shown}, {CONFIG_KEY} says "
                    f"{list(parameter.shape)}"
                )
            parameter.copy_(in_halves(name, found, config))
        return module

    def _read(self, stored: Any) -> Tensor | None:
        if stored is None:
            return None
        values = self._gguf.dequantize(stored.data, stored.tensor_type)
        return torch.from_numpy(np.array(values, dtype=np.float32))
