"""The views that a run of ``prepare`` is asked for, checked before anything is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from proxylm.compressors.contract import Compressor
from proxylm.compressors.registry import is_registered
from proxylm.corpus.contract import Corpus
from proxylm.data.store.manifest import COMPRESSORS_FOLDER, GIVEN_KIND, ViewRecord
from proxylm.data.store.steps import CompressorSource, GivenSource, ViewSource
from proxylm.errors import UsageError
from proxylm.fingerprint import fingerprint_of

_VIEW_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_RESERVED_NAMES = {"raw"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedView:
    """A view asked for: what it will be, and how its symbols are obtained."""

    record: ViewRecord
    source: ViewSource


def wanted_views(
    corpus: Corpus | None,
    compressors: Mapping[str, Compressor],
    given_view: str | None,
    out: Path | None,
) -> dict[str, WantedView]:
    """All views asked for, by name.

    Args:
        corpus: the documents, where any are read.
        compressors: by the names of their views.
        given_view: name of the view of symbols that come with the documents.
        out: the store's folder, where compressors are saved; None in memory.

    Raises:
        UsageError: a name cannot be used, given symbols are asked of a corpus without any, a
            corpus gives symbols that no view would keep, or a compressor's kind is another's.
    """
    wanted = {name: _compressed_view(name, item, out) for name, item in compressors.items()}
    if given_view is None and corpus is not None and corpus.given_symbol_count is not None:
        raise UsageError(
            f"{corpus.name}: its symbols would be read and dropped; name their view (given_view, "
            "--given-view), or leave the symbols field out"
        )
    if given_view is not None:
        if given_view in wanted:
            raise UsageError(f"view '{given_view}': named twice, for a compressor and as given")
        wanted[given_view] = _given_view(given_view, corpus)
    for name in wanted:
        if not _VIEW_NAME.fullmatch(name) or name in _RESERVED_NAMES:
            raise UsageError(
                f"view '{name}': a name has letters, digits, '_', '.' and '-' and is not 'raw'; "
                "give it another (--compressor NAME=PATH)"
            )
    return wanted


def _compressed_view(name: str, compressor: Compressor, out: Path | None) -> WantedView:
    folder = f"{COMPRESSORS_FOLDER}/{name}"
    record = ViewRecord(
        kind=compressor.kind,
        compressor_fingerprint=compressor.fingerprint,
        symbol_count=compressor.symbol_count,
        reversible=compressor.reversible,
        compressor_folder=None if out is None else folder,
    )
    saved_at = out / folder if out is not None and is_registered(compressor) else None
    return WantedView(record=record, source=CompressorSource(compressor, saved_at))


def _given_view(name: str, corpus: Corpus | None) -> WantedView:
    if corpus is None or corpus.given_symbol_count is None:
        raise UsageError(
            f"view '{name}': the corpus gives no symbols; name their field and their number K"
        )
    symbol_count = corpus.given_symbol_count
    record = ViewRecord(
        kind=GIVEN_KIND,
        compressor_fingerprint=fingerprint_of(GIVEN_KIND, corpus.fingerprint, symbol_count),
        symbol_count=symbol_count,
        reversible=False,
        compressor_folder=None,
    )
    return WantedView(record=record, source=GivenSource(symbol_count))
