"""``proxylm evaluate``: scores of a trained model."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli import (
    evaluate_all,
    evaluate_checkpoints,
    evaluate_code,
    evaluate_harness,
    evaluate_olmes,
    evaluate_tasks,
)
from proxylm.cli.compressor import note_left_out, note_skipped
from proxylm.cli.evaluation_options import about_model
from proxylm.cli.options import Flags, options
from proxylm.cli.output import JsonOption, byte_progress, emit, note, table
from proxylm.cli.reading import (
    READING,
    DeviceOption,
    RunArgument,
    WeightsOption,
    loaded_model,
    read_by,
)
from proxylm.errors import DataError, ProxylmError, UsageError

if TYPE_CHECKING:
    from proxylm.corpus.left_out import LeftOut
    from proxylm.generation.byte_model import ByteModel
    from proxylm.scoring.documents import DocumentScore, ReadDocument
    from proxylm.scoring.read_as import ReadAs
    from proxylm.scoring.readings import Ids
    from proxylm.scoring.settings import DocumentScoring

app = typer.Typer(no_args_is_help=True)

app.command("humaneval")(evaluate_code.humaneval)
app.command("mbpp")(evaluate_code.mbpp)
app.command("recode")(evaluate_code.recode)
app.command("prompt-boundary")(evaluate_code.prompt_boundary)
app.command("translation")(evaluate_code.translation)
app.command("mutated")(evaluate_tasks.mutated)
app.command("next-line")(evaluate_tasks.next_line)
app.command("lm-eval")(evaluate_harness.lm_eval)
app.command("olmes")(evaluate_olmes.olmes)
app.command("all")(evaluate_all.evaluate_all)
# What follows the evaluation's name is for the evaluation.
_OWN_FIRST = {"allow_interspersed_args": False, "allow_extra_args": True}
app.command("checkpoints", context_settings=_OWN_FIRST)(evaluate_checkpoints.evaluate_checkpoints)


@app.command()
@options(
    reading=READING,
    scoring=Flags(
        "proxylm.scoring.settings:DocumentScoring",
        ("stride", "context", "limit_documents", "limit_bytes", "rows", "shown"),
    ),
)
def bpb(
    model: RunArgument,
    reading: ReadAs,
    scoring: DocumentScoring,
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
    device: DeviceOption = "auto",
    weights: WeightsOption = "f32",
    json: JsonOption = False,
) -> None:
    """Bits per byte of documents: the model's bits for their content per *raw* byte.

    Each file is one document (of JSON lines, Parquet and Arrow: each record), read alone from its
    start; one longer than the context is read in windows. The total is all bits over all raw bytes.
    It comes first, and below it the first documents; --rows FILE has all of them. With --read-as
    mixed every document is predicted in stretches of --stride bytes, each after the symbols of what
    comes before it.

    Example: proxylm evaluate bpb runs/demo/proxy src/proxylm/symbols.py --read-as bytes
    """
    from proxylm.corpus.left_out import LeftOut
    from proxylm.scoring.documents import (
        expected_bytes,
        expected_of_files,
        find_files,
        first_documents,
        read_files,
        score_documents,
    )

    _check_arguments(paths, store, held_out)
    left_out = LeftOut()
    limits = scoring.model_dump(include={"limit_documents", "limit_bytes"})
    loaded = loaded_model(model, device=device, weights=weights)
    if store is not None:
        prefix, documents, sizes = _from_store(loaded, model, store, held_out, reading)
        expected: int | None = expected_bytes(sizes, **limits)
    else:
        found = read_by(loaded, model, reading)
        files, skipped = find_files(paths or [], left_out)
        note_skipped(skipped)
        records: dict[str, Any] = {
            "text_field": text_field,
            "max_document_bytes": max_document_bytes,
        }
        documents = read_files(files, found, left_out=left_out, **records)
        prefix, expected = found.prefix, expected_of_files(files, **limits)
    wanted = first_documents(documents, **limits)
    context, stride = scoring.context, scoring.stride
    with byte_progress() as show:
        how = {"context": context, "stride": stride, "expected_bytes": expected}
        scores = score_documents(loaded.module, wanted, prefix, progress=show, **how)
        rows, failure = _scored(scores, scoring.rows)
    note_left_out(left_out)
    about = {
        **about_model(loaded, model),
        "store": None if store is None else str(store),
        "held_out": held_out,
        **limits,
        **_windows(loaded, reading.read_as, len(prefix), context, stride),
    }
    if rows or failure is None:
        result = _result(rows, left_out) | {"read_as": reading.read_as, "about": about}
        _report(result | {"complete": failure is None}, scoring, as_json=json)
    if failure is not None:
        raise failure


def _scored(
    scores: Iterable[DocumentScore], file: Path | None
) -> tuple[list[DocumentScore], ProxylmError | None]:
    """The scores, written into the file as they come.

    Where a later document cannot be had, those before it, and why.
    """
    rows: list[DocumentScore] = []
    try:
        with _rows_file(file) as write:
            for score in scores:
                rows.append(score)
                write(score)
    except DataError as error:
        return rows, error
    return rows, None


@contextmanager
def _rows_file(path: Path | None) -> Iterator[Callable[[DocumentScore], None]]:
    """A function that writes a document's row; it does nothing without a file."""
    from proxylm.files import named_write

    if path is None:
        yield lambda score: None
        return
    with named_write(path), path.open("w", encoding="utf-8") as stream:
        yield lambda score: print(json_module.dumps(_score_object(score)), file=stream)


