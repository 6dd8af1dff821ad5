"""Training speed: forward and backward, float32, four documents per context, one context a step.

Sizes: width 384, 6 layers, 6 heads, FFN 1024, window 512, chunk 8, vocabulary 320. The yardstick
is a plain causal transformer of the same sizes without document masks; everything is measured in
turn in one process, so that a busy machine slows all of it alike. A second row per case sets the
needed operations beside the machine's matrix products; a last one is the peak memory.
"""

from __future__ import annotations

import time
from statistics import median

import torch

from proxylm.bench.plain_transformer import PlainTransformer
from proxylm.bench.report import BenchmarkRow
from proxylm.bench.train_memory import peak_training_bytes
from proxylm.bench.train_step import Step, document_layout, laptop_step, symbols
from proxylm.models.flops import training_flops
from proxylm.models.presets import preset
from proxylm.symbols import vocabulary_size

PEAK_MEMORY_LIMIT_BYTES = 2.9e9
_MATRIX_SIZE = 2048
_REPEATS = 3


def run_train_benchmark(*, repeats: int = _REPEATS) -> list[BenchmarkRow]:
    """All rows: ``train/{eva,llama}/{4096,8192}``, their ``/flops``, and peak memory at 8192."""
    rows = _rows_at(4096, {"eva": "laptop", "llama": "laptop-causal"}, repeats)
    rows += _rows_at(8192, {"eva": "laptop"}, repeats)
    peak = BenchmarkRow(
        case="train/eva/8192/peak-memory",
        value=peak_training_bytes(),
        unit="bytes",
        yardstick=PEAK_MEMORY_LIMIT_BYTES,
        yardstick_is="stated limit for the whole process",
        lower_is_better=True,
    )
    return [*rows, peak]


def _rows_at(context: int, cases: dict[str, str], repeats: int) -> list[BenchmarkRow]:
    steps: dict[str, Step] = {case: laptop_step(name, context) for case, name in cases.items()}
    steps |= {"plain": _plain_step(context), "product": _matrix_product_step()}
    seconds = _in_turn(steps, repeats)
    peak_flops = 2 * _MATRIX_SIZE**3 / seconds["product"]
    rows = []
    for case, name in cases.items():
        flops = training_flops(preset(name, context=context), document_layout(context))
        speed = BenchmarkRow(
            case=f"train/{case}/{context}",
            value=context / seconds[case],
            unit="symbols/s",
            yardstick=context / seconds["plain"],
            yardstick_is="plain causal transformer of the same sizes",
        )
        used = BenchmarkRow(
            case=f"train/{case}/{context}/flops",
            value=flops / seconds[case],
            unit="FLOP/s",
            yardstick=peak_flops,
            yardstick_is=f"product of two {_MATRIX_SIZE} x {_MATRIX_SIZE} matrices",
        )
        rows += [speed, used]
    return rows


def _in_turn(steps: dict[str, Step], repeats: int) -> dict[str, float]:
    # Median seconds of each; the first round warms up and does not count.
    timings: dict[str, list[float]] = {case: [] for case in steps}
    for repeat in range(repeats + 1):
        for case, step in steps.items():
            start = time.perf_counter()
            step()
            if repeat:
                timings[case].append(time.perf_counter() - start)
    return {case: median(values) for case, values in timings.items()}


def _plain_step(context: int) -> Step:
    model = PlainTransformer(vocabulary=vocabulary_size(0), width=384, layers=6, heads=6, ffn=1024)
    ids = symbols(context)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        model(ids, ids.roll(-1, dims=1)).backward()

    return step


def _matrix_product_step() -> Step:
    matrix = torch.ones(_MATRIX_SIZE, _MATRIX_SIZE)
    product = torch.empty_like(matrix)
    return lambda: torch.mm(matrix, matrix, out=product)
