"""``proxylm evaluate all``: everything at hand, one JSON object and one readable table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxylm.cli.evaluation_options import (
    EVALUATION_FOLDER,
    CompressorOption,
    DeviceOption,
    ExecuteOption,
    GenerationChoices,
    LimitOption,
    RunArgument,
    WorkersOption,
    compressor_for,
    job_of,
    load_for,
    shown_progress,
)
from proxylm.cli.output import JsonOption, emit, note, table

if TYPE_CHECKING:
    from proxylm.evaluation.generation.job import GenerationJob
    from proxylm.evaluation.generation.writers import ProgramWriter

RESULT_FILE = "all.json"


def evaluate_all(
    run: RunArgument,
    humaneval_plus: Annotated[
        Path | None, typer.Option(help="HumanEvalPlus.jsonl.gz. [default: what EvalPlus finds]")
    ] = None,
    mbpp: Annotated[Path | None, typer.Option(help="MBPP's file.")] = None,
    mbpp_plus: Annotated[
        Path | None, typer.Option(help="MbppPlus.jsonl.gz. [default: what EvalPlus finds]")
    ] = None,
    recode: Annotated[Path | None, typer.Option(help="ReCode's folder or archive.")] = None,
    seeds: Annotated[int, typer.Option(help="s of ReCode.")] = 5,
    tasks: Annotated[
        str, typer.Option(help="Tasks of lm-eval, comma-separated; olmes: the paper's nine.")
    ] = "",
    compressor: CompressorOption = None,
    execute: ExecuteOption = False,
    limit: LimitOption = None,
    held_out_bytes: Annotated[
        int | None, typer.Option(min=1, help="Held-out documents until so many bytes.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of everything written. [default: in RUN]")
    ] = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """All evaluations whose data is at hand, read as bytes and as tokens.

    Likelihood forms always; with --execute also greedy completions, pass@1 and what follows from
    it. HumanEval comes with its package; name the other files. What is left out is listed with
    its reason. The result is also written to all.json in the output folder.

    Example: proxylm evaluate all runs/demo/proxy --limit 20
    """
    from proxylm.cli.evaluation_tables import everything_rows
    from proxylm.evaluation.everything import Selection, evaluate_everything
    from proxylm.evaluation.run_data import run_data
    from proxylm.files import write_json

    choices = GenerationChoices(generate=execute, execute=execute, workers=workers)
    selection = Selection(
        benchmarks={
            "humaneval": None,
            "humaneval-plus": humaneval_plus,
            "mbpp": mbpp,
            "mbpp-plus": mbpp_plus,
        },
        recode=recode,
        seeds=seeds,
        limit=limit,
        held_out_bytes=held_out_bytes,
        harness_tasks=tuple(filter(None, map(str.strip, tasks.split(",")))),
    )
    model = load_for(run, choices, device)
    folder = out or run / EVALUATION_FOLDER
    if not execute:
        note("likelihood forms alone: pass@1 and what follows from it need --execute")
    with shown_progress() as progress:

        def job_for(writer: ProgramWriter, name: str) -> GenerationJob | None:
            return job_of(choices, writer, name, run, None, progress, base=folder)

        chosen = compressor_for(run, compressor)
        everything = evaluate_everything(model, run_data(run), chosen, selection, job_for)
    result = everything.to_json()
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RESULT_FILE, result)
    rows = everything_rows(everything)
    left_out = "".join(f"\nleft out: {name}: {why}" for name, why in everything.left_out.items())
    emit(result, as_json=json, text=table(rows[0], rows[1:]) + left_out)