def _windows(
    model: ByteModel, read_as: str, prefix_length: int, context: int | None, stride: int | None
) -> dict[str, int]:
    """The windows of documents longer than the context, in symbols; or a stretch's bytes."""
    from proxylm.models.scoring_windows import default_stride
    from proxylm.scoring.mixed import default_stretch
    from proxylm.scoring.read_as import MIXED

    size = context or model.config.context
    default = default_stretch if read_as == MIXED else default_stride
    return {"context": size, "stride": stride or default(size, prefix_length)}


def _check_arguments(paths: list[Path] | None, store: Path | None, held_out: bool) -> None:
    if bool(paths) == (store is not None):
        raise UsageError("give files or folders to score, or --store STORE, and not both")
    if held_out and store is None:
        raise UsageError("--held-out needs --store: files have no split")


def _from_store(
    model: ByteModel, run: Path, folder: Path, held_out: bool, reading: ReadAs
) -> tuple[Ids, Iterator[ReadDocument], Sequence[int]]:
    """What the model reads before every document, the documents, and their raw bytes."""
    from proxylm.data.store.store import ViewStore
    from proxylm.scoring.documents import read_from_store, read_store, stored_view
    from proxylm.scoring.read_as import MIXED

    # Scores of altered documents would look like any others.
    store = ViewStore.open(folder, verify=True)
    chosen = store.ordinals(held_out=True) if held_out else range(store.document_count)
    ordinals, sizes = list(map(int, chosen)), store.raw_lengths[chosen].tolist()
    if reading.compressor is not None or reading.read_as == MIXED:
        found = read_by(model, run, reading)
        return found.prefix, read_store(store, ordinals, found), sizes
    view = stored_view(store, model, reading.read_as)
    return *read_from_store(store, ordinals, model, view), sizes


def _result(scores: list[DocumentScore], left_out: LeftOut) -> dict[str, Any]:
    from proxylm.scoring.documents import total_score

    return {
        "total": _score_object(total_score(scores, left_out)),
        "document_count": len(scores),
        "documents": list(map(_score_object, scores)),
        "left_out": left_out.to_json(),
    }


def _report(result: dict[str, Any], scoring: DocumentScoring, *, as_json: bool) -> None:
    """Print the total, and the first documents below it."""
    shown, count = result["documents"][: scoring.shown], result["document_count"]
    headers = ["document", "raw bytes", "symbols", "bits", "bits per byte"]
    forms = ["", "", "", ".1f", ".4f"]
    rows = [
        [format(value, form) for value, form in zip(one.values(), forms, strict=True)]
        for one in (result["total"], *shown)
    ]
    if len(shown) < count:
        where = f"all are in {scoring.rows}" if scoring.rows else "--rows FILE keeps all"
        note(f"the first {len(shown)} of {count} documents are shown; {where}")
    emit(result | {"documents": shown}, as_json=as_json, text=table(headers, rows))


def _score_object(score: DocumentScore) -> dict[str, Any]:
    return {
        "name": score.name,
        "raw_bytes": score.num_bytes,
        "symbols": score.num_symbols,
        "bits": score.bits,
        "bits_per_byte": score.bits_per_byte,
    }
