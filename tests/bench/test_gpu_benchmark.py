"""The GPU's benchmark, run on a CPU: every row comes out, and what must agree agrees exactly."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from proxylm.bench.gpu import run_gpu_benchmark, uncompiled_halves
from proxylm.models.config import EvaAttention, ModelConfig
from proxylm.models.kernels import dispatch

TINY = ModelConfig(
    vocabulary_size=320,
    layers=1,
    width=32,
    ffn=48,
    heads=2,
    attention=EvaAttention(window=32, chunk=8),
    context=128,
)


def test_rows_of_the_benchmark() -> None:
    rows = run_gpu_benchmark(
        "cpu", decoded=TINY, parity=TINY, rows=(1, 3), new_bytes=9, repeats=1, trains=False
    )
    by_case = {row.case.removeprefix("gpu/"): row for row in rows}
    assert list(by_case)[:4] == ["decode/1", "decode/1/reading", "decode/3", "decode/3/reading"]
    assert all(row.value > 0 for case, row in by_case.items() if case.startswith("decode"))
    for attention in ("eva", "causal"):
        found = {
            name: by_case[f"parity/{attention}/{name}"]
            for name in ("loss", "loss-bfloat16", "gradients", "steps")
        }
        assert found["loss"].value == found["gradients"].value == 0  # of the same device
        assert 0 < found["loss-bfloat16"].value < found["loss-bfloat16"].yardstick
        assert 0 < found["steps"].value < found["steps"].yardstick


def test_numbers_that_differ_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*given: Any) -> Tensor:
        return dispatch.step_layers(*given) * 1.01

    monkeypatch.setattr("proxylm.models.language_model.step_for", lambda *_: wrong)
    rows = run_gpu_benchmark(
        "cpu", decoded=TINY, parity=TINY, rows=(), new_bytes=9, repeats=1, trains=False
    )
    steps = [row for row in rows if row.case.endswith("/steps")]
    assert len(steps) == 2
    assert all(row.value > row.yardstick for row in steps)


def test_halves_are_compiled_again_afterwards() -> None:
    before = dispatch.half_blocks_on
    with pytest.raises(ZeroDivisionError), uncompiled_halves():
        assert dispatch.half_blocks_on("cuda") == before("cpu")
        raise ZeroDivisionError
    assert dispatch.half_blocks_on is before
