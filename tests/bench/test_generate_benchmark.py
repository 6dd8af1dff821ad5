"""The generation benchmark at a tiny size: its rows, and that its model never stops early."""

from __future__ import annotations

import pytest
import torch

from proxylm.bench.generate import (
    PROMPT,
    bare_products,
    bare_reading,
    endless_model,
    run_generate_benchmark,
)
from proxylm.models.config import EvaAttention, ModelConfig
from proxylm.models.stored_matrices import WeightType, store_matrices
from proxylm.threads import torch_threads

TINY = ModelConfig(
    vocabulary_size=320,
    layers=1,
    width=32,
    ffn=48,
    heads=2,
    attention=EvaAttention(window=16, chunk=4),
    context=64,
)


def test_rows_of_the_benchmark() -> None:
    rows = run_generate_benchmark(config=TINY, small=TINY, large=TINY, new_bytes=20, repeats=1)
    assert [row.case.removeprefix("generate/") for row in rows] == [
        "laptop/one-byte",
        "laptop/batch-8",
        "demo/one-byte",
        "demo/batch-8",
        "demo/batch-16",
        "large/one-byte-f32",
        "large/one-byte-bf16",
    ]
    for row in rows:
        assert row.unit == "bytes/s"
        assert row.value > 0
        assert row.ratio == pytest.approx(row.value / row.yardstick)


def test_the_model_makes_as_many_bytes_as_asked() -> None:
    assert len(endless_model(TINY).generate(PROMPT, max_new_bytes=300)) == 300


def test_the_yardstick_multiplies_every_matrix_but_the_embedding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = endless_model(TINY).module
    products: list[int] = []
    linear = torch.nn.functional.linear
    monkeypatch.setattr(
        torch.nn.functional,
        "linear",
        lambda x, weight: products.append(weight.numel()) or linear(x, weight),
    )
    bare_products(module, rows=1, steps=2)()
    assert sum(products) == 2 * TINY.matrix_parameter_count


@pytest.mark.parametrize(("weights", "bytes_each"), [("float32", 4), ("bfloat16", 2)])
def test_the_other_yardstick_reads_every_byte_of_them(
    monkeypatch: pytest.MonkeyPatch, weights: str, bytes_each: int
) -> None:
    module = endless_model(TINY).module
    store_matrices(module, WeightType(weights))
    read: list[int] = []
    monkeypatch.setattr(torch, "sum", lambda matrix: read.append(matrix.nbytes))
    bare_reading(module, steps=2)()
    assert sum(read) == 2 * bytes_each * TINY.matrix_parameter_count


def test_the_number_of_threads_comes_back() -> None:
    before = torch.get_num_threads()
    with torch_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
