"""``proxylm evaluate humaneval|mbpp|prompt-boundary|recode|translation``: generated programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli.evaluation_options import (
    BOUNDARY,
    CODE,
    RECODE,
    TRANSLATION,
    about_programs,
    benchmark_of,
    evaluation_folder,
    job_of,
    load_for,
    report_object,
    writer_of,
)
from proxylm.cli.options import options
from proxylm.cli.output import JsonOption, bars_or_lines, emit, table
from proxylm.cli.reading import DeviceOption, RunArgument, compressor_for
from proxylm.errors import UsageError

if TYPE_CHECKING:
    from proxylm.evaluation.answers.options import EvaluationSettings, SamplingPlan
    from proxylm.evaluation.answers.writers import ProgramWriter
    from proxylm.evaluation.benchmarks.problem import Benchmark


@options(settings=CODE)
def humaneval(
    run: RunArgument,
    settings: EvaluationSettings,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """HumanEval or HumanEval+: pass@k, and bits per byte of the canonical solutions.

    pass@1 is greedy; --samples 20 draws samples beside, for pass@10. HumanEval+ has two verdicts of
    the same completions: of EvalPlus's base tests, and of all. Programs are run only with
    --execute. A run that was stopped goes on.

    Example: proxylm evaluate humaneval runs/demo/proxy --limit 20 --execute
    """
    _code("humaneval", run, settings, device, as_json=json)


@options(settings=CODE)
def mbpp(
    run: RunArgument,
    settings: EvaluationSettings,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """MBPP or MBPP+: pass@k, and bits per byte of the canonical solutions.

    MBPP is read from --data, as it was released or in HumanEval's form. pass@1 is greedy;
    --samples 20 draws samples beside, for pass@10. MBPP+ has two verdicts of the same completions:
    of EvalPlus's base tests, and of all.

    Example: proxylm evaluate mbpp runs/demo/proxy --plus --data MbppPlus.jsonl.gz --execute
    """
    _code("mbpp", run, settings, device, as_json=json)


@options(settings=BOUNDARY)
def prompt_boundary(
    run: RunArgument,
    settings: EvaluationSettings,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """HumanEval under nine endings of the prompt: mean and standard deviation of pass@1.

    Greedy. Beside it, bits per byte of the canonical solutions under each ending.

    Example: proxylm evaluate prompt-boundary runs/demo/proxy --no-generate
    """
    from proxylm.cli.evaluation_tables import boundary_rows
    from proxylm.evaluation.prompt_boundary import evaluate_boundary

    benchmark = benchmark_of("humaneval", settings)
    writer = writer_of(load_for(run, settings, device), run, settings.reading)
    name, forms = f"prompt-boundary-{benchmark.name}", {benchmark.name: [benchmark]}
    evaluate = partial(evaluate_boundary, writer, benchmark)
    plans = [settings.greedy]
    _report(name, run, settings, writer, forms, evaluate, boundary_rows, plans, as_json=json)


@options(settings=RECODE)
def recode(
    run: RunArgument,
    settings: EvaluationSettings,
    data: Annotated[
        Path | None, typer.Option(help="ReCode's release: its folder, or the .tar.xz of it.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="s: most seeds of a random perturbation.")] = 5,
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
    families = [
        one.select(limit=settings.limit, task_ids=settings.problems)
        for one in load_recode(data, seeds=seeds)
    ]
    writer = writer_of(load_for(run, settings, device), run, settings.reading)
    forms = {"recode": list(recode_conditions(families).values())}
    evaluate = partial(evaluate_recode, writer, families)
    plans = [settings.sampled or settings.greedy]
    _report("recode", run, settings, writer, forms, evaluate, recode_rows, plans, as_json=json)


@options(settings=TRANSLATION)
def translation(
    run: RunArgument,
    settings: EvaluationSettings,
    separately: Annotated[
        bool, typer.Option("--separately", help="Compress prompt and solution each on its own.")
    ] = False,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """In-context translation on HumanEval: the solution compressed in the prompt, bytes out.

    pass@1, exact match and edit similarity, greedy; the gain in bits per byte beside them.

    Example: proxylm evaluate translation runs/demo/proxy --limit 20 --execute
    """
    from proxylm.cli.evaluation_tables import translation_rows
    from proxylm.evaluation.translation import TranslationWriter, evaluate_translation

    benchmark = benchmark_of("humaneval", settings)
    model = load_for(run, settings, device)
    model.config.require_compressed_symbols()
    compressor = compressor_for(run, settings.reading.compressor)
    if compressor is None:
        raise UsageError("translation needs the model's compressor: give --compressor")
    writer = TranslationWriter(model, compressor, jointly=not separately)
    name, forms = f"translation-{benchmark.name}", {benchmark.name: [benchmark]}
    evaluate = partial(evaluate_translation, writer, benchmark)
    plans = [settings.greedy]
    _report(name, run, settings, writer, forms, evaluate, translation_rows, plans, as_json=json)


def _code(
    name: str, run: Path, settings: EvaluationSettings, device: str, *, as_json: bool
) -> None:
    from proxylm.cli.evaluation_tables import code_rows
    from proxylm.evaluation.code_generation import evaluate_code

    benchmark = benchmark_of(name, settings)
    writer = writer_of(load_for(run, settings, device), run, settings.reading)
    forms = {benchmark.name: [benchmark]}
    evaluate = partial(evaluate_code, writer, benchmark)
    plans, name = [settings.greedy, settings.sampled], benchmark.name
    _report(name, run, settings, writer, forms, evaluate, code_rows, plans, as_json=as_json)


def _report(
    name: str,
    run: Path,
    settings: EvaluationSettings,
    writer: ProgramWriter,
    forms: Mapping[str, Sequence[Benchmark]],
    evaluate: Callable[..., Any],
    rows_of: Callable[[Any], list[list[str]]],
    plans: Sequence[SamplingPlan | None],
    *,
    as_json: bool,
) -> None:
    """Evaluate by what each plan draws, in folders of that name, and print the report.

    ``forms`` is all that is read.
    """
    base = evaluation_folder(run)
    with bars_or_lines() as show:
        jobs = [job_of(settings, one, base, show, writer, name) for one in plans]
        report = evaluate(*jobs, progress=show)
    about = about_programs(writer.model, run, settings, forms)
    headers, *rows = rows_of(report)
    emit(report_object(report, about), as_json=as_json, text=table(headers, rows))
