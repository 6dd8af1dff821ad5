"""proxylm: one language model, trained on raw bytes and compressed views, used on raw bytes alone.

``import proxylm as px`` gives the names below, each taking objects wherever the command line takes
a path or a ``kind``. They are imported on first use, so that ``import proxylm`` stays cheap.
docs/library.md shows them at work, ``examples/`` has programs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proxylm.checkpoints.saving import save as save
    from proxylm.compressors.contract import Compressor as Compressor
    from proxylm.compressors.registry import load_compressor as load_compressor
    from proxylm.compressors.segments import segments as segments
    from proxylm.compressors.tokenizer.training import train_tokenizer as train_tokenizer
    from proxylm.compressors.view import CompressedView as CompressedView
    from proxylm.data.batches import batches as batches
    from proxylm.data.mixture import Mixture as Mixture
    from proxylm.data.picture import show as show
    from proxylm.data.preparing import prepare as prepare
    from proxylm.data.sources import Source as Source
    from proxylm.generation.loading import load as load
    from proxylm.models.language_model import LanguageModel as LanguageModel
    from proxylm.models.presets import preset as preset
    from proxylm.pipelines.neural_compressor import (
        train_neural_compressor as train_neural_compressor,
    )
    from proxylm.scoring.score import score as score
    from proxylm.training.config import TrainingConfig as TrainingConfig
    from proxylm.training.run import train as train

__version__ = "0.1.0"

_MODULES = {
    "Compressor": "compressors.contract",
    "CompressedView": "compressors.view",
    "load_compressor": "compressors.registry",
    "train_tokenizer": "compressors.tokenizer.training",
    "train_neural_compressor": "pipelines.neural_compressor",
    "segments": "compressors.segments",
    "prepare": "data.preparing",
    "Source": "data.sources",
    "Mixture": "data.mixture",
    "batches": "data.batches",
    "show": "data.picture",
    "LanguageModel": "models.language_model",
    "preset": "models.presets",
    "TrainingConfig": "training.config",
    "train": "training.run",
    "save": "checkpoints.saving",
    "load": "generation.loading",
    "score": "scoring.score",
}
"""The public names and where each is defined, in the order of the method."""

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'proxylm' has no attribute {name!r}")
    value = getattr(import_module(f"proxylm.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
