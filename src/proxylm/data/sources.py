"""Where documents come from: what mixing asks of a source, and how a user names one.

A source is a store of documents, one of its compressed views (or none) and a weight. There are
three kinds of stores: on disk (``data.store.store.ViewStore``), in memory and of lengths alone
(``data.memory.MemoryStore``, ``data.lengths``); any other object that is a ``SourceStore`` will do.
Documents are numbered by *ordinal*: 0, 1, … over all shards of a store.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from proxylm.compressors.contract import Compressor
from proxylm.config import Config
from proxylm.data.store.column import Column
from proxylm.data.store.store import ViewStore
from proxylm.errors import DataError, UsageError
from proxylm.fingerprint import fingerprint_of


@runtime_checkable
class SourceView(Protocol):
    """One compressed view of a store, row for row beside the raw documents.

    Attributes:
        symbol_count, compressor_fingerprint, reversible: what the view is.
        symbol_lengths: int64 ``[documents]``, symbols per document.
        columns: per shard, the symbols (uint16 or uint32).
        anchor_columns: per shard, rows (byte offset, symbol offset), values uint32 ``[a, 2]``.
    """

    @property
    def symbol_count(self) -> int: ...  # noqa: D102

    @property
    def compressor_fingerprint(self) -> str: ...  # noqa: D102

    @property
    def reversible(self) -> bool: ...  # noqa: D102

    @property
    def symbol_lengths(self) -> NDArray[np.int64]: ...  # noqa: D102

    @property
    def columns(self) -> Sequence[Column]: ...  # noqa: D102

    @property
    def anchor_columns(self) -> Sequence[Column]: ...  # noqa: D102

    def symbols(self, ordinal: int) -> NDArray[Any]:
        """Symbols of one document, ``[m]``."""
        ...

    def anchors(self, ordinal: int) -> NDArray[np.uint32]:
        """Where both views of one document can be cut: uint32 ``[a, 2]`` (byte, symbol)."""
        ...

    def load_compressor(self) -> Compressor | None:
        """What made the view and gives its symbols' bytes; None where that is not known."""
        ...


@runtime_checkable
class SourceStore(Protocol):
    """Documents and their compressed views.

    Attributes:
        fingerprint: names the documents and their split.
        view_names: names of the compressed views.
        raw_lengths: int64 ``[documents]``, bytes per document.
        held_out: bool ``[documents]``, True for documents kept out of training.
        raw_columns: per shard, the documents' bytes (uint8).
    """

    @property
    def fingerprint(self) -> str: ...  # noqa: D102

    @property
    def view_names(self) -> Sequence[str]: ...  # noqa: D102

    @property
    def raw_lengths(self) -> NDArray[np.int64]: ...  # noqa: D102

    @property
    def held_out(self) -> NDArray[np.bool_]: ...  # noqa: D102

    @property
    def raw_columns(self) -> Sequence[Column]: ...  # noqa: D102

    def view(self, name: str) -> SourceView:
        """One compressed view; an unknown name is a ``DataError`` that lists the views."""
        ...

    def raw(self, ordinal: int) -> NDArray[np.uint8]:
        """Bytes of one document."""
        ...

    def document_id(self, ordinal: int) -> str:
        """Where a document came from."""
        ...

    def check_content(self, ordinals: Iterable[int]) -> None:
        """Raise ``DamagedFileError`` where these documents are not what was written."""
        ...


class SourceConfig(Config):
    """One source of a run, as YAML names it.

    Attributes:
        store: folder that ``proxylm prepare`` wrote.
        view: name of the compressed view; may be left out when everything is shown raw.
        weight: share of this source, relative to the others; see ``Mixture.weight_of``.
    """

    store: str
    view: str | None = None
    weight: float = Field(default=1.0, ge=0.0)


