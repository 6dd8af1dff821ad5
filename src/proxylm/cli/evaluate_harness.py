"""``proxylm evaluate lm-eval``: tasks of lm-evaluation-harness."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxylm.cli.evaluation_options import about_model, report_object, task_names, writer_of
from proxylm.cli.options import options
from proxylm.cli.output import JsonOption, bars_or_lines, emit, number, table
from proxylm.cli.reading import PROMPTING, DeviceOption, RunArgument
from proxylm.errors import DataError, UsageError, needing_extra

if TYPE_CHECKING:
    from proxylm.evaluation.harness_report import HarnessReport
    from proxylm.scoring.read_as import ReadAs


@options(reading=PROMPTING)
def lm_eval(
    run: RunArgument,
    reading: ReadAs,
    tasks: Annotated[
        str, typer.Option(help="Names or YAML files, comma-separated; olmes: the paper's nine.")
    ] = "olmes",
    num_fewshot: Annotated[
        int | None, typer.Option(min=0, help="Examples in each prompt. (default: the task's own)")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many documents of each task.")
    ] = None,
    include_path: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="A folder with further tasks in the harness's YAML."
        ),
    ] = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Tasks of lm-evaluation-harness, with its own prompts and metrics.

    It fetches a task's data itself, unless the task names local files. Its forms of the paper's
    nine tasks are its own; evaluate olmes has those of OLMES.

    Example: proxylm evaluate lm-eval runs/demo/proxy --tasks arc_easy,piqa --limit 100
    """
    from proxylm.generation.loading import load

    with needing_extra("lm-eval", "lm-eval"):
        from proxylm.evaluation.lm_harness import evaluate_with_harness, find_tasks

    names = task_names(tasks)
    if not names:
        raise UsageError("--tasks names no task")
    found = find_tasks(names, include_path=include_path)
    writer = writer_of(load(run, device=device), run, reading)
    with bars_or_lines() as show:
        report = evaluate_with_harness(
            writer, found, num_fewshot=num_fewshot, limit=limit, progress=show
        )
    emit(
        report_object(report, about_model(writer.model, run)),
        as_json=json,
        text=table(["task", "metric", "value"], _rows(report)),
    )
    if report.failed:
        raise DataError("; ".join(report.failed.values()))


def _rows(report: HarnessReport) -> list[list[str]]:
    rows = [
        [task, name, f"{value}" if isinstance(value, int) else f"{value:.4f}"]
        for task, metrics in report.tasks.items()
        for name, value in metrics.items()
    ]
    return [*rows, ["average", f"read as {report.read_as}", number(report.average)]]
