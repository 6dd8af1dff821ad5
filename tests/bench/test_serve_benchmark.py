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
    context=1024,
)


def test_rows_of_the_benchmark() -> None:
    rows = run_serve_benchmark(config=TINY, new_bytes=150, repeats=1)
    several, one, *waits = rows
    assert [several.case, one.case] == [f"serve/clients-{CLIENTS}", "serve/clients-1"]
    names = ["clients-8/first-byte", "clients-8/between-bytes", "long-prompt/between-bytes"]
    assert [row.case for row in waits] == [
        *(f"serve/{name}-p{percentile}" for name in names for percentile in (50, 95, 99)),
        "serve/prefix/first-byte",
    ]
    for row in (several, one):
        assert row.unit == "bytes/s"
        assert row.ratio == pytest.approx(row.value / row.yardstick)
    for row in waits:
        assert row.unit == "s" and row.value > 0
        assert row.ratio == pytest.approx(row.yardstick / row.value)
    assert multiprocessing.active_children() == [], "the servers have ended"