@dataclass(frozen=True, slots=True)
class Source:
    """One component of a mixture.

    Attributes:
        store: what ``px.prepare`` gives, or the folder of a view store.
        view: name of the compressed view; left out, the store's only one, where the mixture
            shows compressed views.
        weight: share of this source, relative to the others, at least 0.

    >>> Source("views/mine", weight=3)
    Source(store='views/mine', view=None, weight=3)
    """

    store: SourceStore | str | os.PathLike[str]
    view: str | None = None
    weight: float = 1.0


SourceLike = SourceStore | Source | SourceConfig | str | os.PathLike[str]
"""A source as a caller may give it: a store or its folder alone stands for all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSource:
    """A source whose store is open and whose view is decided.

    Attributes:
        name: what messages call it.
    """

    name: str
    store: SourceStore
    view_name: str | None
    weight: float

    @property
    def view(self) -> SourceView | None:
        """The compressed view, or None where everything is shown raw."""
        return None if self.view_name is None else self.store.view(self.view_name)


def data_fingerprint(stores: Iterable[SourceStore]) -> str:
    """Names the data of a training: its sources' documents and their split, in order."""
    return fingerprint_of(*[store.fingerprint for store in stores])


def check_sources(sources: Sequence[Source | SourceConfig]) -> None:
    """Refuse a list of sources that gives nothing to draw from.

    Raises:
        UsageError: there is none, or a weight is impossible, or all of them are 0.
    """
    if not sources:
        raise UsageError("data: no source is given; name at least one view store")
    for source in sources:
        if not (source.weight >= 0 and math.isfinite(source.weight)):
            raise UsageError(f"data: a weight must be a number from 0 on (given: {source.weight})")
    if not any(source.weight > 0 for source in sources):
        raise UsageError("data: all weights are 0; give at least one source a positive weight")


def open_sources(
    sources: SourceLike | Sequence[SourceLike], *, needs_compressed: bool
) -> list[OpenSource]:
    """Open what a caller gave as one source or a list of them.

    Args:
        sources: as in ``batches``.
        needs_compressed: whether the mixture needs compressed views.

    Raises:
        UsageError: no source, an impossible weight, or a view that has to be named.
        DataError: a store cannot be opened, or has no such view.
    """
    given: Sequence[Any] = sources if isinstance(sources, list | tuple) else [sources]
    named = [one if isinstance(one, Source | SourceConfig) else Source(one) for one in given]
    check_sources(named)
    return [_opened(source, needs_compressed) for source in named]


def _opened(source: Source | SourceConfig, needs_compressed: bool) -> OpenSource:
    name, store = _opened_store(source.store)
    view = source.view
    if view is not None:
        store.view(view)  # an unknown name is refused here
    elif needs_compressed and isinstance(source, SourceConfig):
        # A configuration says what it shows: another view in the store must not change its run.
        raise UsageError(
            f"data: {name}: no view is named, but mixing.rate shows compressed "
            "views; set 'view', or mixing.rate to constant 0 for bytes only"
        )
    elif needs_compressed:
        view = _only_view(name, store)
    return OpenSource(name=name, store=store, view_name=view, weight=source.weight)


def _opened_store(store: SourceStore | str | os.PathLike[str]) -> tuple[str, SourceStore]:
    """What messages call a store, and the store."""
    if isinstance(store, str | os.PathLike):
        return os.fspath(store), ViewStore.open(Path(store))
    if isinstance(store, SourceStore):
        return repr(store), store
    raise UsageError(
        f"data: {store!r}: is no source; give what px.prepare gives, or the folder of a view store"
    )


def _only_view(name: str, store: SourceStore) -> str:
    views = list(store.view_names)
    if not views:
        raise DataError(
            f"data: {name}: has no compressed view, but the mixture shows compressed views; "
            "prepare one, or take Mixture.bytes_only()"
        )
    if len(views) > 1:
        raise UsageError(f"data: {name}: has several views ({', '.join(views)}); name one of them")
    return views[0]
