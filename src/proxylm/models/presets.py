"""Named sizes: the paper's (method, section 5, appendix C.1) and tiny ones for laptops.

The EvaByte sizes keep a byte vocabulary; a mixture overrides ``vocabulary_size``. Above 4B the
method predicts eight bytes and one compressed symbol ahead.
"""

from __future__ import annotations

from typing import Any

from proxylm.config import validate_config
from proxylm.errors import UsageError
from proxylm.models.config import ModelConfig
from proxylm.symbols import vocabulary_size

OPENCODER_SYMBOL_COUNT = 96_640


def _evabyte(layers: int, width: int, ffn: int, heads: int, **more: Any) -> dict[str, Any]:
    sizes = {"layers": layers, "width": width, "ffn": ffn, "heads": heads}
    fixed = {
        "vocabulary_size": vocabulary_size(0),
        "attention": {"kind": "eva", "window": 2048, "chunk": 8},
        "context": 16_384,
        "rope_theta": 100_000.0,
    }
    return fixed | sizes | more


def _opencoder(kv_heads: int, rope_theta: float, **sizes: int) -> dict[str, Any]:
    return sizes | {
        "vocabulary_size": vocabulary_size(OPENCODER_SYMBOL_COUNT),
        "attention": {"kind": "causal", "kv_heads": kv_heads},
        "context": 4096,
        "rope_theta": rope_theta,
    }


def _byte_lm(layers: int, width: int, ffn: int, heads: int) -> dict[str, Any]:
    """The LM inside a neural compressor (method, section 3): causal, bytes alone."""
    attention = {"kind": "causal", "kv_heads": heads}
    return _evabyte(layers, width, ffn, heads, attention=attention, context=1024)


_EIGHT_BYTES = {"prediction_heads": 1, "raw_prediction_heads": 7}
_SMALL_WINDOWS = {"kind": "eva", "window": 128, "chunk": 8}
_LAPTOP_WINDOWS = {"kind": "eva", "window": 512, "chunk": 8}

PRESETS: dict[str, dict[str, Any]] = {
    "evabyte-0.5b": _evabyte(28, 1024, 4096, 8),
    "evabyte-1.5b": _evabyte(20, 2048, 8192, 16),
    "evabyte-4b": _evabyte(32, 3072, 9216, 24),
    "evabyte-7b": _evabyte(32, 4096, 12_288, 32, **_EIGHT_BYTES),
    "evabyte-14b": _evabyte(40, 5120, 16_384, 40, **_EIGHT_BYTES),
    "opencoder-1.5b": _opencoder(14, 1e4, layers=24, width=2240, ffn=6144, heads=14),
    "opencoder-8b": _opencoder(8, 5e5, layers=32, width=4096, ffn=14_336, heads=32),
    "demo": _evabyte(4, 128, 320, 4, attention=_SMALL_WINDOWS, context=1024),
    "laptop": _evabyte(6, 384, 1024, 6, attention=_LAPTOP_WINDOWS, context=4096),
    "laptop-causal": _evabyte(
        6, 384, 1024, 6, attention={"kind": "causal", "kv_heads": 6}, context=4096
    ),
    "byte-lm-tiny": _byte_lm(4, 128, 192, 4),
    "byte-lm-40m": _byte_lm(12, 512, 1472, 8),
}


def preset(name: str, **overrides: Any) -> ModelConfig:
    """The configuration called ``name``, with some fields replaced.

    >>> config = preset("demo", vocabulary_size=4416, attention={"kind": "causal", "kv_heads": 2})
    >>> config.width, config.parameter_count
    (128, 1819776)

    Args:
        name: one of ``PRESETS``.
        overrides: fields of ``ModelConfig``; ``vocabulary_size`` is that of the batches
            (``proxylm.symbols.vocabulary_size`` of the compressor's symbols).

    Raises:
        UsageError: no preset of that name, or an override that does not fit it; one line names
            the field.
    """
    if name not in PRESETS:
        raise UsageError(f"unknown model preset '{name}'; choose one of {', '.join(PRESETS)}")
    return validate_config(ModelConfig, PRESETS[name] | overrides, origin=f"model {name}")
