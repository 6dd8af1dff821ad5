"""``proxylm prepare``: from a corpus and compressors to a view store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxylm.cli.compressor import CORPUS, CORPUS_CLASS
from proxylm.cli.options import Flags, options
from proxylm.cli.output import (
    JsonOption,
    byte_progress,
    counts_text,
    emit,
    number,
    table,
)
from proxylm.errors import UsageError
from proxylm.progress import stage

if TYPE_CHECKING:
    from proxylm.compressors.contract import Compressor
    from proxylm.corpus.config import CorpusConfig
    from proxylm.data.store.summary import PrepareSummary

_NAMED = re.compile(r"([A-Za-z0-9_.-]+)=(.+)", re.DOTALL)
_FURTHER_FIELDS = ("id_field", "symbols_field", "symbol_count", "invalid_utf8", "part_bytes")


@options(corpus=Flags(CORPUS_CLASS, (*CORPUS.names, *_FURTHER_FIELDS)))
def prepare(
    out: Annotated[Path, typer.Option("--out", help="The store's folder: new, or to go on with.")],
    corpus: CorpusConfig | None = None,
    compressor: Annotated[
        list[str] | None,
        typer.Option(
            "--compressor",
            help="A compressor's folder, a tokenizer's file or a name (gzip, units:bits=4); "
            "NAME=… names its view. Repeatable.",
        ),
    ] = None,
    given_view: Annotated[
        str | None,
        typer.Option("--given-view", help="View made of the symbols that come with documents."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; default one per core.")] = None,
    executor: Annotated[
        Path | None,
        typer.Option(help="Where shards are made, as YAML: kind local, slurm or ray."),
    ] = None,
    held_out: Annotated[
        float | None, typer.Option(help="Share kept out of training; default 0.02.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compress a corpus into a view store; run it again to go on or to add a view.

    A view is added to a finished store without its corpus.

    Example: proxylm prepare --corpus stdlib --compressor bpe=compressors/bpe --out stores/stdlib
    """
    from proxylm.corpus.opening import open_corpus
    from proxylm.data.store.executors import load_executor
    from proxylm.data.store.prepare import prepare_store

    # What is quickly refused comes before the corpus, which is read as a whole.
    where = None if executor is None else load_executor(executor)
    compressors = _load_compressors(compressor or [])
    with byte_progress() as show:
        opened = None
        if corpus is not None:
            with stage("opening the corpus", show):
                opened = open_corpus(corpus)
        summary = prepare_store(
            opened,
            compressors,
            out,
            workers=workers,
            executor=where,
            held_out_fraction=held_out,
            given_view=given_view,
            progress=show,
        )
    emit(summary.to_json(), as_json=json, text=_readable(summary))


def _load_compressors(arguments: list[str]) -> dict[str, Compressor]:
    from proxylm.compressors.registry import load_compressor

    compressors: dict[str, Compressor] = {}
    for argument in arguments:
        name, location = split_name(argument)
        if name in compressors:
            raise UsageError(f"--compressor: two views are named '{name}'; name them with NAME=…")
        compressors[name] = load_compressor(location)
    return compressors


def split_name(argument: str) -> tuple[str, str]:
    """The view's name and where its compressor is; what exists as it stands is a path.

    >>> split_name("bpe=runs/tokenizer"), split_name("units:bits=4")
    (('bpe', 'runs/tokenizer'), ('units', 'units:bits=4'))
    """
    from proxylm.files import is_there

    if is_there(argument):
        path = Path(argument).resolve()
        return (path.parent if path.is_file() else path).name, argument
    named = _NAMED.fullmatch(argument)
    if named:
        return named[1], named[2]
    return argument.partition(":")[0], argument


def _readable(summary: PrepareSummary) -> str:
    rejected = "".join(f"\n  {line}" for line in summary.left_out.lines())
    lines = [
        f"{summary.folder}: {summary.documents_written} documents, "
        f"{summary.num_bytes / 1e6:.2f} MB in {summary.shards} shards",
        f"documents in {summary.documents_in} = written {summary.documents_written} "
        f"+ rejected {sum(summary.rejected.values())}{rejected}",
        *([f"skipped by rule: {counts_text(summary.skipped)}"] if summary.skipped else []),
        f"held out: {summary.held_out_documents} documents, {summary.held_out_bytes / 1e6:.2f} MB",
    ]
    if summary.views:
        rows = [
            [
                name,
                view.kind,
                str(view.symbol_count),
                str(view.symbols),
                number(view.bytes_per_symbol, 3),
            ]
            for name, view in summary.views.items()
        ]
        lines += ["", table(["view", "kind", "K", "symbols", "bytes/symbol"], rows), ""]
    lines.append(
        f"{summary.processed_bytes / 1e6:.2f} MB processed in {summary.seconds:.1f} s "
        f"({summary.bytes_per_second / 1e6:.2f} MB/s)"
    )
    return "\n".join(lines)
