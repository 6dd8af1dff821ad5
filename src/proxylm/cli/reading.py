"""Options that every command on a trained model shares: which one, where, and how it is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from proxylm.cli.options import Flags
from proxylm.cli.output import note
from proxylm.errors import UsageError

if TYPE_CHECKING:
    from proxylm.compressors.contract import Compressor
    from proxylm.generation.byte_model import ByteModel
    from proxylm.scoring.read_as import ReadAs
    from proxylm.scoring.readings import Reading

_READ_AS = "proxylm.scoring.read_as:ReadAs"
READING = Flags(_READ_AS, ("read_as", "compressor"), panel="Reading")
PROMPTING = Flags(_READ_AS, (*READING.names, "prompt_end"), panel="Reading")
NO_DRAFTER = "none"

RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder, checkpoint, or EvaByte folder.")
]
DrafterOption = Annotated[
    str,
    typer.Option(
        help="What drafts several bytes for each forward pass: lookup, of the text so far (any "
        "model); chain or tree, of the model's further heads; or none."
    ),
]
WeightsOption = Annotated[
    Literal["f32", "bf16"],
    typer.Option(
        help="How matrices are kept in memory: bf16 takes half of it, and a large model writes "
        "faster on a CPU; f32 is what it was trained with."
    ),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def loaded_model(run: Path, *, device: str, weights: str) -> ByteModel:
    """The model of a run, its matrices stored as ``--weights`` says."""
    from proxylm.generation.loading import load
    from proxylm.models.stored_matrices import BY_SHORT_NAME

    return load(run, device=device, weights=BY_SHORT_NAME[weights])


def compressor_for(run: Path, given: str | None) -> Compressor | None:
    """The compressor that was given, else the model's own, or of its run's data."""
    from proxylm.checkpoints.run_data import compressor_of
    from proxylm.compressors.registry import load_compressor

    return compressor_of(run) if given is None else load_compressor(given)


def read_by(model: ByteModel, run: Path, reading: ReadAs) -> Reading:
    """How the model is to read.

    Args:
        model: the model.
        run: where it was loaded from.
        reading: what ``--read-as`` and ``--compressor`` say.

    Raises:
        UsageError: there is no such view, no compressor, or the model cannot be read so
            (``reading_of``).
    """
    from proxylm.scoring.read_as import BYTES, MIXED, TOKENS
    from proxylm.scoring.readings import reading_of

    name, given = reading.read_as, reading.compressor
    if name == BYTES:
        if given is not None:
            raise UsageError("--compressor goes with --read-as tokens or mixed; bytes need none")
        return reading_of(model)
    if name == MIXED:
        _note_unless_pieces(run)
    if name in (TOKENS, MIXED):
        return reading_of(model, name, compressor_for(run, given))
    return reading_of(model, TOKENS, _of_view(run, name, given))


def _note_unless_pieces(run: Path) -> None:
    from proxylm.checkpoints.run_data import shows_pieces

    if shows_pieces(run) is False:
        note(
            "warning: this run's documents were not cut into pieces, so it has not seen bytes go "
            "on after symbols; after </compressed> it may write the same text again"
        )


def _of_view(run: Path, name: str, given: str | None) -> Compressor:
    from proxylm.checkpoints.run_data import run_data
    from proxylm.compressors.registry import load_compressor
    from proxylm.data.store.store import ViewStore

    data = run_data(run)
    store = None if data is None else ViewStore.open(data.store)
    if store is None or name not in store.view_names:
        views = ", ".join(store.view_names) if store else "which is not at hand"
        raise UsageError(
            f"--read-as {name}: must be bytes, tokens or mixed, or a view of the training data "
            f"({views})"
        )
    if given is not None:
        raise UsageError(f"--read-as {name} names a compressor, and so does --compressor")
    folder = store.view(name).compressor_folder
    if folder is None:
        raise UsageError(f"--read-as {name}: the view has symbols and no compressor to read with")
    return load_compressor(folder)
