"""``proxylm views``: look into a view store."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli.options import OverridesArgument
from proxylm.cli.output import JsonOption, emit
from proxylm.errors import UsageError
from proxylm.limits import MAX_CONTEXT, MAX_STEPS

if TYPE_CHECKING:
    from proxylm.data.batches import Loader
    from proxylm.data.mixture import MixingConfig
    from proxylm.data.picture import Piece
    from proxylm.data.store.store import ViewStore

app = typer.Typer(no_args_is_help=True, help=__doc__)

LINE_END_SIGN = "⏎"
MASK_SIGN = "∎"

MAX_CONTEXTS_PER_STEP = 1 << 16
MAX_HEADS = 1024
MAX_SEED = (1 << 63) - 1


class Mixture(StrEnum):
    """The ready mixtures."""

    PAPER = "paper"
    PIECES = "pieces"
    BYTES = "bytes"
    COMPRESSED = "compressed"


@app.callback()
def _views() -> None:
    """Without a callback, typer would promote the single command."""


@app.command()
def show(
    store: Annotated[Path, typer.Argument(help="Folder that 'proxylm prepare' wrote.")],
    overrides: OverridesArgument = None,
    view: Annotated[
        str | None, typer.Option(help="Compressed view; default: the only one.")
    ] = None,
    mixture: Annotated[Mixture, typer.Option(help="A ready mixture.")] = Mixture.PAPER,
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
    """Decode one packed context: pieces, formats, special symbols, masked targets.

    A ∎ stands where the next symbol is no target: at the end of each attention segment.

    Example: proxylm views show views/mine --view bpe --mixture pieces --context 512 --step 3
    """
    from proxylm.data.batches import build_loader
    from proxylm.data.mixture import SourceConfig
    from proxylm.data.picture import context_pieces
    from proxylm.data.store.store import ViewStore

    if context_number >= contexts_per_step:
        raise UsageError(
            f"--context-number {context_number}: a step has {contexts_per_step} contexts, from 0"
        )
    opened = ViewStore.open(store)
    view = _chosen_view(opened, view)
    loader = build_loader(
        [SourceConfig(store=str(store), view=view)],
        _mixing(mixture, config, overrides or []),
        context=context,
        contexts_per_step=contexts_per_step,
        total_steps=steps,
        heads=heads,
        seed=seed,
    )
    stored = None if view is None else opened.view(view)
    pieces = context_pieces(loader, [(opened, stored)], step, context_number)
    summary = _summary(loader, step, context_number)
    result = summary | {"pieces": [piece.to_json() for piece in pieces]}
    emit(result, as_json=json, text=_text(summary, pieces))


def _chosen_view(store: ViewStore, name: str | None) -> str | None:
    if name is None and len(store.view_names) == 1:
        return store.view_names[0]
    return name


def _mixing(mixture: Mixture, config: Path | None, overrides: list[str]) -> MixingConfig:
    from proxylm.config import load_config
    from proxylm.data.mixture import READY_MIXTURES, MixingConfig

    if config is not None or overrides:
        if mixture is not Mixture.PAPER:
            raise UsageError("--mixture and settings of your own exclude each other")
        return load_config(MixingConfig, config, overrides)
    return READY_MIXTURES[mixture.value]()


def _summary(loader: Loader, step: int, context_number: int) -> dict[str, Any]:
    return {
        "step": step,
        "context_number": context_number,
        "context": loader.context,
        "statistics": loader.statistics(step).to_json(),
    }


def _text(summary: dict[str, Any], pieces: list[Piece]) -> str:
    statistics = summary["statistics"]
    shown = statistics["rate_shown"]
    head = (
        f"step {summary['step']}, context {summary['context_number']}: {summary['context']} "
        f"symbols; in the whole step the rate asked is {statistics['rate_asked']:.3f}, shown "
        f"{'nothing yet' if shown is None else f'{shown:.3f}'}, "
        f"pairs {statistics['pairs_in_one_context']} of {statistics['pairs']} in one context"
    )
    lines = [head]
    document_id = -1
    for piece in pieces:
        if piece.document_id != document_id:
            document_id = piece.document_id
            lines += ["", f"document id {document_id}: {piece.document or 'padding'}"]
        lines += [f"  {_facts(piece)}", f"    {_content(piece)}"]
    return "\n".join(lines)


def _facts(piece: Piece) -> str:
    unit = {"raw": "bytes", "compressed": "symbols", "padding": "symbols"}[piece.format]
    position_end = piece.first_position + piece.end - piece.offset
    masked = ", ".join(
        f"head {head}: {len(positions)} masked"
        for head, positions in enumerate(piece.masked_targets)
        if positions
    )
    return (
        f"[{piece.offset}, {piece.end}) {piece.format}, {unit} {piece.start} to "
        f"{piece.start + piece.length}, positions {piece.first_position} to {position_end}"
        + (f", {masked}" if masked else "")
    )


def _content(piece: Piece) -> str:
    if piece.format == "padding":
        return f"<pad> x {piece.length}"
    text = "".join(_visible(character) for character in piece.text)
    # The end of a segment is the only place where head 0 trains nothing.
    end = MASK_SIGN if piece.masked_targets[0] else ""
    return f"{''.join(piece.before)}{text}{''.join(piece.after)}{end}"


def _visible(character: str) -> str:
    """A terminal must not obey what a document contains."""
    if character == "\n":
        return LINE_END_SIGN
    return character if character.isprintable() else repr(character)[1:-1]
