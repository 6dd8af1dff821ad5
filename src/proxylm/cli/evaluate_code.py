"""``proxylm evaluate humaneval|mbpp|prompt-boundary|recode|translation``: generated programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli.evaluation_options import (
    CompressorOption,
    DeviceOption,
    ExecuteOption,
    GenerateOption,
    GenerationChoices,
    KOption,
    LimitOption,
    MaxBytesOption,
    MaxTokensOption,
    OutOption,
    ProblemOption,
    ReadAsOption,
    RunArgument,
    SamplesOption,
    SeedOption,
    TemperatureOption,
    TopPOption,
    WorkersOption,
    about_programs,
    compressor_for,
    job_of,
    load_for,
    report_object,
    shown_progress,
    writer_of,
)
from proxylm.cli.output import JsonOption, emit, table
from proxylm.errors import UsageError

if TYPE_CHECKING:
    from proxylm.evaluation.benchmarks.problem import Benchmark

DataOption = Annotated[
    Path | None, typer.Option(help="The benchmark's file. (default: where its package has it)")
]
PlusOption = Annotated[bool, typer.Option("--plus", help="The EvalPlus form, with its tests.")]


def humaneval(
    run: RunArgument,
    plus: PlusOption = False,
    data: DataOption = None,
    read_as: ReadAsOption = "bytes",
    compressor: CompressorOption = None,
    execute: ExecuteOption = False,
    generate: GenerateOption = True,
    samples: SamplesOption = 1,
    temperature: TemperatureOption = 0.0,
    top_p: TopPOption = 1.0,
    seed: SeedOption = 0,
    k: KOption = None,
    max_new_bytes: MaxBytesOption = 2048,
    max_new_tokens: MaxTokensOption = 512,
    limit: LimitOption = None,
    problem: ProblemOption = None,
    out: OutOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """HumanEval or HumanEval+: pass@k, and bits per byte of the canonical solutions.

    Generated programs are run only with --execute. A run that was stopped goes on.

    Example: proxylm evaluate humaneval runs/demo/proxy --limit 20 --execute
    """
    choices = GenerationChoices(
        generate=generate,
        execute=execute,
        samples=samples,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        ks=k,
        max_new_bytes=max_new_bytes,
        max_new_tokens=max_new_tokens,
        workers=workers,
    )
    benchmark = _benchmark("humaneval", plus, data, limit, problem)
    _code(run, benchmark, choices, read_as, compressor, out, device, as_json=json)


def mbpp(
    run: RunArgument,
    plus: PlusOption = False,
    data: DataOption = None,
    read_as: ReadAsOption = "bytes",
    compressor: CompressorOption = None,
    execute: ExecuteOption = False,
    generate: GenerateOption = True,
    samples: SamplesOption = 1,
    temperature: TemperatureOption = 0.0,
    top_p: TopPOption = 1.0,
    seed: SeedOption = 0,
    k: KOption = None,
    max_new_bytes: MaxBytesOption = 2048,
    max_new_tokens: MaxTokensOption = 512,
    limit: LimitOption = None,
    problem: ProblemOption = None,
    out: OutOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """MBPP or MBPP+: pass@k, and bits per byte of the canonical solutions.

    MBPP is read from --data, as it was released or in HumanEval's form.

    Example: proxylm evaluate mbpp runs/demo/proxy --plus --data MbppPlus.jsonl.gz --execute
    """
    choices = GenerationChoices(
        generate=generate,
        execute=execute,
        samples=samples,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        ks=k,
        max_new_bytes=max_new_bytes,
        max_new_tokens=max_new_tokens,
        workers=workers,
    )
    benchmark = _benchmark("mbpp", plus, data, limit, problem)
    _code(run, benchmark, choices, read_as, compressor, out, device, as_json=json)


def prompt_boundary(
    run: RunArgument,
    plus: PlusOption = False,
    data: DataOption = None,
    read_as: ReadAsOption = "bytes",
    compressor: CompressorOption = None,
    execute: ExecuteOption = False,
    generate: GenerateOption = True,
    max_new_bytes: MaxBytesOption = 2048,
    max_new_tokens: MaxTokensOption = 512,
    limit: LimitOption = None,
    problem: ProblemOption = None,
    out: OutOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """HumanEval under nine endings of the prompt: mean and standard deviation of pass@1.

    Greedy. Beside it, bits per byte of the canonical solutions under each ending.

    Example: proxylm evaluate prompt-boundary runs/demo/proxy --no-generate
    """
    from proxylm.cli.evaluation_tables import boundary_rows
    from proxylm.evaluation.prompt_boundary import evaluate_boundary

    choices = GenerationChoices(
        generate=generate,
        execute=execute,
        max_new_bytes=max_new_bytes,
        max_new_tokens=max_new_tokens,
        workers=workers,
    )
    benchmark = _benchmark("humaneval", plus, data, limit, problem)
    writer = writer_of(load_for(run, choices, device), run, read_as, compressor)
    name = f"prompt-boundary-{benchmark.name}"
    with shown_progress() as progress:
        job = job_of(choices, writer, name, run, out, progress)
        report = evaluate_boundary(writer, benchmark, job)
    about = about_programs(writer.model, run, choices, {benchmark.name: [benchmark]})
    _emit(report_object(report, about), boundary_rows(report), as_json=json)


def recode(
    run: RunArgument,
    data: Annotated[
        Path | None, typer.Option(help="ReCode's release: its folder, or the .tar.xz of it.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="s: most seeds of a random perturbation.")] = 5,
    read_as: ReadAsOption = "bytes",
    compressor: CompressorOption = None,
    execute: ExecuteOption = False,
    generate: GenerateOption = True,
    samples: SamplesOption = 1,
    temperature: TemperatureOption = 0.0,
    top_p: TopPOption = 1.0,
    seed: SeedOption = 0,
    max_new_bytes: MaxBytesOption = 2048,
    max_new_tokens: MaxTokensOption = 512,
    limit: LimitOption = None,
    problem: ProblemOption = None,
    out: OutOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """ReCode, HumanEval split: robust pass, drop and relative at 1, in all four families.

    Per perturbation, per family (mean and worst case) and over all; robust bits per byte beside.

    Example: proxylm evaluate recode runs/demo/proxy --data recode-humaneval.tar.xz --no-generate
    """
    from proxylm.cli.evaluation_tables import recode_rows
    from proxylm.evaluation.recode.evaluation import evaluate_recode, recode_conditions
    from proxylm.evaluation.recode.folder import load_recode

    if data is None:
        raise UsageError("ReCode comes with no package: give its folder or archive with --data")
    choices = GenerationChoices(
        generate=generate,
        execute=execute,
        samples=samples,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        max_new_bytes=max_new_bytes,
        max_new_tokens=max_new_tokens,
        workers=workers,
    )
    families = [
        one.select(limit=limit, task_ids=problem or ()) for one in load_recode(data, seeds=seeds)
    ]
    writer = writer_of(load_for(run, choices, device), run, read_as, compressor)
    with shown_progress() as progress:
        job = job_of(choices, writer, "recode", run, out, progress)
        report = evaluate_recode(writer, families, job)
    about = about_programs(
        writer.model, run, choices, {"recode": list(recode_conditions(families).values())}
    )
    _emit(report_object(report, about), recode_rows(report), as_json=json)


def translation(
    run: RunArgument,
    plus: PlusOption = False,
    data: DataOption = None,
    compressor: CompressorOption = None,
    separately: Annotated[
        bool, typer.Option("--separately", help="Compress prompt and solution each on its own.")
    ] = False,
    execute: ExecuteOption = False,
    generate: GenerateOption = True,
    max_new_bytes: MaxBytesOption = 2048,
    limit: LimitOption = None,
    problem: ProblemOption = None,
    out: OutOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """In-context translation on HumanEval: the solution compressed in the prompt, bytes out.

    pass@1, exact match and edit similarity, greedy; the gain in bits per byte beside them.

    Example: proxylm evaluate translation runs/demo/proxy --limit 20 --execute
    """
    from proxylm.cli.evaluation_tables import translation_rows
    from proxylm.evaluation.translation import (
        TranslationWriter,
        evaluate_translation,
    )

    choices = GenerationChoices(
        generate=generate, execute=execute, max_new_bytes=max_new_bytes, workers=workers
    )
    benchmark = _benchmark("humaneval", plus, data, limit, problem)
    model = load_for(run, choices, device)
    model.config.require_compressed_symbols()
    chosen = compressor_for(run, compressor)
    if chosen is None:
        raise UsageError("translation needs the model's compressor: give --compressor")
    writer = TranslationWriter(model, chosen, jointly=not separately)
    with shown_progress() as progress:
        job = job_of(choices, writer, f"translation-{benchmark.name}", run, out, progress)
        report = evaluate_translation(writer, benchmark, job)
    about = about_programs(model, run, choices, {benchmark.name: [benchmark]})
    _emit(report_object(report, about), translation_rows(report), as_json=json)


def _benchmark(
    name: str, plus: bool, data: Path | None, limit: int | None, problems: list[str] | None
) -> Benchmark:
    from proxylm.evaluation.benchmarks.catalog import load_benchmark

    benchmark = load_benchmark(f"{name}-plus" if plus else name, data)
    return benchmark.select(limit=limit, task_ids=problems or ())


def _code(
    run: Path,
    benchmark: Benchmark,
    choices: GenerationChoices,
    read_as: str,
    compressor: str | None,
    out: Path | None,
    device: str,
    *,
    as_json: bool,
) -> None:
    from proxylm.cli.evaluation_tables import code_rows
    from proxylm.evaluation.code_generation import evaluate_code

    writer = writer_of(load_for(run, choices, device), run, read_as, compressor)
    with shown_progress() as progress:
        job = job_of(choices, writer, benchmark.name, run, out, progress)
        report = evaluate_code(writer, benchmark, job)
    about = about_programs(writer.model, run, choices, {benchmark.name: [benchmark]})
    _emit(report_object(report, about), code_rows(report), as_json=as_json)


def _emit(report: dict[str, Any], rows: list[list[str]], *, as_json: bool) -> None:
    emit(report, as_json=as_json, text=table(rows[0], rows[1:]))
