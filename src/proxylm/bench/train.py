"""Training speed: forward and backward, four documents per context, one context a step.

On a CPU in float32 with the laptop's sizes, on a GPU under bfloat16 autocast with those of the
paper's 0.5B model. The yardstick is a plain causal transformer of the same sizes without document
masks; everything is measured in turn in one process, so that a busy machine slows all of it alike.
A second row per case sets the needed operations beside the machine's matrix products; on a CPU a
last one is the peak memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from proxylm.bench.peak_memory import peak_memory_of
from proxylm.bench.plain_transformer import PlainTransformer
from proxylm.bench.report import BenchmarkRow, alternate, rows_of
from proxylm.bench.train_busy import run_busy_benchmark
from proxylm.bench.train_step import (
    Step,
    document_layout,
    few_steps,
    forward_and_backward,
    model_step,
    symbols,
)
from proxylm.device import resolve_device
from proxylm.models.config import ModelConfig
from proxylm.models.flops import training_flops
from proxylm.models.presets import preset
from proxylm.progress import TellCount, untold
from proxylm.training.device import Place

PEAK_MEMORY_LIMIT_BYTES = 2.9e9
_REPEATS = 3
# One product alone is over before a GPU has told that it is.
_PRODUCTS_PER_TIMING = 8


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What is measured on a kind of device.

    Attributes:
        place: device and precision.
        preset: the EVA model; ``llama`` is causal attention in its sizes.
        cases: per context length, which of ``eva`` and ``llama`` are measured.
        matrix_size: rows and columns of the products that tell the machine's peak.
    """

    place: Place
    preset: str
    cases: dict[int, tuple[str, ...]]
    matrix_size: int

    def config(self, case: str, context: int) -> ModelConfig:
        """The model of one case."""
        eva = preset(self.preset, context=context)
        if case == "eva":
            return eva
        attention = {"kind": "causal", "kv_heads": eva.heads}
        return preset(self.preset, context=context, attention=attention)


def scale_of(device: torch.device) -> Scale:
    """The laptop's sizes, or those that fill a GPU."""
    if device.type == "cuda":
        return Scale(
            place=Place(device=device, autocast=True),
            preset="evabyte-0.5b",
            cases={16_384: ("eva", "llama")},
            matrix_size=8192,
        )
    return Scale(
        place=Place(device=device, autocast=False),
        preset="laptop",
        cases={4096: ("eva", "llama"), 8192: ("eva",)},
        matrix_size=2048,
    )


def run_train_benchmark(
    device: str = "cpu", *, repeats: int = _REPEATS, progress: TellCount = untold
) -> list[BenchmarkRow]:
    """Rows ``train/{eva,llama}/<context>`` and their ``/flops``.

    On a CPU also peak memory at 8192, and whole updates of the demo's model (``train_busy``).

    Raises:
        UsageError: see ``resolve_device``.
    """
    scale = scale_of(resolve_device(device))
    cases: list[Callable[[], list[BenchmarkRow]]] = [
        partial(_rows_at, context, scale, repeats) for context in scale.cases
    ]
    if scale.place.device.type == "cpu":
        cases += [lambda: [_peak_memory(scale)], partial(run_busy_benchmark, repeats=repeats)]
    return rows_of(cases, progress)


def _peak_memory(scale: Scale) -> BenchmarkRow:
    case, limit_is = "train/eva/8192/peak-memory", "stated limit for the whole process"
    peak = peak_memory_of(few_steps, scale.config("eva", 8192), scale.place)
    return BenchmarkRow(
        case, peak, "bytes", PEAK_MEMORY_LIMIT_BYTES, limit_is, lower_is_better=True
    )


def _rows_at(context: int, scale: Scale, repeats: int) -> list[BenchmarkRow]:
    configs = {case: scale.config(case, context) for case in scale.cases[context]}
    steps = {case: model_step(config, scale.place) for case, config in configs.items()}
    steps |= {"plain": _plain_step(scale, context), "product": _matrix_product_step(scale)}
    actions = [waited_for(step, scale.place.device) for step in steps.values()]
    seconds = dict(zip(steps, alternate(*actions, repeats=repeats), strict=True))
    peak_flops = _PRODUCTS_PER_TIMING * 2 * scale.matrix_size**3 / seconds["product"]
    rows = []
    for case, config in configs.items():
        both = seconds[case], seconds["plain"]
        plain = "plain causal transformer of the same sizes"
        name = f"train/{case}/{context}"
        speed = BenchmarkRow.of_rates(name, context, "symbols/s", both, plain)
        flops = training_flops(config, document_layout(context)) / seconds[case]
        product = f"product of two {scale.matrix_size} x {scale.matrix_size} matrices"
        used = BenchmarkRow(f"{name}/flops", flops, "FLOP/s", peak_flops, product)
        rows += [speed, used]
    return rows


def waited_for(step: Step, device: torch.device) -> Step:
    """The step until a GPU, which is told of work and does it later, has done it."""

    def wait() -> None:
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return wait


def _plain_step(scale: Scale, context: int) -> Step:
    sizes = scale.config("eva", context)
    device = scale.place.device
    model = PlainTransformer(
        vocabulary=sizes.vocabulary_size,
        width=sizes.width,
        layers=sizes.layers,
        heads=sizes.heads,
        ffn=sizes.ffn,
    ).to(device)
    ids = symbols(context).to(device)
    targets = ids.roll(-1, dims=1)
    return forward_and_backward(model, lambda: model(ids, targets), scale.place)


def _matrix_product_step(scale: Scale) -> Step:
    size, place = scale.matrix_size, scale.place
    dtype = torch.bfloat16 if place.autocast else torch.float32
    matrix = torch.randn(size, size, device=place.device, dtype=dtype)
    product = torch.empty_like(matrix)

    def step() -> None:
        for _ in range(_PRODUCTS_PER_TIMING):
            torch.mm(matrix, matrix, out=product)

    return step
