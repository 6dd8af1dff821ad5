"""``proxylm evaluate all``: everything at hand, one JSON object and one readable table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli.evaluation_options import (
    ALL,
    about_programs,
    evaluation_folder,
    job_of,
    load_for,
    task_names,
)
from proxylm.cli.options import options, with_values
from proxylm.cli.output import JsonOption, bars_or_lines, emit, note, table
from proxylm.cli.reading import DeviceOption, RunArgument, compressor_for
from proxylm.errors import ProxylmError

if TYPE_CHECKING:
    from proxylm.compressors.contract import Compressor
    from proxylm.evaluation.answers.options import EvaluationSettings
    from proxylm.evaluation.everything import Everything, SelectedData, Selection
    from proxylm.generation.byte_model import ByteModel


def _file_option(description: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(exists=True, help=description)
    return option


@options(settings=ALL)
def evaluate_all(
    run: RunArgument,
    settings: EvaluationSettings,
    humaneval: Annotated[
        Path | None, _file_option("HumanEval's file. (default: where its package has it)")
    ] = None,
    humaneval_plus: Annotated[
        Path | None, _file_option("HumanEvalPlus.jsonl.gz. (default: what EvalPlus finds)")
    ] = None,
    mbpp: Annotated[Path | None, _file_option("MBPP's file.")] = None,
    mbpp_plus: Annotated[
        Path | None, _file_option("MbppPlus.jsonl.gz. (default: what EvalPlus finds)")
    ] = None,
    recode: Annotated[Path | None, _file_option("ReCode's folder or archive.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="s of ReCode.")] = 5,
    tasks: Annotated[
        str, typer.Option(help="Tasks of lm-eval, comma-separated; olmes: the paper's nine.")
    ] = "",
    generate: Annotated[
        bool | None,
        typer.Option(help="Completions, judged only with --execute. (default: as --execute)"),
    ] = None,
    held_out_bytes: Annotated[
        int | None, typer.Option(min=1, help="Held-out documents until so many bytes.")
    ] = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """All evaluations whose data is at hand, read as bytes and as tokens.

    Likelihood forms always; with --generate also completions, with --execute pass@k and what
    follows from it. HumanEval comes with its package; name the other files. What is left out is
    listed with its reason. The result is kept in the output folder, after each evaluation.

    Example: proxylm evaluate all runs/demo/proxy --limit 20
    """
    from proxylm.evaluation.everything import Selection

    selection = Selection(
        benchmarks={
            "humaneval": humaneval,
            "humaneval-plus": humaneval_plus,
            "mbpp": mbpp,
            "mbpp-plus": mbpp_plus,
        },
        recode=recode,
        seeds=seeds,
        limit=settings.limit,
        held_out_bytes=held_out_bytes,
        harness_tasks=tuple(task_names(tasks)),
        prompt_end=settings.reading.prompt_end,
    )
    wanted = settings.execute if generate is None else generate
    settings = with_values(settings, origin="evaluate all", generate=wanted)
    _evaluate(run, selection, settings, device, as_json=json)


def _evaluate(
    run: Path,
    selection: Selection,
    settings: EvaluationSettings,
    device: str,
    *,
    as_json: bool,
) -> None:
    from proxylm.checkpoints.run_data import run_data
    from proxylm.cli.evaluation_tables import everything_rows
    from proxylm.evaluation.everything import (
        Everything,
        Generation,
        evaluate_everything,
        read_selection,
    )
    from proxylm.scoring.readings import require_compressor

    data = read_selection(selection)
    everything = Everything()
    given = settings.reading.compressor
    chosen = _compressor(run, given, everything)
    model = load_for(run, settings, device)
    if chosen is not None and given is not None:
        require_compressor(model, chosen.symbol_count, chosen.fingerprint)
    everything.about = _about(model, run, settings, data)
    folder = settings.out or evaluation_folder(run)
    everything.changed = _kept_in(folder, everything.about)
    apart = settings.model_copy(update={"out": None})  # each evaluation has a folder of its own
    with bars_or_lines() as show:
        generation = Generation(
            greedy=partial(job_of, apart, settings.greedy, folder, show),
            sampled=partial(job_of, apart, settings.sampled, folder, show),
        )
        evaluate_everything(everything, model, run_data(run), chosen, data, generation, show)
    rows = everything_rows(everything)
    left_out = "".join(f"\nleft out: {name}: {why}" for name, why in everything.left_out.items())
    failed = "".join(f"\nfailed: {name}: {why}" for name, why in everything.failed.items())
    emit(everything.to_json(), as_json=as_json, text=table(rows[0], rows[1:]) + left_out + failed)
    if everything.failed:
        first, why = next(iter(everything.failed.items()))
        others = len(everything.failed) - 1
        raise ProxylmError(f"{first}: {why}" + (f" (and {others} more failed)" if others else ""))


def _kept_in(folder: Path, about: dict[str, Any]) -> Callable[[Everything], None]:
    """Keeps the result in a file that is named after what it is about; ``.partial`` until the end.

    So neither another selection, nor a run that is stopped, takes the place of a whole result.
    """
    from proxylm.files import write_json
    from proxylm.fingerprint import fingerprint_of

    content = {key: value for key, value in about.items() if key != "run"}
    whole = folder / f"all-{fingerprint_of(content)[:8]}.json"
    unfinished = whole.with_suffix(".partial.json")
    folder.mkdir(parents=True, exist_ok=True)
    note(f"result: {whole}")

    def keep(so_far: Everything) -> None:
        write_json(unfinished, so_far.to_json())
        if so_far.complete:
            unfinished.replace(whole)

    return keep


def _compressor(run: Path, given: str | None, everything: Everything) -> Compressor | None:
    """As ``compressor_for``; a damaged store of the run costs the readings that need it."""
    from proxylm.evaluation.answers.writers import TokensWriter

    try:
        return compressor_for(run, given)
    except ProxylmError as error:
        if given is not None:
            raise
        everything.failed[TokensWriter.read_as] = str(error)
        return None


def _about(
    model: ByteModel, run: Path, settings: EvaluationSettings, data: SelectedData
) -> dict[str, Any]:
    from proxylm.evaluation.recode.evaluation import recode_conditions

    selection = data.selection
    forms = {one.name: [one] for one in data.benchmarks}
    if data.recode is not None:
        forms["recode"] = list(recode_conditions(data.recode).values())
    return {
        **about_programs(model, run, settings, forms),
        "limit": selection.limit,
        "held_out_bytes": selection.held_out_bytes,
        "seeds": selection.seeds,
        "tasks": list(selection.harness_tasks),
        "prompt_end": selection.prompt_end,
    }
