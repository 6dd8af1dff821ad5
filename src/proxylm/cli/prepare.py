"""``proxylm prepare``: from a corpus and compressors to a view store."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxylm.cli.compressor import DEFAULT_FILES, FilesOption, PatternOption
from proxylm.cli.output import JsonOption, counts_text, emit, note, table
from proxylm.errors import UsageError

if TYPE_CHECKING:
    from proxylm.compressors.contract import Compressor
    from proxylm.corpus.contract import Corpus
    from proxylm.data.store.prepare import PrepareProgress
    from proxylm.data.store.summary import PrepareSummary

_NAMED = re.compile(r"([A-Za-z0-9_.-]+)=(.+)", re.DOTALL)
_SECONDS_BETWEEN_LINES = 2.0


def prepare(
    out: Annotated[Path, typer.Option("--out", help="The store's folder: new, or to go on with.")],
    corpus: Annotated[
        str | None,
        typer.Option(
            "--corpus",
            help="stdlib, a folder, a file (JSON lines, also compressed, Parquet, Arrow, any other)"
            " or hf:NAME. Not needed to add a view to a finished store.",
        ),
    ] = None,
    compressor: Annotated[
        list[str] | None,
        typer.Option(
            "--compressor",
            help="A compressor's folder, a tokenizer.json or a name (gzip, units:bits=4); "
            "NAME=… names its view. Repeatable.",
        ),
    ] = None,
    given_view: Annotated[
        str | None,
        typer.Option("--given-view", help="View made of the symbols that come with documents."),
    ] = None,
    text_field: Annotated[str, typer.Option(help="Field that holds the text.")] = "text",
    id_field: Annotated[
        str | None, typer.Option(help="Field that names a document; names may repeat.")
    ] = None,
    symbols_field: Annotated[str | None, typer.Option(help="Field with given symbols.")] = None,
    symbol_count: Annotated[int | None, typer.Option(help="K of the given symbols.")] = None,
    pattern: PatternOption = "*",
    files: FilesOption = DEFAULT_FILES,
    invalid_utf8: Annotated[str, typer.Option(help="keep or reject such bytes.")] = "keep",
    max_document_bytes: Annotated[
        int | None, typer.Option(help="Longer documents are left out and counted.")
    ] = None,
    part_bytes: Annotated[
        int | None, typer.Option(help="About how many source bytes become one shard.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; default one per core.")] = None,
    held_out: Annotated[
        float | None, typer.Option(help="Share kept out of training; default 0.02.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compress a corpus into a view store; run it again to go on or to add a view.

    Example: proxylm prepare --corpus stdlib --compressor bpe=compressors/bpe --out stores/stdlib
    """
    from proxylm.data.store.prepare import prepare_store

    compressors = _load_compressors(compressor or [])
    options = {
        "text_field": text_field,
        "id_field": id_field,
        "symbols_field": symbols_field,
        "symbol_count": symbol_count,
        "pattern": pattern,
        "files": files,
        "invalid_utf8": invalid_utf8,
        "max_document_bytes": max_document_bytes,
        "part_bytes": part_bytes,
    }
    with _progress() as progress:
        summary = prepare_store(
            None if corpus is None else _open_corpus(corpus, options),
            compressors,
            out,
            workers=workers,
            held_out_fraction=held_out,
            given_view=given_view,
            progress=progress,
        )
    emit(summary.to_json(), as_json=json, text=_readable(summary))


def _open_corpus(path: str, options: dict[str, str | int | None]) -> Corpus:
    from proxylm.config import validate_config
    from proxylm.corpus.opening import CorpusConfig, open_corpus

    given = {key: value for key, value in options.items() if value is not None}
    return open_corpus(validate_config(CorpusConfig, given | {"path": path}, origin="--corpus"))


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


@contextmanager
def _progress() -> Iterator[Callable[[PrepareProgress], None]]:
    """A bar with an estimate on a terminal, a line now and then elsewhere; always on stderr."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield LineProgress()
        return
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    ]
    tasks = {}
    with Bar(*columns, console=console, transient=True) as bar:

        def show(progress: PrepareProgress) -> None:
            if progress.job not in tasks:
                tasks[progress.job] = bar.add_task(progress.job, total=progress.total_bytes)
            bar.update(tasks[progress.job], completed=progress.done_bytes)

        yield show


class LineProgress:
    """Progress for logs: a line at the start, then at most one every few seconds."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[float, int]] = {}
        self._last = 0.0

    def __call__(self, progress: PrepareProgress) -> None:
        """Print a line if one is due."""
        now = time.monotonic()
        started, at_first = self._first.setdefault(progress.job, (now, progress.done_bytes))
        if now - self._last < _SECONDS_BETWEEN_LINES and progress.done_bytes < progress.total_bytes:
            return
        self._last = now
        done, total = progress.done_bytes, progress.total_bytes
        left = ""
        if at_first < done < total:
            seconds = (now - started) * (total - done) / (done - at_first)
            left = f", about {seconds:.0f} s left"
        note(f"{progress.job}: {done / 1e6:.1f} of {total / 1e6:.1f} MB{left}")


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
                _rate(view.bytes_per_symbol),
            ]
            for name, view in summary.views.items()
        ]
        lines += ["", table(["view", "kind", "K", "symbols", "bytes/symbol"], rows), ""]
    lines.append(
        f"{summary.processed_bytes / 1e6:.2f} MB processed in {summary.seconds:.1f} s "
        f"({summary.bytes_per_second / 1e6:.2f} MB/s)"
    )
    return "\n".join(lines)


def _rate(bytes_per_symbol: float | None) -> str:
    return "-" if bytes_per_symbol is None else f"{bytes_per_symbol:.3f}"
