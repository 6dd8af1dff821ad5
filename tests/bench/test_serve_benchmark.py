"""The serving benchmark at a tiny size: a real server, and rows as they should be."""

from __future__ import annotations

import multiprocessing

import pytest

from proxylm.bench.serve import CLIENTS, run_serve_benchmark
from proxylm.models.config import EvaAttention, ModelConfig

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
    rows = run_serve_benchmark(config=TINY, new_bytes=20, repeats=1)
    assert [row.case for row in rows] == [f"serve/clients-{CLIENTS}", "serve/clients-1"]
    for row in rows:
        assert row.unit == "bytes/s"
        assert row.value > 0
        assert row.ratio == pytest.approx(row.value / row.yardstick)
    assert multiprocessing.active_children() == [], "the servers have ended"
