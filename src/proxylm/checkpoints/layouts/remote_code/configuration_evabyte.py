"""Configuration of an EvaByte model for transformers: the keys of published ``config.json`` files.

The key ``proxylm`` holds what published files do not say: which symbols are bytes, which are
compressed, and over what a position is normalized. Without it nothing is masked.
"""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

_SPECIALS_AND_BYTES = 64 + 256


class EvaByteConfig(PretrainedConfig):
    """Sizes of one model; the defaults are those of the published 6.5B checkpoint."""

    model_type = "evabyte"
    keys_to_ignore_at_inference = ["past_key_values"]  # noqa: RUF012  Trainer adds lists to it

    vocab_size: int = _SPECIALS_AND_BYTES
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 40
    num_attention_heads: int = 32
    window_size: int = 2048
    chunk_size: int = 16
    num_pred_heads: int = 8
    apply_raw_multibyte_lm_head: bool = False
    num_raw_pred_heads: int = 1
    raw_vocab_size: int = _SPECIALS_AND_BYTES
    rope_theta: float = 100_000.0
    rms_norm_eps: float = 1e-5
    max_position_embeddings: int = 32_768
    initializer_range: float = 0.02
    use_cache: bool = True
    tie_word_embeddings: bool = False
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    pad_token_id: int | None = 0
    proxylm: dict[str, Any] | None = None
