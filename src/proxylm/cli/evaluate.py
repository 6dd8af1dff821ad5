"""``proxylm evaluate``: scores of a trained model."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli import evaluate_all, evaluate_code, evaluate_harness
from proxylm.cli.compressor import note_left_out, note_skipped
from proxylm.cli.evaluation_options import about_model
from proxylm.cli.output import JsonOption, emit, table
from proxylm.cli.reading import (
    BYTES,
    TOKENS,
    CompressorOption,
    DeviceOption,
    ReadAsOption,
    RunArgument,
    read_by,
)
from proxylm.errors import DataError, ProxylmError, UsageError

if TYPE_CHECKING:
    from proxylm.compressors.contract import Compressor
    from proxylm.corpus.left_out import LeftOut
    from proxylm.generation.byte_model import ByteModel
    from proxylm.scoring.documents import DocumentScore, ReadDocument
    from proxylm.scoring.readings import Reading
    from proxylm.symbols import Format

app = typer.Typer(no_args_is_help=True, help=__doc__)

app.command("humaneval")(evaluate_code.humaneval)
app.command("mbpp")(evaluate_code.mbpp)
app.command("recode")(evaluate_code.recode)
app.command("prompt-boundary")(evaluate_code.prompt_boundary)
app.command("translation")(evaluate_code.translation)
app.command("lm-eval")(evaluate_harness.lm_eval)
app.command("all")(evaluate_all.evaluate_all)

MaxRecordBytesOption = Annotated[
    int | None, typer.Option(help="Longer records are left out and counted.", min=1)
]


@app.command()
def bpb(
    model: RunArgument,
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILES]...", help="Files and folders to score.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Score the documents of this view store instead.")
    ] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="With --store: only its held-out documents.")
    ] = False,
    read_as: ReadAsOption = BYTES,
    compressor: CompressorOption = None,
    text_field: Annotated[
        str, typer.Option(help="Field of a record that holds a document.")
    ] = "text",
    max_document_bytes: MaxRecordBytesOption = None,
    stride: Annotated[
        int | None, typer.Option(help="Symbols per further window. (default: half the context)")
    ] = None,
    context: Annotated[
        int | None, typer.Option(help="Symbols per window. (default: as in training)")
    ] = None,
    limit_bytes: Annotated[
        int | None, typer.Option(min=1, help="Stop with the document that reaches this many bytes.")
    ] = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Bits per byte of documents: the model's bits for their content per *raw* byte.

    Each file is one document (of JSON lines, Parquet and Arrow: each record), read alone from its
    start; one longer than the context is read in windows. The total is all bits over all raw bytes.

    Example: proxylm evaluate bpb runs/demo/proxy src/proxylm/symbols.py --read-as bytes
    """
    from proxylm.corpus.left_out import LeftOut
    from proxylm.generation.loading import load
    from proxylm.scoring.documents import find_files, read_files, score_documents, until_bytes

    _check_arguments(paths, store, held_out)
    left_out = LeftOut()
    loaded = load(model, device=device)
    if store is not None:
        documents, content_format = _from_store(loaded, model, store, held_out, read_as, compressor)
    else:
        reading = _reading(read_by(loaded, model, read_as, compressor))
        files, skipped = find_files(paths or [], left_out)
        note_skipped(skipped)
        documents = read_files(
            files,
            reading,
            left_out=left_out,
            text_field=text_field,
            max_document_bytes=max_document_bytes,
        )
        content_format = reading.format
    wanted = until_bytes(documents, limit_bytes)
    scores = score_documents(loaded.module, wanted, content_format, context=context, stride=stride)
    rows, failure = _scored(scores)
    note_left_out(left_out)
    about = {
        **about_model(loaded, model),
        "store": None if store is None else str(store),
        "held_out": held_out,
        "limit_bytes": limit_bytes,
        **_windows(loaded, content_format, context, stride),
    }
    if rows or failure is None:
        _report(rows, read_as, left_out, about, complete=failure is None, as_json=json)
    if failure is not None:
        raise failure


def _scored(
    scores: Iterable[DocumentScore],
) -> tuple[list[DocumentScore], ProxylmError | None]:
    """The scores; where a later document cannot be had, those before it, and why."""
    rows: list[DocumentScore] = []
    try:
        for score in _shown(scores):
            rows.append(score)
    except DataError as error:
        return rows, error
    return rows, None


def _windows(
    model: ByteModel, content_format: Format, context: int | None, stride: int | None
) -> dict[str, int]:
    """The windows of documents longer than the context, in symbols."""
    from proxylm.models.scoring_windows import default_stride
    from proxylm.scoring.readings import prefix_of

    size = context or model.config.context
    prefix = prefix_of(model.module, content_format)
    return {"context": size, "stride": stride or default_stride(size, len(prefix))}


def _check_arguments(paths: list[Path] | None, store: Path | None, held_out: bool) -> None:
    if bool(paths) == (store is not None):
        raise UsageError("give files or folders to score, or --store STORE, and not both")
    if held_out and store is None:
        raise UsageError("--held-out needs --store: files have no split")


def _from_store(
    model: ByteModel,
    run: Path,
    folder: Path,
    held_out: bool,
    read_as: str,
    compressor: str | None,
) -> tuple[Iterator[ReadDocument], Format]:
    from proxylm.data.store.store import ViewStore
    from proxylm.scoring.documents import read_store, read_stored_view
    from proxylm.symbols import Format

    # Scores of altered documents would look like any others.
    store = ViewStore.open(folder, verify=True)
    ordinals = store.ordinals(held_out=True) if held_out else range(store.document_count)
    if read_as in (BYTES, TOKENS):
        reading = _reading(read_by(model, run, read_as, compressor))
        return read_store(store, map(int, ordinals), reading), reading.format
    stored = store.view(read_as)
    model.require_compressor(stored.symbol_count, stored.compressor_fingerprint)
    return read_stored_view(store, map(int, ordinals), read_as), Format.COMPRESSED


def _reading(compressor: Compressor | None) -> Reading:
    from proxylm.scoring.readings import CompressedReading, RawView

    return RawView() if compressor is None else CompressedReading(compressor)


def _shown(scores: Iterable[DocumentScore]) -> Iterator[DocumentScore]:
    """Count on a terminal's stderr what has been scored so far."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return iter(
        track(
            scores,
            description="documents scored",
            console=console,
            disable=not sys.stderr.isatty(),
            transient=True,
        )
    )


def _report(
    scores: list[DocumentScore],
    read_as: str,
    left_out: LeftOut,
    about: dict[str, Any],
    *,
    complete: bool,
    as_json: bool,
) -> None:
    from proxylm.scoring.documents import total_score

    total = total_score(scores, left_out)
    rows = [
        [
            score.name,
            f"{score.num_bytes}",
            f"{score.num_symbols}",
            f"{score.bits:.1f}",
            f"{score.bits_per_byte:.4f}",
        ]
        for score in (*scores, total)
    ]
    result = {
        "about": about,
        "read_as": read_as,
        "documents": [_score_object(score) for score in scores],
        "total": _score_object(total),
        "left_out": left_out.to_json(),
        "complete": complete,
    }
    headers = ["document", "raw bytes", "symbols", "bits", "bits per byte"]
    emit(result, as_json=as_json, text=table(headers, rows))


def _score_object(score: DocumentScore) -> dict[str, Any]:
    return {
        "name": score.name,
        "raw_bytes": score.num_bytes,
        "symbols": score.num_symbols,
        "bits": score.bits,
        "bits_per_byte": score.bits_per_byte,
    }
