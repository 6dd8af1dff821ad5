"""Small runs and their exports, for the tests of interchange."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from proxylm.interchange.export import export_model
from proxylm.interchange.vocabulary import Vocabulary
from small_models import ATTENTIONS, save_small_run

VARIANTS: dict[str, dict[str, Any]] = {
    "eva": {},
    "eva-by-format": {"softmax": "by_format"},
    "eva-raw-heads": {"prediction_heads": 1, "raw_prediction_heads": 3},
    "eva-no-sentinels": {"sentinels": False},
    "llama": {"attention": ATTENTIONS["causal"], "prediction_heads": 1},
    "llama-no-sentinels": {
        "attention": ATTENTIONS["causal"],
        "prediction_heads": 1,
        "sentinels": False,
    },
    "llama-by-format": {
        "attention": ATTENTIONS["causal"],
        "prediction_heads": 1,
        "softmax": "by_format",
    },
    "llama-heads": {"attention": ATTENTIONS["causal"], "prediction_heads": 2},
}
KEEPING = [name for name in VARIANTS if name != "llama-by-format"]
"""Those that can be exported with their compressed symbols."""

FINGERPRINT = "f" * 32


def make_run(folder: Path, variant: str, *, seed: int = 3, **changes: Any) -> Path:
    """A run folder of a variant's model, sharpened so that greedy choices are distinct."""
    run = folder / f"{variant}-run"
    values = VARIANTS[variant] | changes
    save_small_run(run, compressor_fingerprint=FINGERPRINT, seed=seed, **values)
    return run


def make_export(
    folder: Path, variant: str, *, vocabulary: Vocabulary = Vocabulary.BOTH
) -> tuple[Path, Path]:
    """A run of a variant, and its export."""
    run = make_run(folder, variant)
    out = folder / f"{variant}-{vocabulary}"
    export_model(run, out, vocabulary=vocabulary)
    return run, out
