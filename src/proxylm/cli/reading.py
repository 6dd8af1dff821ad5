"""Options that every command on a trained model shares: which one, where, and how it is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxylm.errors import UsageError

if TYPE_CHECKING:
    from proxylm.compressors.contract import Compressor
    from proxylm.generation.byte_model import ByteModel

BYTES, TOKENS = "bytes", "tokens"
ONE = "one"

RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder, checkpoint, or EvaByte folder.")
]
ReadAsOption = Annotated[
    str,
    typer.Option(
        help="How the model reads: bytes, tokens (its compressor's symbols), or the name of a view "
        "of its training data."
    ),
]
CompressorOption = Annotated[
    str | None, typer.Option(help="The model's compressor. (default: its training data's)")
]
DraftsOption = Annotated[
    str,
    typer.Option(
        help="Bytes per forward pass: one, or several that the model's further heads draft, as a "
        "chain or a tree."
    ),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def compressor_for(run: Path, given: str | None) -> Compressor | None:
    """The compressor that was given, else the one of the run's training data, if it is there."""
    from proxylm.compressors.registry import load_compressor
    from proxylm.evaluation.run_data import run_data

    if given is not None:
        return load_compressor(given)
    data = run_data(run)
    return None if data is None else data.compressor()


def read_by(model: ByteModel, run: Path, read_as: str, given: str | None) -> Compressor | None:
    """The compressor whose symbols the model is to read; None for bytes.

    Args:
        model: the model.
        run: where it was loaded from.
        read_as: of ``--read-as``.
        given: of ``--compressor``.

    Raises:
        UsageError: the model knows bytes alone, there is no such view, no compressor, or it is not
            the model's.
    """
    if read_as == BYTES:
        if given is not None:
            raise UsageError("--compressor goes with --read-as tokens; bytes need none")
        return None
    model.config.require_compressed_symbols()
    compressor = compressor_for(run, given) if read_as == TOKENS else _of_view(run, read_as, given)
    if compressor is None:
        raise UsageError(f"--read-as {read_as} needs the model's compressor: give --compressor")
    model.require_compressor(compressor.symbol_count, compressor.fingerprint)
    return compressor


def _of_view(run: Path, name: str, given: str | None) -> Compressor | None:
    from proxylm.compressors.registry import load_compressor
    from proxylm.data.store.store import ViewStore
    from proxylm.evaluation.run_data import run_data

    data = run_data(run)
    store = None if data is None else ViewStore.open(data.store)
    if store is None or name not in store.view_names:
        views = ", ".join(store.view_names) if store else "which is not at hand"
        raise UsageError(
            f"--read-as {name}: must be bytes or tokens, or a view of the training data ({views})"
        )
    if given is not None:
        raise UsageError(f"--read-as {name} names a compressor, and so does --compressor")
    folder = store.view(name).compressor_folder
    return None if folder is None else load_compressor(folder)
