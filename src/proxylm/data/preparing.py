"""``px.prepare``: from any documents and compressors to a store, on disk or in memory."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import overload

from proxylm.compressors.contract import Compressor
from proxylm.compressors.registry import load_compressor
from proxylm.corpus.contract import Corpus
from proxylm.corpus.left_out import LeftOut, nothing_left
from proxylm.corpus.opening import Documents, as_corpus
from proxylm.corpus.split import HELD_OUT_FRACTION, check_fraction, is_held_out
from proxylm.data.memory import MemoryStore
from proxylm.data.store.prepare import prepare_store
from proxylm.data.store.steps import CompressDocuments, ReadDocuments
from proxylm.data.store.store import ViewStore
from proxylm.data.store.wanted import wanted_views
from proxylm.data.store.writer import DocumentGroup, ViewCheck, store_fingerprint
from proxylm.errors import UsageError

OneCompressor = Compressor | str | os.PathLike[str]
Compressors = OneCompressor | Mapping[str, OneCompressor] | Iterable[OneCompressor]


@overload
def prepare(
    documents: Documents,
    compressors: Compressors = (),
    out: None = None,
    *,
    held_out_fraction: float | None = None,
    given_view: str | None = None,
    workers: int | None = None,
) -> MemoryStore: ...


@overload
def prepare(
    documents: Documents | None,
    compressors: Compressors,
    out: str | os.PathLike[str],
    *,
    held_out_fraction: float | None = None,
    given_view: str | None = None,
    workers: int | None = None,
) -> ViewStore: ...


def prepare(
    documents: Documents | None,
    compressors: Compressors = (),
    out: str | os.PathLike[str] | None = None,
    *,
    held_out_fraction: float | None = None,
    given_view: str | None = None,
    workers: int | None = None,
) -> ViewStore | MemoryStore:
    """Compress documents into a store of views: on disk, or the same views in memory.

    Documents that cannot be read, or that a compressor has no exact form for, are left out of all
    views; a warning counts them by reason. The same call goes on with a store on disk that was
    interrupted, and adds views that a finished one lacks.

    >>> store = prepare([b"one document", b"another one"], "gzip", held_out_fraction=0.0)
    >>> store.document_count, store.view_names, store.raw(1).tobytes()
    (2, ['gzip'], b'another one')

    Args:
        documents: bytes, or pairs of id and bytes, that a program holds; a path or a name as
            ``proxylm prepare --corpus`` takes it; an open corpus. None where views are added to a
            finished store.
        compressors: by the names of their views; each an object, the folder of a saved one, or a
            name with settings (``units:bits=4``). Without names (one of them, or several), each
            view is called after its compressor's kind. Without any: raw bytes alone.
        out: the store's folder: new, empty, or a store of these documents; None for a store in
            memory, of which nothing is written.
        held_out_fraction: share of documents kept out of training, chosen by hash; default that
            of the store, 0.02 for a new one.
        given_view: name of the view of symbols that come with the documents.
        workers: processes that fill a store on disk; default one per core. The views are the same
            for any number. Compressors and corpora of any importable class reach them; a class of
            the main script does if the script guards its work (``if __name__ == "__main__":``).

    Returns:
        The store, open for reading: documents are numbered from 0 in their order.

    Raises:
        UsageError: ``out`` holds something else, a name cannot be used, a document is no bytes, or
            an object cannot be handed to workers.
        DataError: a document, a file or a view cannot be used, or no document is left; the message
            says why they were left out.
    """
    corpus = None if documents is None else as_corpus(documents)
    named = named_compressors(compressors)
    if out is not None:
        summary = prepare_store(
            corpus,
            named,
            Path(out),
            workers=workers,
            held_out_fraction=held_out_fraction,
            given_view=given_view,
        )
        _warn_of(summary.left_out)
        return ViewStore.open(Path(out))
    if corpus is None:
        raise UsageError("documents: None adds views to a store on disk; name it (out)")
    if workers not in (None, 1):
        raise UsageError(f"workers {workers}: they fill stores on disk; name one (out)")
    fraction = HELD_OUT_FRACTION if held_out_fraction is None else held_out_fraction
    store, left_out = _prepare_in_memory(corpus, named, fraction, given_view)
    _warn_of(left_out)
    return store


def named_compressors(compressors: Compressors) -> dict[str, Compressor]:
    """Compressors by the names of their views, loaded where paths or names stand for them.

    Raises:
        UsageError: there is no such compressor, or two views would have one name.
    """
    if isinstance(compressors, Mapping):
        return {name: _loaded(one) for name, one in compressors.items()}
    if isinstance(compressors, str | os.PathLike) or not isinstance(compressors, Iterable):
        compressors = [compressors]
    named: dict[str, Compressor] = {}
    for given in compressors:
        compressor = _loaded(given)
        if compressor.kind in named:
            raise UsageError(
                f"compressors: two views would be named '{compressor.kind}'; give a dictionary "
                "from names to compressors"
            )
        named[compressor.kind] = compressor
    return named


def _loaded(compressor: OneCompressor) -> Compressor:
    if isinstance(compressor, Compressor):
        return compressor
    if isinstance(compressor, str | os.PathLike):
        return load_compressor(os.fspath(compressor))
    raise UsageError(
        f"compressors: a {type(compressor).__name__} is no Compressor, no path and no name"
    )


def _prepare_in_memory(
    corpus: Corpus, compressors: Mapping[str, Compressor], fraction: float, given_view: str | None
) -> tuple[MemoryStore, LeftOut]:
    check_fraction(fraction)
    wanted = wanted_views(corpus, compressors, given_view, None)
    records = {name: view.record for name, view in wanted.items()}
    parts = corpus.parts()
    read = ReadDocuments(corpus, parts)
    compress = CompressDocuments({name: view.source for name, view in wanted.items()})
    whole = DocumentGroup(views={name: [] for name in wanted})
    check = ViewCheck(records)
    for rank in range(len(parts)):
        for group in compress.run(read.run(rank=rank)):
            check(group)
            whole.extend(group)
    if not whole.documents:
        raise nothing_left(f"{corpus.name}: no documents", whole.left_out, "give some")
    store = MemoryStore.of(
        [document.id for document in whole.documents],
        [document.raw for document in whole.documents],
        {name: (record, whole.views[name]) for name, record in records.items()},
        [is_held_out(document.raw, fraction) for document in whole.documents],
        compressors=compressors,
    )
    # The name that the same store has on disk.
    name = store_fingerprint(corpus.fingerprint, fraction, records)
    return replace(store, fingerprint=name), whole.left_out


def _warn_of(left_out: LeftOut) -> None:
    if left_out:
        warnings.warn(f"documents left out: {left_out}", stacklevel=3)  # where prepare was called
