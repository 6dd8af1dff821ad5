"""``proxylm evaluate checkpoints``: one evaluation on several checkpoints of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli.output import (
    JsonOption,
    bars_or_lines,
    collected_results,
    emit,
    note,
    number,
    table,
)
from proxylm.errors import ProxylmError, UsageError
from proxylm.progress import told

if TYPE_CHECKING:
    from proxylm.checkpoints.checkpoint import TrainingState

DEPTH = 2
"""Numbers shown have names of so many parts, where there are such."""


def evaluate_checkpoints(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    evaluation: Annotated[
        str,
        typer.Argument(metavar="EVALUATION", help="The evaluation's name, then its own options."),
    ],
    every_steps: Annotated[
        int | None,
        typer.Option(min=1, help="Only checkpoints at multiples of so many steps. (default: all)"),
    ] = None,
    show: Annotated[
        list[str] | None,
        typer.Option(help="Numbers in the table, by their names in the result (repeatedly)."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """An evaluation of each checkpoint of a run: its numbers over steps, FLOPs, symbols, raw bytes.

    The evaluation's own arguments and options come last, as for a single model. A run keeps the
    checkpoints at every so many steps with checkpoints.keep_every_steps in its configuration.

    Example: proxylm evaluate checkpoints runs/demo/proxy bpb README.md --read-as bytes
    """
    evaluate = _command(context, evaluation)
    folders = _checkpoints_of(run, every_steps)
    rows: list[dict[str, Any]] = []
    failures: list[ProxylmError] = []
    with bars_or_lines() as progress:
        for index, (folder, state) in enumerate(told(folders, "checkpoints", progress), 1):
            note(f"{folder.name} ({index} of {len(folders)})")
            with collected_results() as results:
                try:
                    evaluate([str(folder), *context.args])
                except UsageError:
                    raise  # it is the same for every other
                except ProxylmError as error:
                    failures.append(error)
            for result in results:  # what there is, also of an evaluation that failed on its way
                _require_numbers(show or [], result)
                rows.append(_used_up(state) | {"result": result})
    if rows:
        whole = {"run": str(run), "evaluation": evaluation, "checkpoints": rows}
        emit(whole, as_json=json, text=_text(rows, show))
    if failures:
        raise failures[0]


def _checkpoints_of(run: Path, every_steps: int | None) -> list[tuple[Path, TrainingState]]:
    from proxylm.checkpoints.checkpoint import (
        CHECKPOINTS_FOLDER,
        checkpoint_folders,
        read_state,
        step_of,
    )

    found = sorted(checkpoint_folders(run / CHECKPOINTS_FOLDER))
    chosen = [one for one in found if every_steps is None or step_of(one) % every_steps == 0]
    if not found:
        raise UsageError(f"{run}: no checkpoints there; give the folder of a training run")
    if not chosen:
        steps = ", ".join(str(step_of(one)) for one in found)
        raise UsageError(f"{run}: no checkpoint at a multiple of {every_steps} steps; at: {steps}")
    return [(one, read_state(one)) for one in chosen]


def _used_up(state: TrainingState) -> dict[str, Any]:
    fields = ("step", "training_flops", "symbols", "raw_bytes", "raw_format_bytes")
    return state.model_dump(mode="json", include=set(fields))


def _command(context: typer.Context, evaluation: str) -> Callable[[list[str]], None]:
    """The evaluation's own command, a function of its arguments.

    Raises:
        UsageError: there is no such evaluation.
    """
    group: Any = context.parent
    names = [name for name in group.command.list_commands(group) if name != context.info_name]
    if evaluation not in names:
        raise UsageError(f"no evaluation '{evaluation}'; there are: {', '.join(names)}")
    command = group.command.get_command(group, evaluation)

    def call(arguments: list[str]) -> None:
        with command.make_context(evaluation, arguments, parent=group) as called:
            command.invoke(called)

    return call


def _require_numbers(names: Sequence[str], result: dict[str, Any]) -> None:
    """Refuse a name of no number, before more is computed."""
    known = _numbers(result)
    for name in names:
        if name not in known:
            raise UsageError(
                f"--show {name}: no number of the result; there are: {', '.join(known)}"
            )


def _text(rows: Sequence[dict[str, Any]], show: Sequence[str] | None) -> str:
    found = [_numbers(row["result"]) for row in rows]
    names = show or _shown(found[0])
    headers = ["step", "training FLOPs", "symbols", "raw bytes", *names]
    cells = [
        [
            str(row["step"]),
            f"{row['training_flops']:.4g}",
            f"{row['symbols']:,}",
            f"{row['raw_bytes']:,}",
            *(number(numbers.get(name)) for name in names),
        ]
        for row, numbers in zip(rows, found, strict=True)
    ]
    return table(headers, cells)


def _numbers(result: dict[str, Any]) -> dict[str, float | None]:
    """The numbers of a result by name, parts of names with dots between; None is a number too."""
    from proxylm.training.run_folder import flat

    return {
        name: value
        for name, value in flat({key: part for key, part in result.items() if key != "about"})
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    }


def _shown(numbers: dict[str, float | None]) -> list[str]:
    """Fractions near the top of the result; counts are no scores."""
    scores = [name for name, value in numbers.items() if not isinstance(value, int)]
    depth = max(DEPTH, min((name.count(".") + 1 for name in scores), default=0))
    return [name for name in scores if name.count(".") < depth]
