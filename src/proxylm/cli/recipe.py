"""``proxylm recipe``: tables and figures of the paper, computed at a size of your choice."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli.options import OverridesArgument, any_of
from proxylm.cli.output import JsonOption, bars_or_lines, emit, note, table
from proxylm.errors import UsageError
from proxylm.files import require_utf8

if TYPE_CHECKING:
    from proxylm.recipes.artifacts import Artifact
    from proxylm.recipes.measures import EvaluationData
    from proxylm.recipes.plan import Plan
    from proxylm.recipes.recipe import Recipe

app = typer.Typer(no_args_is_help=True)


def _names() -> list[str]:
    from proxylm.recipes.recipe import recipe_names

    return list(recipe_names())


NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A name of 'proxylm recipe list'.", autocompletion=any_of(_names)
    ),
]
ScaleOption = Annotated[
    str,
    typer.Option(
        help="micro (wiring only), tiny (about ten minutes a run), paper (printed, never run), "
        "or a file."
    ),
]
PoolOption = Annotated[
    Path,
    typer.Option(help="Folder of everything that is made, shared by recipes and experiments."),
]
SeedsOption = Annotated[int, typer.Option(min=1, help="Runs of each configuration.")]
DataOption = Annotated[
    Path | None,
    typer.Option(help="Folder of HumanEvalPlus.jsonl.gz, MbppPlus.jsonl.gz and the like."),
]
JobsOption = Annotated[int, typer.Option(min=1, help="How much is made at a time.")]
DEFAULT_POOL = Path("runs/recipes")


@app.command("list")
def list_recipes(json: JsonOption = False) -> None:
    """Name the recipes.

    Example: proxylm recipe list
    """
    from proxylm.recipes.recipe import read_recipe, recipe_names

    found = {name: read_recipe(name) for name in recipe_names()}
    listed = [
        {"name": name, "title": one.title, "also": list(one.also)} for name, one in found.items()
    ]
    rows = [[name, one.title, ", ".join(one.also)] for name, one in found.items()]
    emit({"recipes": listed}, as_json=json, text=table(["name", "title", "also"], rows))


@app.command()
def show(
    name: NameArgument,
    overrides: OverridesArgument = None,
    scale: ScaleOption = "tiny",
    pool: PoolOption = DEFAULT_POOL,
    seeds: SeedsOption = 1,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """What a recipe needs, what of it is there, and what it took; KEY=VALUE changes the scale.

    Example: proxylm recipe show table13 --scale tiny
    """
    from proxylm.recipes.recipe import read_recipe
    from proxylm.recipes.scale import PAPER

    recipe = read_recipe(name)
    if scale == PAPER:
        _show_paper(recipe, as_json=json)
        return
    plan = _plan(recipe, scale, seeds, data, overrides)
    rows = [state_of(one, pool.resolve()) for one in plan.artifacts()]
    made = sum(row["is_there"] for row in rows)
    hours = sum(row["core_hours"] or 0 for row in rows)
    text = table(
        ["kind", "name", "key", "there", "core hours"],
        [[*map(_shown, row.values())] for row in rows],
    )
    summary = f"{made} of {len(rows)} artifacts are there; they took {hours:.2f} core hours"
    emit({**_about(recipe), "artifacts": rows}, as_json=json, text=f"{text}\n{summary}")


@app.command()
def run(
    name: NameArgument,
    overrides: OverridesArgument = None,
    scale: ScaleOption = "tiny",
    pool: PoolOption = DEFAULT_POOL,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the table. (default: in the pool)")
    ] = None,
    jobs: JobsOption = 1,
    slurm: Annotated[
        str | None,
        typer.Option(help="Submit a Slurm job for each thing to make; options of sbatch."),
    ] = None,
    only: Annotated[str | None, typer.Option(hidden=True)] = None,
    seeds: SeedsOption = 1,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Make what is missing and write table.json, table.md and a picture.

    The same command goes on where it was stopped; what another recipe has made is not made again.
    Each run computes with one thread: --jobs takes more cores. KEY=VALUE changes the scale.

    Example: proxylm recipe run table13 --scale micro --data benchmarks --out tables/13
    """
    from proxylm.recipes.engine import make_all
    from proxylm.recipes.recipe import read_recipe
    from proxylm.recipes.scale import PAPER
    from proxylm.recipes.slurm import submit
    from proxylm.recipes.table import write_results

    recipe = read_recipe(name)
    if scale == PAPER:
        _show_paper(recipe, as_json=json)
        return
    plan, pool = _plan(recipe, scale, seeds, data, overrides), pool.resolve()
    wanted = plan.artifacts()
    folder = (out or pool / "tables" / f"{name}-{Path(scale).stem}").resolve()
    require_folder(pool, "--pool")
    require_folder(folder, "--out")
    if slurm is not None:
        again = _command(name, scale, pool, folder, seeds, data, overrides)
        submitted = submit(wanted, pool, again, _words(slurm), note)
        text = f"{len(submitted)} jobs; the last one writes {folder}"
        emit({"jobs": submitted, "out": str(folder)}, as_json=json, text=text)
        return
    if only is not None:
        make_all([_of_key(wanted, only)], pool, say=note)
        return
    with bars_or_lines() as show:
        make_all(wanted, pool, jobs=jobs, say=note, progress=show)
    found = write_results(plan, pool, folder)
    note(f"table and picture: {folder}")
    emit(found | {"out": str(folder)}, as_json=json, text=_text(plan, pool, found))


