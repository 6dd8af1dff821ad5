"""``proxylm views``: look into a view store, and verify it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from proxylm.cli.options import OverridesArgument
from proxylm.cli.output import JsonOption, byte_progress, emit
from proxylm.errors import UsageError
from proxylm.limits import MAX_CONTEXT, MAX_STEPS

if TYPE_CHECKING:
    from proxylm.data.mixture import Mixture

app = typer.Typer(no_args_is_help=True)

MAX_CONTEXTS_PER_STEP = 1 << 16
MAX_HEADS = 1024
MAX_SEED = (1 << 63) - 1


MixtureName = Literal["paper", "pieces", "bytes", "compressed"]
"""The ready mixtures."""


@app.command()
def show(
    store: Annotated[Path, typer.Argument(help="Folder that 'proxylm prepare' wrote.")],
    overrides: OverridesArgument = None,
    view: Annotated[
        str | None, typer.Option(help="Compressed view; default: the only one.")
    ] = None,
    mixture: Annotated[MixtureName, typer.Option(help="A ready mixture.")] = "paper",
    config: Annotated[Path | None, typer.Option(help="A mixture of your own, as YAML.")] = None,
    step: Annotated[int, typer.Option(min=0, help="Training step.")] = 0,
    context_number: Annotated[int, typer.Option(min=0, help="Context of that step.")] = 0,
    context: Annotated[int, typer.Option(max=MAX_CONTEXT, help="Symbols per context.")] = 512,
    contexts_per_step: Annotated[
        int, typer.Option(min=1, max=MAX_CONTEXTS_PER_STEP, help="Contexts per step.")
    ] = 16,
    steps: Annotated[int, typer.Option(min=1, max=MAX_STEPS, help="Steps of the run.")] = 1000,
    heads: Annotated[int, typer.Option(min=1, max=MAX_HEADS, help="Prediction heads.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the mixture.")] = 0,
    json: JsonOption = False,
) -> None:
    """Decode one packed context: spans, formats, special symbols, masked targets.

    A ∎ stands where the next symbol is no target: at the end of each attention segment.

    Example: proxylm views show views/mine --view bpe --mixture pieces --context 512 --step 3
    """
    from proxylm.data.batches import batches
    from proxylm.data.picture import show as show_batch
    from proxylm.data.sources import Source

    if context_number >= contexts_per_step:
        raise UsageError(
            f"--context-number {context_number}: a step has {contexts_per_step} contexts, from 0"
        )
    drawn = batches(
        Source(store, view),
        _mixture(mixture, config, overrides or []),
        context=context,
        contexts_per_step=contexts_per_step,
        steps=steps,
        heads=heads,
        seed=seed,
    )
    (shown,) = show_batch(drawn.batch(step, first=context_number, count=1)).contexts
    summary = {
        "step": step,
        "context_number": context_number,
        "context": context,
        "statistics": drawn.statistics(step).to_json(),
    }
    result = summary | {"spans": [span.to_json() for span in shown.spans]}
    emit(result, as_json=json, text="\n".join([_head(summary), *shown.lines()]))


@app.command()
def verify(
    store: Annotated[Path, typer.Argument(help="Folder that 'proxylm prepare' wrote.")],
    stamps: Annotated[
        Path | None,
        typer.Option(help="Folder that remembers what was found right, for the next time."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Read a whole store and compare every byte with what was written.

    Example: proxylm views verify views/mine
    """
    from proxylm.data.store.store import ViewStore
    from proxylm.data.store.verifying import verify_store

    started = perf_counter()
    with byte_progress() as show:
        verified = verify_store(
            ViewStore.open(store),
            stamps=stamps,
            progress=show,
        )
    seconds = perf_counter() - started
    text = (
        f"{store}: {verified.files} files, {verified.num_bytes / 1e6:.2f} MB are what was written "
        f"({verified.stamped_files} by their stamps), {seconds:.1f} s"
    )
    emit({"store": str(store), **asdict(verified), "seconds": seconds}, as_json=json, text=text)


def _mixture(name: MixtureName, config: Path | None, overrides: list[str]) -> Mixture:
    from proxylm.config import load_config
    from proxylm.data.mixture import READY_MIXTURES, Mixture

    if config is not None or overrides:
        if name != "paper":
            raise UsageError("--mixture and settings of your own exclude each other")
        return load_config(Mixture, config, overrides)
    return READY_MIXTURES[name]()


def _head(summary: dict[str, Any]) -> str:
    statistics = summary["statistics"]
    shown = statistics["rate_shown"]
    return (
        f"step {summary['step']}, context {summary['context_number']}: {summary['context']} "
        f"symbols; in the whole step the rate asked is {statistics['rate_asked']:.3f}, shown "
        f"{'nothing yet' if shown is None else f'{shown:.3f}'}, "
        f"pairs {statistics['pairs_in_one_context']} of {statistics['pairs']} in one context"
    )
