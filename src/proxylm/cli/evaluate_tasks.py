"""``proxylm evaluate mutated|next-line``: tasks on which small models differ, nothing executed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from proxylm.cli.evaluation_options import (
    BENCHMARK,
    about_model,
    benchmark_of,
    report_object,
    writer_of,
)
from proxylm.cli.options import Flags, options
from proxylm.cli.output import JsonOption, bars_or_lines, emit, table
from proxylm.cli.reading import PROMPTING, DeviceOption, RunArgument
from proxylm.errors import UsageError

if TYPE_CHECKING:
    from proxylm.data.store.store import ViewStore
    from proxylm.evaluation.answers.options import EvaluationSettings
    from proxylm.evaluation.mutated import MutatedSettings
    from proxylm.evaluation.next_line import NextLineSettings
    from proxylm.scoring.read_as import ReadAs

_LINES = ("lines", "min_bytes", "max_bytes", "prompt_bytes", "seed")


@options(
    settings=BENCHMARK,
    mutating=Flags("proxylm.evaluation.mutated:MutatedSettings", ("mutations", "seed")),
)
def mutated(
    run: RunArgument,
    settings: EvaluationSettings,
    mutating: MutatedSettings,
    benchmark: Annotated[
        Literal["humaneval", "mbpp"], typer.Option(help="Whose canonical solutions.")
    ] = "humaneval",
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Choosing the right solution over copies with one token changed, by likelihood.

    50 % is chance. Mutations are drawn from each problem's name, so they are the same for all.

    Example: proxylm evaluate mutated runs/demo/proxy --limit 20
    """
    from proxylm.cli.evaluation_tables import mutated_rows
    from proxylm.evaluation.mutated import evaluate_mutated
    from proxylm.generation.loading import load

    problems = benchmark_of(benchmark, settings)
    model = load(run, device=device)
    writer = writer_of(model, run, settings.reading)
    with bars_or_lines() as show:
        report = evaluate_mutated(writer, problems, mutating, progress=show)
    about = about_model(model, run) | mutating.model_dump()
    headers, *rows = mutated_rows(report)
    emit(report_object(report, about), as_json=json, text=table(headers, rows))


@options(
    reading=PROMPTING,
    settings=Flags("proxylm.evaluation.next_line:NextLineSettings", _LINES),
)
def next_line(
    run: RunArgument,
    reading: ReadAs,
    settings: NextLineSettings,
    store: Annotated[
        Path | None, typer.Option(help="View store. (default: that of the training)")
    ] = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Greedy exact match of lines of held-out documents, given the text before each.

    Bytes and tokens are asked for the same lines after the same text.

    Example: proxylm evaluate next-line runs/demo/proxy --lines 100
    """
    from proxylm.cli.evaluation_tables import next_line_rows
    from proxylm.evaluation.next_line import evaluate_next_line, next_lines
    from proxylm.generation.loading import load

    model = load(run, device=device)
    documents = _held_out_of(run, store, model.data_fingerprint)
    raw = (documents.raw(int(one)).tobytes() for one in documents.ordinals(held_out=True))
    lines = next_lines(raw, settings)
    writer = writer_of(model, run, reading)
    with bars_or_lines() as show:
        report = evaluate_next_line(writer, lines, progress=show)
    about = about_model(model, run) | {"store": str(documents.folder)} | settings.model_dump()
    headers, *rows = next_line_rows(report)
    emit(report_object(report, about), as_json=json, text=table(headers, rows))


def _held_out_of(run: Path, given: Path | None, trained_on: str | None) -> ViewStore:
    """The store that was given, else that of the training, which must not have changed."""
    from proxylm.checkpoints.run_data import run_data
    from proxylm.data.store.store import ViewStore

    if given is not None:
        return ViewStore.open(given, verify=True)
    data = run_data(run)
    if data is None:
        raise UsageError(f"{run}: its training data is not at hand; give --store")
    data.require_same(trained_on)
    return ViewStore.open(data.store, verify=True)
