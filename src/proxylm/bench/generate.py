"""``proxylm bench generate``: decoding one byte at a time, beside the products it cannot avoid.

Every new byte needs every weight matrix times one vector; nothing of that can be shared between
bytes that follow one another. The yardstick does those products and nothing else: no attention,
no norms, no choice of a byte. Several rows share the reading of the matrices, so a batch has the
same matrices times as many vectors as its yardstick.

Both run on one thread: products this small gain nothing from a pool, and on a busy machine each
wait for a second thread would cost more than the byte.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from proxylm.bench.report import BenchmarkRow, alternate
from proxylm.generation.byte_model import ByteModel
from proxylm.models.config import ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.models.presets import preset
from proxylm.progress import TellCount, told, untold
from proxylm.symbols import EOS, RAW_CLOSE
from proxylm.threads import torch_threads

LAPTOP_SIZE = preset("laptop")
"""The size that the training benchmark uses too: 10.7M parameters."""

DEMO_SIZE = preset("demo")
"""So small that what is not a product shows: 0.8M parameters."""

PROMPT = b"def area(radius):\n"
NEW_BYTES = 128
REPEATS = 5
BATCH_ROWS = 8
MOST_ROWS = 16


def run_generate_benchmark(
    *,
    config: ModelConfig = LAPTOP_SIZE,
    small: ModelConfig = DEMO_SIZE,
    new_bytes: int = NEW_BYTES,
    repeats: int = REPEATS,
    progress: TellCount = untold,
) -> list[BenchmarkRow]:
    """Greedy decoding through the cache, one row and several; bytes/s beside bare products."""
    laptop, demo = endless_model(config), endless_model(small)
    cases = [
        ("generate/laptop/one-byte", laptop, 1),
        (f"generate/laptop/batch-{BATCH_ROWS}", laptop, BATCH_ROWS),
        ("generate/demo/one-byte", demo, 1),
        (f"generate/demo/batch-{BATCH_ROWS}", demo, BATCH_ROWS),
        (f"generate/demo/batch-{MOST_ROWS}", demo, MOST_ROWS),
    ]
    with torch_threads(1):
        return [_row(*case, new_bytes, repeats) for case in told(cases, "cases", progress)]


def endless_model(config: ModelConfig) -> ByteModel:
    """A random model that never ends its text, so that every run makes as many bytes as asked.

    The closing symbols' logits are 0, and the largest of 256 random logits is not below that.
    """
    module = LanguageModel(config)
    with torch.no_grad():
        module.lm_head.weight[[RAW_CLOSE, EOS]] = 0
    return ByteModel(module)


def _row(case: str, model: ByteModel, rows: int, new_bytes: int, repeats: int) -> BenchmarkRow:
    def decode() -> None:
        made = model.generate_batch([PROMPT] * rows, max_new_bytes=new_bytes)
        assert all(len(data) == new_bytes for data in made)

    seconds = alternate(decode, bare_products(model.module, rows, new_bytes), repeats=repeats)
    yardstick_is = f"every weight matrix times {rows} vector(s) per step, on one thread"
    return BenchmarkRow.of_rates(case, rows * new_bytes, "bytes/s", seconds, yardstick_is)


def bare_products(module: LanguageModel, rows: int, steps: int) -> Callable[[], None]:
    """An action: ``steps`` times each weight matrix but the embedding times ``rows`` vectors."""
    matrices: list[Tensor] = [
        weight.detach()
        for name, weight in module.named_parameters()
        if weight.dim() == 2 and "embed_tokens" not in name
    ]
    vectors = {width: torch.randn(rows, width) for width in {w.shape[1] for w in matrices}}

    def multiply() -> None:
        with torch.inference_mode():
            for _ in range(steps):
                for matrix in matrices:
                    torch.nn.functional.linear(vectors[matrix.shape[1]], matrix)

    return multiply
