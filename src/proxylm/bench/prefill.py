"""Reading a long prompt mixed, beside reading it as bytes: how near the gain comes to the rate.

Mixed, the prompt is about ``rho`` times shorter, so that reading it should take ``rho`` times less;
what is lost is the compression itself, the prompt's end in bytes, and what a pass costs however
short it is. Both read the same text by the same random model up to its first new byte.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from proxylm.bench.generate import LAPTOP_SIZE, REPEATS, endless_model
from proxylm.bench.report import BenchmarkRow, alternate
from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.compressors.tokenizer.training import BpeTraining
from proxylm.models.config import ModelConfig
from proxylm.symbols import vocabulary_size
from proxylm.threads import torch_threads

PROMPT_FILE = Path(argparse.__file__)
PROMPT_BYTES = 16_000
TOKENS = 4096


def run_prefill_benchmark(
    *,
    config: ModelConfig = LAPTOP_SIZE,
    tokens: int = TOKENS,
    prompt_bytes: int = PROMPT_BYTES,
    repeats: int = REPEATS,
) -> list[BenchmarkRow]:
    """Prompt bytes per second up to the first new byte, on one thread."""
    prompt = PROMPT_FILE.read_bytes()[:prompt_bytes]
    compressor = _tokenizer(tokens)
    size = vocabulary_size(compressor.symbol_count)
    model = endless_model(config.model_copy(update={"vocabulary_size": size}))
    mixed = model.read_mixed(compressor)
    with torch_threads(1):
        seconds = alternate(
            lambda: mixed.generate(prompt, max_new_bytes=1),
            lambda: model.generate(prompt, max_new_bytes=1),
            repeats=repeats,
        )
    prefix, covered = mixed.reading.opened(prompt)
    rate = len(prompt) / len(compressor.compress([prompt])[0])
    read = len(prefix) + len(prompt) - covered
    yardstick_is = (
        f"the same prompt of {len(prompt)} bytes read as bytes; mixed it is {read} symbols, and a "
        f"token of it has {rate:.2f} bytes"
    )
    return [
        BenchmarkRow.of_rates(
            "generate/laptop/prefill-mixed", len(prompt), "bytes/s", seconds, yardstick_is
        )
    ]


def _tokenizer(tokens: int) -> TokenizerCompressor:
    """Trained on the prompt's neighbours, without it."""
    files = [path for path in sorted(PROMPT_FILE.parent.glob("*.py")) if path != PROMPT_FILE]
    texts = [path.read_text(encoding="utf-8") for path in files]
    return TokenizerCompressor(BpeTraining(vocabulary_size=tokens).train(texts))
