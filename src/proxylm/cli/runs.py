"""``proxylm runs``: how far runs are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxylm.cli.output import JsonOption, emit, note, table
from proxylm.errors import ProxylmError, UsageError

if TYPE_CHECKING:
    from proxylm.training.overview import RunOverview

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_runs(
    folder: Annotated[Path, typer.Argument(help="A folder of runs, at any depth.")] = Path("runs"),
    json: JsonOption = False,
) -> None:
    """List the runs of a folder: steps, loss, held-out bits per byte, speed.

    One that cannot be read is told apart.

    Example: proxylm runs list runs
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: is no folder")
    runs = list(_readable(folder))
    rows = [[str(Path(one.run).relative_to(folder)), *_cells(one)] for one in runs]
    headers = ["run", "step", "loss", "bits per byte", "symbols/s", "MFU", "last step (UTC)"]
    shown = table(headers, rows) if rows else f"{folder}: no runs"
    emit({"runs": [one.as_json() for one in runs]}, as_json=json, text=shown)


@app.command()
def show(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    json: JsonOption = False,
) -> None:
    """Show one run: how far it is, what it has taken, its checkpoints and its configuration.

    Example: proxylm runs show runs/tiny
    """
    from proxylm.checkpoints.run_data import read_run_config
    from proxylm.training.overview import overview_of
    from proxylm.yaml_text import dump_yaml

    one, config = overview_of(run), read_run_config(run)
    text = f"{_long(one)}\n\n{dump_yaml(config)}"
    emit(one.as_json() | {"config": config}, as_json=json, text=text)


def _readable(folder: Path) -> Iterator[RunOverview]:
    from proxylm.training.overview import overview_of, runs_below

    for run in runs_below(folder):
        try:
            yield overview_of(run)
        except ProxylmError as error:
            note(f"left out: {error}")


def _cells(one: RunOverview) -> list[str]:
    return [
        _steps(one),
        _number(one.loss, ".4f"),
        _held_out(one),
        _number(one.symbols_per_second, ",.0f"),
        _number(one.mfu, ".1%"),
        "-" if one.written_at is None else f"{one.written_at:%Y-%m-%d %H:%M}",
    ]


def _steps(one: RunOverview) -> str:
    total = "?" if one.total_steps is None else f"{one.total_steps:,}"
    return f"{one.step:,} of {total}{' done' if one.is_done else ''}"


def _held_out(one: RunOverview) -> str:
    return ", ".join(f"{bits:.4f} {name}" for name, bits in one.held_out.items()) or "-"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _long(one: RunOverview) -> str:
    rows = [
        ["steps", _steps(one)],
        ["loss", _number(one.loss, ".4f")],
        ["held out, bits per byte", _held_out(one)],
        ["symbols", _number(one.symbols, ",")],
        ["raw bytes shown", _number(one.raw_bytes, ",")],
        ["operations", _number(one.training_flops, ".4g")],
        ["hours", _number(None if one.seconds is None else one.seconds / 3600, ".2f")],
        ["symbols per second", _number(one.symbols_per_second, ",.0f")],
        ["MFU", _number(one.mfu, ".1%")],
        ["checkpoints of steps", ", ".join(f"{step:,}" for step in one.checkpoints) or "-"],
    ]
    return table([one.run, ""], rows)
