"""``proxylm bench``: measure the fast parts beside their yardsticks, in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli.output import JsonOption, bars_or_lines, emit, note, table
from proxylm.cli.reading import RunArgument
from proxylm.cli.serve import require_serving

if TYPE_CHECKING:
    from proxylm.bench.report import BenchmarkRow
    from proxylm.progress import TellCount

app = typer.Typer(no_args_is_help=True)


@app.command()
def loader(json: JsonOption = False) -> None:
    """Materializing packed contexts, beside a plain copy of the same bytes.

    Example: proxylm bench loader --json
    """
    from proxylm.bench.loader import run_loader_benchmark

    _print("loader", run_loader_benchmark, as_json=json)


@app.command()
def prepare(json: JsonOption = False) -> None:
    """Compressing a corpus into a view store, beside the tokenizer library's fastest call.

    Example: proxylm bench prepare --json
    """
    from proxylm.bench.prepare import run_prepare_benchmark

    _print("prepare", run_prepare_benchmark, as_json=json)


@app.command()
def train(
    device: Annotated[str, typer.Option(help="auto, cpu or cuda: larger sizes.")] = "cpu",
    json: JsonOption = False,
) -> None:
    """Forward and backward of a training step, beside a plain transformer and matrix products.

    Example: proxylm bench train --json
    """
    from proxylm.bench.train import run_train_benchmark

    _print("train", partial(run_train_benchmark, device), as_json=json)


@app.command()
def gpu(json: JsonOption = False) -> None:
    """What a GPU trains and decodes, and how far its numbers lie from the CPU's.

    Where there is none it says so, and measures nothing.

    Example: proxylm bench gpu --json
    """
    import torch

    from proxylm.bench.gpu import run_gpu_benchmark

    if torch.cuda.is_available():
        _print("gpu", run_gpu_benchmark, as_json=json)
    else:
        note("no GPU that torch can use: training, decoding and agreement there are not measured")


@app.command()
def generate(json: JsonOption = False) -> None:
    """Decoding byte by byte, beside the matrix products it cannot avoid; several bytes per pass.

    The last on a model of eight heads that is trained here first, for a few minutes. And reading a
    long prompt mixed, beside reading it as bytes.

    Example: proxylm bench generate --json
    """
    from proxylm.bench.generate import run_generate_benchmark
    from proxylm.bench.multi_byte import run_multi_byte_benchmark
    from proxylm.bench.prefill import run_prefill_benchmark

    def measure(*, progress: TellCount) -> list[BenchmarkRow]:
        rows = [*run_generate_benchmark(progress=progress), *run_prefill_benchmark()]
        return rows + run_multi_byte_benchmark(progress=progress)

    _print("generate", measure, as_json=json)


@app.command()
def drafts(
    model: RunArgument,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Texts whose stretches are continued.")
    ],
    prompts: Annotated[int, typer.Option(min=1, help="Stretches that are continued.")] = 16,
    prompt_bytes: Annotated[int, typer.Option(min=1, help="Bytes read of each.")] = 1024,
    new_bytes: Annotated[int, typer.Option(min=8, help="Bytes written after each.")] = 128,
    json: JsonOption = False,
) -> None:
    """A model's several bytes per pass beside one, on files: what --drafter gives you.

    Example: proxylm bench drafts runs/mine src/main.py --json
    """
    from proxylm.bench.drafts import run_drafts_benchmark
    from proxylm.generation.loading import load

    lengths: dict[str, Any] = {
        "prompts": prompts,
        "prompt_bytes": prompt_bytes,
        "new_bytes": new_bytes,
    }
    measure = partial(run_drafts_benchmark, load(model).module, files, **lengths)
    _print("drafts", measure, as_json=json)


@app.command()
def neural(
    compressor: Annotated[
        Path | None,
        typer.Option(help="A neural compressor with 16-bit windows; default: one is trained."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """The neural compressor's coder in its four forms, and what whole corpora cost it.

    Example: proxylm bench neural --compressor compressors/neural --json
    """
    from proxylm.bench.neural import run_neural_benchmark
    from proxylm.pipelines.neural_compressor import Reports
    from proxylm.training.progress import TellSteps

    def measure(*, progress: TellCount) -> list[BenchmarkRow]:
        reports = Reports(say=note, progress=progress, callbacks=[TellSteps(progress)])
        return run_neural_benchmark(compressor, reports=reports)

    _print("neural", measure, as_json=json)


@app.command()
def serve(json: JsonOption = False) -> None:
    """A server's bytes per second and its clients' waits: eight, a long prompt, a known one.

    Example: proxylm bench serve --json
    """
    require_serving()
    from proxylm.bench.serve import run_serve_benchmark

    _print("serve", run_serve_benchmark, as_json=json)


@app.command()
def start(json: JsonOption = False) -> None:
    """Seconds until a new process shows its first byte, listens or helps, beside import torch.

    Example: proxylm bench start --json
    """
    require_serving()
    from proxylm.bench.start import run_start_benchmark

    _print("start", run_start_benchmark, as_json=json)


@app.command()
def sandbox(json: JsonOption = False) -> None:
    """Judging a generated program in each isolation tier, beside a plain Python process.

    Example: proxylm bench sandbox --json
    """
    from proxylm.bench.sandbox import run_sandbox_benchmark

    _print("sandbox", run_sandbox_benchmark, as_json=json)


def _print(name: str, measure: Callable[..., Sequence[BenchmarkRow]], *, as_json: bool) -> None:
    with bars_or_lines() as show:
        rows = measure(progress=show)
    headers = ["case", "value", "unit", "yardstick", "ratio", "yardstick is"]
    lines = [
        [r.case, f"{r.value:.4g}", r.unit, f"{r.yardstick:.4g}", f"{r.ratio:.3f}", r.yardstick_is]
        for r in rows
    ]
    result = {"benchmark": name, "rows": [row.to_json() for row in rows]}
    emit(result, as_json=as_json, text=table(headers, lines))
