"""``proxylm bench generate``: decoding one byte at a time, beside the products it cannot avoid.

Every new byte needs every weight matrix times one vector; nothing of that can be shared between
bytes that follow one another. The yardstick does those products and nothing else: no attention,
no norms, no choice of a byte. Several rows share the reading of the matrices, so a batch has the
same matrices times as many vectors as its yardstick.

A large model's byte takes as long as its weights take to come from memory. Its yardstick reads
every matrix once per byte and adds it up, one that is stored as bfloat16 beside its own half.

All run on one thread: products this small gain nothing from a pool, and on a busy machine each
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
from proxylm.models.stored_matrices import BY_SHORT_NAME, store_matrices
from proxylm.progress import TellCount, told, untold
from proxylm.symbols import EOS, RAW_CLOSE
from proxylm.threads import torch_threads

LAPTOP_SIZE = preset("laptop")
"""The size that the training benchmark uses too: 10.7M parameters."""

DEMO_SIZE = preset("demo")
"""So small that what is not a product shows: 0.8M parameters."""

LARGE_SIZE = preset(
    "laptop-causal",
    **{"layers": 30, "width": 576, "ffn": 1536, "heads": 9},
    attention={"kind": "causal", "kv_heads": 3},
)
"""The body of SmolLM2-135M: 106M parameters, far more than any cache holds."""

PROMPT = b"def area(radius):\n"
SHORT_PROMPT = b"def f():"
"""Read in one pass of a few symbols, so that passes of one are what counts."""
NEW_BYTES = 128
REPEATS = 5
BATCH_ROWS = 8
MOST_ROWS = 16


def run_generate_benchmark(
    *,
    config: ModelConfig = LAPTOP_SIZE,
    small: ModelConfig = DEMO_SIZE,
    large: ModelConfig = LARGE_SIZE,
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
        rows = [_row(*case, new_bytes, repeats) for case in told(cases, "cases", progress)]
        return rows + _large_rows(large, new_bytes, repeats)


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


def _large_rows(config: ModelConfig, new_bytes: int, repeats: int) -> list[BenchmarkRow]:
    """One row of a large model, as float32 and as bfloat16, beside reading its matrices."""
    model, rows = endless_model(config), []
    for name, weights in BY_SHORT_NAME.items():
        store_matrices(model.module, weights)

        def decode() -> None:
            assert len(model.generate(SHORT_PROMPT, max_new_bytes=new_bytes)) == new_bytes

        seconds = alternate(decode, bare_reading(model.module, new_bytes), repeats=repeats)
        yardstick_is = f"every weight matrix ({name}) read once per step, on one thread"
        case = f"generate/large/one-byte-{name}"
        rows.append(BenchmarkRow.of_rates(case, new_bytes, "bytes/s", seconds, yardstick_is))
    return rows


def bare_reading(module: LanguageModel, steps: int) -> Callable[[], None]:
    """An action: ``steps`` times the sum of each weight matrix but the embedding, taken as float32
    whatever it is."""
    read = [matrix.view(torch.float32) for matrix in _matrices(module)]

    def add_up() -> None:
        for _ in range(steps):
            for matrix in read:
                torch.sum(matrix)

    return add_up


def _matrices(module: LanguageModel) -> list[Tensor]:
    return [
        weight.detach()
        for name, weight in module.named_parameters()
        if weight.dim() == 2 and "embed_tokens" not in name
    ]


def bare_products(module: LanguageModel, rows: int, steps: int) -> Callable[[], None]:
    """An action: ``steps`` times each weight matrix but the embedding times ``rows`` vectors."""
    matrices = _matrices(module)
    vectors = {width: torch.randn(rows, width) for width in {w.shape[1] for w in matrices}}

    def multiply() -> None:
        with torch.inference_mode():
            for _ in range(steps):
                for matrix in matrices:
                    torch.nn.functional.linear(vectors[matrix.shape[1]], matrix)

    return multiply