def require_folder(path: Path, option: str) -> None:
    """Refuse, before the work and not after it, what cannot be a folder."""
    require_utf8(path)
    if path.is_file():
        raise UsageError(f"{path}: is a file; {option} names a folder")


def evaluation_data(folder: Path | None) -> EvaluationData:
    """What ``--data`` names."""
    from proxylm.recipes.measures import EvaluationData

    if folder is not None and not folder.is_dir():
        raise UsageError(f"--data {folder}: no such folder")
    return EvaluationData(folder=folder)


def _words(given: str) -> list[str]:
    try:
        return shlex.split(given)
    except ValueError as error:
        raise UsageError(f"--slurm {given}: {error}") from None


def _of_key(artifacts: list[Artifact], key: str) -> Artifact:
    for one in artifacts:
        if one.key == key:
            return one
    raise UsageError(
        f"--only {key}: nothing of the recipe has that key here; the corpus, the evaluation data "
        "or proxylm itself are not those of where the job was submitted"
    )


def _command(
    name: str,
    scale: str,
    pool: Path,
    out: Path,
    seeds: int,
    data: Path | None,
    overrides: list[str] | None,
) -> list[str]:
    """This call again, from wherever it is made."""
    given = ["--scale", str(Path(scale).resolve()) if Path(scale).is_file() else scale]
    given += ["--pool", str(pool), "--out", str(out), "--seeds", str(seeds)]
    given += [] if data is None else ["--data", str(data.resolve())]
    return [sys.executable, "-m", "proxylm", "recipe", "run", name, *(overrides or []), *given]


def _plan(
    recipe: Recipe, scale: str, seeds: int, data: Path | None, overrides: list[str] | None
) -> Plan:
    from proxylm.recipes.plan import plan_of
    from proxylm.recipes.scale import read_scale

    found = read_scale(scale, tuple(overrides or ()))
    return plan_of(recipe, found, seeds=seeds, data=evaluation_data(data))


def _show_paper(recipe: Recipe, *, as_json: bool) -> None:
    """The recipe's runs as they are shipped: the paper's scale is printed and not run."""
    rows = [
        {"row": row, "configuration": name, **_planned(name)} for row, name in recipe.runs.items()
    ]
    headers = ["row", "configuration", "parameters", "symbols", "FLOPs", "raw GB", "H100 hours"]
    text = table(headers, [[*map(_shown, row.values())] for row in rows])
    more = (
        "proxylm plan CONFIGURATION says more; proxylm configs show CONFIGURATION prints it whole"
    )
    emit({**_about(recipe), "runs": rows}, as_json=as_json, text=f"{text}\n{more}")


def _planned(name: str) -> dict[str, Any]:
    """What ``proxylm plan`` says of a configuration by default, as far as it can tell."""
    from proxylm.planning.data import DataAssumptions
    from proxylm.planning.machines import Machines
    from proxylm.planning.plan import plan_run
    from proxylm.recipes.scale import shipped_config

    try:
        planned = plan_run(shipped_config(name), Machines(), DataAssumptions())
    except UsageError:  # nothing is known of its view
        return dict.fromkeys(("parameters", "symbols", "flops", "raw_gigabytes", "gpu_hours"))
    return {
        "parameters": planned.model.parameter_count,
        "symbols": planned.symbols,
        "flops": planned.flops,
        "raw_gigabytes": round(planned.data.raw_bytes / 1e9),
        "gpu_hours": round(planned.duration.gpu_hours),
    }


def _about(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(include={"title", "also", "section", "statement", "note"})


def state_of(artifact: Artifact, pool: Path) -> dict[str, Any]:
    """A row about an artifact: which it is, whether it is there, and what it took."""
    record = artifact.record(pool) or {}
    seconds = record.get("seconds", record.get("seconds_to_make"))
    return {
        "kind": artifact.kind,
        "name": artifact.name,
        "key": artifact.shown_key,
        "is_there": artifact.is_settled(pool),
        "core_hours": None if seconds is None else seconds / 3600,
    }


def _text(plan: Plan, pool: Path, found: dict[str, Any]) -> str:
    from proxylm.recipes.table import Results, reasons_of, text_rows

    results = Results(plan, pool)
    headers, rows = text_rows(results)
    shown = [table(headers, rows)] if rows else []
    return "\n\n".join([found["title"], *shown, *found["notes"], *reasons_of(results)])


def _shown(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case int():
            return f"{value:,}"
        case _:
            return str(value)
