"""``proxylm results``: experiments of our own, kept as small JSON, and the page made of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxylm.cli.options import OverridesArgument
from proxylm.cli.output import JsonOption, bars_or_lines, emit, note, table
from proxylm.cli.recipe import (
    DEFAULT_POOL,
    DataOption,
    JobsOption,
    PoolOption,
    evaluation_data,
    require_folder,
    state_of,
)

if TYPE_CHECKING:
    from proxylm.results.points import Points
    from proxylm.results.running import Running

app = typer.Typer(no_args_is_help=True)

RESULTS = Path("docs/results")
PAGE = Path("docs/results.md")

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A name of 'proxylm results list', or a file.")
]
InputOption = Annotated[
    list[str] | None,
    typer.Option("--input", help="NAME=PATH of what the experiment asks for. Repeatable."),
]
ResultsOption = Annotated[Path, typer.Option("--results", help="Folder of the JSON files.")]


@app.command("list")
def list_experiments(json: JsonOption = False) -> None:
    """Name the experiments, what each may take, and what it asks for.

    Example: proxylm results list
    """
    from proxylm.results.experiment import experiment_names, read_experiment

    found = {name: read_experiment(name) for name in experiment_names()}
    listed = [
        {"name": name, **one.model_dump(include={"title", "core_hours", "inputs"})}
        for name, one in found.items()
    ]
    rows = [
        [name, one.title, f"{one.core_hours:g}", ", ".join(one.inputs)]
        for name, one in found.items()
    ]
    text = table(["name", "title", "core-hours", "inputs"], rows)
    emit({"experiments": listed}, as_json=json, text=text)


@app.command()
def run(
    name: NameArgument,
    overrides: OverridesArgument = None,
    given: InputOption = None,
    data: DataOption = None,
    pool: PoolOption = DEFAULT_POOL,
    results: ResultsOption = RESULTS,
    jobs: JobsOption = 1,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what there is to do, and about how long.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Make what is missing; the JSON file is written anew whenever something is finished.

    The same command goes on where it was stopped. KEY=VALUE changes the experiment.

    Example: proxylm results run ladder --data benchmarks --plan
    """
    running = _running(name, overrides, given, data, pool)
    if plan:
        _emit_plan(running, as_json=json)
        return
    require_folder(pool, "--pool")
    require_folder(results, "--results")
    with bars_or_lines() as show:
        record = running.run(results, jobs=jobs, say=note, progress=show)
    for reason in _left_out(running):
        note(f"left out: {reason}")
    made = f"{len(record.observations)} observations, {record.core_hours:.2f} core-hours"
    emit(
        {"experiment": name, "core_hours": record.core_hours, "complete": record.is_complete},
        as_json=json,
        text=f"{made}; 'proxylm results page' writes the page",
    )


@app.command()
def page(
    results: ResultsOption = RESULTS,
    out: Annotated[Path, typer.Option(help="The page.")] = PAGE,
    json: JsonOption = False,
) -> None:
    """Write the page of all results from their JSON files.

    Example: proxylm results page --results my/results --out my/results.md
    """
    from proxylm.results.page import write_page

    write_page(results, out)
    emit({"page": str(out)}, as_json=json, text=str(out))


def _running(
    name: str,
    overrides: list[str] | None,
    given: list[str] | None,
    data: Path | None,
    pool: Path,
) -> Running:
    from proxylm.results.experiment import read_experiment
    from proxylm.results.points import inputs_from
    from proxylm.results.running import Running

    experiment = read_experiment(name, tuple(overrides or ()))
    return Running(
        name=name,
        experiment=experiment,
        inputs=inputs_from(experiment.inputs, given or []),
        data=evaluation_data(data),
        pool=pool.resolve(),
    )


def _emit_plan(running: Running, *, as_json: bool) -> None:
    points, artifacts = running.planned()
    work = running.experiment.work
    rows = [
        state_of(one, running.pool) | {"core_hours": work.seconds(one) / 3600} for one in artifacts
    ]
    left = sum(row["core_hours"] for row in rows if not row["is_there"])
    lines = [
        f"{'there' if row['is_there'] else '':5}  {row['core_hours']:5.2f} h  {row['name']}"
        for row in rows
        if row["core_hours"]
    ]
    lines += [f"left out: {one}" for one in _lacking(points)]
    budget = running.experiment.core_hours
    lines.append(f"about {left:.1f} core-hours are left; at most {budget:g} in all")
    if not points.is_all:
        lines.append("which peaks are taken is chosen on the way; as many runs are counted")
    about = {"left_core_hours": left, "core_hours": budget, "is_all": points.is_all}
    emit({"artifacts": rows, **about}, as_json=as_json, text="\n".join(lines))


def _lacking(points: Points) -> list[str]:
    """Why some cannot be made, each reason once."""
    return list(dict.fromkeys(one.lacking for one in points.points if one.lacking))


def _left_out(running: Running) -> list[str]:
    """Why numbers are not there after a run, each reason once."""
    points = running.points()
    numbers = [number for one in (*points.sweep, *points.points) for number in one.numbers.values()]
    reasons = [reason for one in numbers if (reason := one.value(running.pool)[1])]
    return list(dict.fromkeys([*_lacking(points), *reasons]))
