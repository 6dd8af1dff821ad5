"""Random models as transformers writes them, with a tokenizer of bytes and a few merges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCABULARY = 270
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 256,
    "eos_token_id": 257,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 1e4,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
MODELS: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaForCausalLM, LlamaConfig(**SIZES)),
    "llama-tied": (LlamaForCausalLM, LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "llama3-rope": (LlamaForCausalLM, LlamaConfig(**SIZES, rope_parameters=LLAMA3)),
    "linear-rope": (
        LlamaForCausalLM,
        LlamaConfig(
            **SIZES, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
        ),
    ),
    "wide-heads": (LlamaForCausalLM, LlamaConfig(**SIZES, head_dim=16)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**SIZES)),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**SIZES, head_dim=16)),
    "olmo2": (Olmo2ForCausalLM, Olmo2Config(**SIZES, pad_token_id=None)),
}


def tokenizer() -> Tokenizer:
    """256 bytes and a few merges, as byte-level BPE."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: number for number, symbol in enumerate(alphabet)}
    merges = [("t", "h"), ("th", "e")]
    vocabulary |= {"<s>": 256, "</s>": 257, "th": 258, "the": 259}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<s>", "</s>"])
    return made


def written(folder: Path, kind: str, *, scale: float = 1.0, **saving: Any) -> Any:
    """A random model of a kind in a folder as transformers writes it, and the model.

    With matrices of a larger scale, attention is sharp and greedy choices are far apart.
    """
    model_class, config = MODELS[kind]
    torch.manual_seed(3)
    model = model_class(config).eval()
    with torch.no_grad():  # norms and biases begin as ones and zeros, which would hide them
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
            else:
                parameter.mul_(scale)
    model.save_pretrained(folder, **saving)
    tokenizer().save(str(folder / "tokenizer.json"))
    return model
