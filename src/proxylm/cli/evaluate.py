"""``proxylm evaluate``: scores of a trained model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli import evaluate_all, evaluate_code, evaluate_harness
from proxylm.cli.compressor import note_left_out, note_skipped
from proxylm.cli.evaluation_options import about_model
from proxylm.cli.options import options
from proxylm.cli.output import JsonOption, bars, emit, table
from proxylm.cli.reading import READING, DeviceOption, RunArgument, read_by
from proxylm.errors import DataError, ProxylmError, UsageError

if TYPE_CHECKING:
    from proxylm.corpus.left_out import LeftOut
    from proxylm.generation.byte_model import ByteModel
    from proxylm.scoring.documents import DocumentScore, ReadDocument
    from proxylm.scoring.read_as import ReadAs
    from proxylm.scoring.readings import Ids

app = typer.Typer(no_args_is_help=True, help=__doc__)

app.command("humaneval")(evaluate_code.humaneval)
app.command("mbpp")(evaluate_code.mbpp)
app.command("recode")(evaluate_code.recode)
app.command("prompt-boundary")(evaluate_code.prompt_boundary)
app.command("translation")(evaluate_code.translation)
app.command("lm-eval")(evaluate_harness.lm_eval)
app.command("all")(evaluate_all.evaluate_all)


@app.command()
@options(reading=READING)
def bpb(
    model: RunArgument,
    reading: ReadAs,
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILES]...", help="Files and folders to score.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Score the documents of this view store instead.")
    ] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="With --store: only its held-out documents.")
    ] = False,
    text_field: Annotated[
        str, typer.Option(help="Field of a record that holds a document.")
    ] = "text",
    max_document_bytes: Annotated[
        int | None, typer.Option(help="Longer records are left out and counted.", min=1)
    ] = None,
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
        prefix, documents = _from_store(loaded, model, store, held_out, reading)
    else:
        found = read_by(loaded, model, reading)
        files, skipped = find_files(paths or [], left_out)
        note_skipped(skipped)
        documents = read_files(
            files,
            found,
            left_out=left_out,
            text_field=text_field,
            max_document_bytes=max_document_bytes,
        )
        prefix = found.prefix
    wanted = until_bytes(documents, limit_bytes)
    scores = score_documents(loaded.module, wanted, prefix, context=context, stride=stride)
    rows, failure = _scored(scores)
    note_left_out(left_out)
    about = {
        **about_model(loaded, model),
        "store": None if store is None else str(store),
        "held_out": held_out,
        "limit_bytes": limit_bytes,
        **_windows(loaded, len(prefix), context, stride),
    }
    if rows or failure is None:
        _report(rows, reading.read_as, left_out, about, complete=failure is None, as_json=json)
    if failure is not None:
        raise failure


def _scored(
    scores: Iterable[DocumentScore],
) -> tuple[list[DocumentScore], ProxylmError | None]:
    """The scores; where a later document cannot be had, those before it, and why."""
    rows: list[DocumentScore] = []
    try:
        with bars() as show:
            for score in scores:
                rows.append(score)
                show("documents scored", len(rows), None)
    except DataError as error:
        return rows, error
    return rows, None


def _windows(
    model: ByteModel, prefix_length: int, context: int | None, stride: int | None
) -> dict[str, int]:
    """The windows of documents longer than the context, in symbols."""
    from proxylm.models.scoring_windows import default_stride

    size = context or model.config.context
    return {"context": size, "stride": stride or default_stride(size, prefix_length)}


def _check_arguments(paths: list[Path] | None, store: Path | None, held_out: bool) -> None:
    if bool(paths) == (store is not None):
        raise UsageError("give files or folders to score, or --store STORE, and not both")
    if held_out and store is None:
        raise UsageError("--held-out needs --store: files have no split")


def _from_store(
    model: ByteModel, run: Path, folder: Path, held_out: bool, reading: ReadAs
) -> tuple[Ids, Iterator[ReadDocument]]:
    from proxylm.data.store.store import ViewStore
    from proxylm.scoring.documents import read_from_store, read_store, stored_view

    # Scores of altered documents would look like any others.
    store = ViewStore.open(folder, verify=True)
    chosen = store.ordinals(held_out=True) if held_out else range(store.document_count)
    ordinals = map(int, chosen)
    if reading.compressor is not None:
        found = read_by(model, run, reading)
        return found.prefix, read_store(store, ordinals, found)
    return read_from_store(store, ordinals, model, stored_view(store, model, reading.read_as))


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

    *documents, total = map(_score_object, [*scores, total_score(scores, left_out)])
    result = {
        "about": about,
        "read_as": read_as,
        "documents": documents,
        "total": total,
        "left_out": left_out.to_json(),
        "complete": complete,
    }
    headers = ["document", "raw bytes", "symbols", "bits", "bits per byte"]
    forms = ["", "", "", ".1f", ".4f"]
    rows = [
        [format(value, form) for value, form in zip(one.values(), forms, strict=True)]
        for one in (*documents, total)
    ]
    emit(result, as_json=as_json, text=table(headers, rows))


def _score_object(score: DocumentScore) -> dict[str, Any]:
    return {
        "name": score.name,
        "raw_bytes": score.num_bytes,
        "symbols": score.num_symbols,
        "bits": score.bits,
        "bits_per_byte": score.bits_per_byte,
    }
