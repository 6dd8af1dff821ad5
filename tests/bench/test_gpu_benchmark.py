"""The GPU's benchmark, run on a CPU: every row comes out, and what must agree agrees exactly."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from proxylm.bench import gpu
from proxylm.bench.report import BenchmarkRow
from proxylm.models.config import ModelConfig
from proxylm.models.kernels import dispatch
from small_models import ATTENTIONS, SMALL

TINY = ModelConfig(vocabulary_size=320, attention=ATTENTIONS["eva"], **SMALL | {"context": 128})


@pytest.fixture(autouse=True)
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows are those of another benchmark."""
    monkeypatch.setattr(gpu, "run_train_benchmark", lambda *_, **__: [])


def rows_on_a_cpu(*rows: int) -> list[BenchmarkRow]:
    sizes = {"decoded": TINY, "parity": TINY, "new_bytes": 9, "repeats": 1}
    return gpu.run_gpu_benchmark("cpu", rows=rows, **sizes)


def test_rows_of_the_benchmark() -> None:
    by_case = {row.case.removeprefix("gpu/"): row for row in rows_on_a_cpu(1, 3)}
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
    steps = [row for row in rows_on_a_cpu() if row.case.endswith("/steps")]
    assert len(steps) == 2
    assert all(row.value > row.yardstick for row in steps)
