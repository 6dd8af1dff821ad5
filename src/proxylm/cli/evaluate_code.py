"""``proxylm evaluate humaneval|mbpp|prompt-boundary|recode|translation``: generated programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli.evaluation_options import (
    DRAWN,
    DRAWN_OFTEN,
    GREEDY,
    GREEDY_AS_BYTES,
    PROBLEMS,
    PROBLEMS_AT_HAND,
    OutOption,
    about_programs,
    job_of,
    load_for,
    report_object,
    shown_progress,
    writer_of,
)
from proxylm.cli.options import options
from proxylm.cli.output import JsonOption, emit, table
from proxylm.cli.reading import (
    BYTES,
    CompressorOption,
    DeviceOption,
    ReadAsOption,
    RunArgument,
    compressor_for,
)
from proxylm.errors import UsageError

if TYPE_CHECKING:
    from proxylm.evaluation.answers.options import GenerationChoices, ProblemChoice
    from proxylm.evaluation.benchmarks.problem import Benchmark


@options(problems=PROBLEMS, choices=DRAWN_OFTEN)
def humaneval(
    run: RunArgument,
    problems: ProblemChoice,
    choices: GenerationChoices,
    read_as: ReadAsOption = BYTES,
    compressor: CompressorOption = None,
    out: OutOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """HumanEval or HumanEval+: pass@k, and bits per byte of the canonical solutions.

    Generated programs are run only with --execute. A run that was stopped goes on.

    Example: proxylm evaluate humaneval runs/demo/proxy --limit 20 --execute
    """
    benchmark = _benchmark("humaneval", problems)
    _code(run, benchmark, choices, read_as, compressor, out, device, as_json=json)


@options(problems=PROBLEMS, choices=DRAWN_OFTEN)
def mbpp(
    run: RunArgument,
    problems: ProblemChoice,
    choices: GenerationChoices,
    read_as: ReadAsOption = BYTES,
    compressor: CompressorOption = None,
    out: OutOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """MBPP or MBPP+: pass@k, and bits per byte of the canonical solutions.

    MBPP is read from --data, as it was released or in HumanEval's form.

    Example: proxylm evaluate mbpp runs/demo/proxy --plus --data MbppPlus.jsonl.gz --execute
    """
    benchmark = _benchmark("mbpp", problems)
    _code(run, benchmark, choices, read_as, compressor, out, device, as_json=json)


@options(problems=PROBLEMS, choices=GREEDY)
def prompt_boundary(
    run: RunArgument,
    problems: ProblemChoice,
    choices: GenerationChoices,
    read_as: ReadAsOption = BYTES,
    compressor: CompressorOption = None,
    out: OutOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """HumanEval under nine endings of the prompt: mean and standard deviation of pass@1.

    Greedy. Beside it, bits per byte of the canonical solutions under each ending.

    Example: proxylm evaluate prompt-boundary runs/demo/proxy --no-generate
    """
    from proxylm.cli.evaluation_tables import boundary_rows
    from proxylm.evaluation.prompt_boundary import evaluate_boundary

    benchmark = _benchmark("humaneval", problems)
    writer = writer_of(load_for(run, choices, device), run, read_as, compressor)
    name = f"prompt-boundary-{benchmark.name}"
    with shown_progress() as progress:
        job = job_of(choices, writer, name, run, out, progress)
        report = evaluate_boundary(writer, benchmark, job)
    about = about_programs(writer.model, run, choices, {benchmark.name: [benchmark]})
    _emit(report_object(report, about), boundary_rows(report), as_json=json)


@options(problems=PROBLEMS_AT_HAND, choices=DRAWN)
def recode(
    run: RunArgument,
    problems: ProblemChoice,
    choices: GenerationChoices,
    data: Annotated[
        Path | None, typer.Option(help="ReCode's release: its folder, or the .tar.xz of it.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="s: most seeds of a random perturbation.")] = 5,
    read_as: ReadAsOption = BYTES,
    compressor: CompressorOption = None,
    out: OutOption = None,
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
    chosen = {"limit": problems.limit, "task_ids": problems.problems}
    families = [one.select(**chosen) for one in load_recode(data, seeds=seeds)]
    writer = writer_of(load_for(run, choices, device), run, read_as, compressor)
    with shown_progress() as progress:
        job = job_of(choices, writer, "recode", run, out, progress)
        report = evaluate_recode(writer, families, job)
    about = about_programs(
        writer.model, run, choices, {"recode": list(recode_conditions(families).values())}
    )
    _emit(report_object(report, about), recode_rows(report), as_json=json)


@options(problems=PROBLEMS, choices=GREEDY_AS_BYTES)
def translation(
    run: RunArgument,
    problems: ProblemChoice,
    choices: GenerationChoices,
    compressor: CompressorOption = None,
    separately: Annotated[
        bool, typer.Option("--separately", help="Compress prompt and solution each on its own.")
    ] = False,
    out: OutOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """In-context translation on HumanEval: the solution compressed in the prompt, bytes out.

    pass@1, exact match and edit similarity, greedy; the gain in bits per byte beside them.

    Example: proxylm evaluate translation runs/demo/proxy --limit 20 --execute
    """
    from proxylm.cli.evaluation_tables import translation_rows
    from proxylm.evaluation.translation import (
        OraclePrompts,
        TranslationWriter,
        evaluate_translation,
    )

    benchmark = _benchmark("humaneval", problems)
    model = load_for(run, choices, device)
    model.config.require_compressed_symbols()
    chosen = compressor_for(run, compressor)
    if chosen is None:
        raise UsageError("translation needs the model's compressor: give --compressor")
    writer = TranslationWriter(model, OraclePrompts(model, chosen, jointly=not separately))
    with shown_progress() as progress:
        job = job_of(choices, writer, f"translation-{benchmark.name}", run, out, progress)
        report = evaluate_translation(writer, benchmark, job)
    about = about_programs(model, run, choices, {benchmark.name: [benchmark]})
    _emit(report_object(report, about), translation_rows(report), as_json=json)


def _benchmark(name: str, chosen: ProblemChoice) -> Benchmark:
    from proxylm.evaluation.benchmarks.catalog import load_benchmark

    benchmark = load_benchmark(f"{name}-plus" if chosen.plus else name, chosen.data)
    return benchmark.select(limit=chosen.limit, task_ids=chosen.problems)


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
