"""The one contract of all compressors: documents in, symbols out.

A compressor turns a document's bytes ``x`` into symbols ``z = C(x)`` below ``symbol_count``
(method, section 3). Its state never crosses a document. To add one, subclass ``Compressor``
and name it in the entry-point group ``proxylm.compressors``; nothing else has to change.

``compress`` and ``decompress`` are what callers use: they check what is given and what comes out,
for every compressor alike. Subclasses implement what lies behind, ``encode`` and ``decode``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Int, Int64
from numpy.typing import NDArray

from proxylm.compressors.view import CompressedView
from proxylm.corpus.document import Rejection
from proxylm.corpus.left_out import RejectionReason
from proxylm.errors import DataError, UsageError, one_line
from proxylm.fingerprint import fingerprint_of
from proxylm.inputs import as_documents, as_symbols, items_of

ANCHOR_SPACING = 64
"""Anchors are kept about every this many symbols: enough to cut pieces, cheap to store."""


MEMORY_PER_BYTE = 60
"""What a compressor may take for each byte of a document: a gibibyte for one of 16 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CannotCompress:
    """The compressor has no exact form for this document; it is rejected and counted."""

    reason: str
    detail: str = ""

    def rejection(self, identity: str) -> Rejection:
        """What becomes of the document, given its id."""
        detail = f"{self.reason} {self.detail}".rstrip()
        return Rejection(id=identity, reason=RejectionReason.CANNOT_COMPRESS, detail=detail)


class Compressor(ABC):
    """Base of all compressors.

    Subclasses set ``kind`` (the registered name), ``symbol_count`` and ``settings`` (the plain
    values that define what they compute) and implement ``encode``; reversible ones also
    ``decode``. Those that need no files implement ``from_settings``; those with files
    beside their settings override ``save_files``, ``content_fingerprint`` and ``from_folder``.

    >>> class Halves(Compressor):
    ...     kind, reversible, symbol_count, settings = "halves", True, 16, {}
    ...     def encode(self, documents):
    ...         halves = [[h for byte in raw for h in divmod(byte, 16)] for raw in documents]
    ...         return [CompressedView(symbols=np.array(one, np.uint32)) for one in halves]
    ...     def decode(self, symbols):
    ...         return [bytes((s[0::2] * 16 + s[1::2]).astype(np.uint8)) for s in symbols]
    >>> Halves().decompress(Halves().compress([b"ab"]))
    [b'ab']
    """

    kind: ClassVar[str]
    reversible: ClassVar[bool]
    symbol_count: int

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Plain JSON values that, with the kind and the files, define the output exactly."""

    @abstractmethod
    def encode(self, documents: Sequence[bytes]) -> list[CompressedView | CannotCompress]:
        """Compress each document on its own; one result per document, in order."""

    def decode(self, symbols: Sequence[NDArray[np.uint32]]) -> list[bytes]:
        """The bytes of each sequence (reversible compressors only).

        Args:
            symbols: uint32 ``[m_i]``, checked to be below ``symbol_count``.

        Raises:
            DataError: a sequence is not one that the compressor can have written.
        """
        raise DataError(f"{self.kind}: this compressor is one-way, its symbols have no bytes")

    def views(self, documents: Sequence[bytes]) -> list[CompressedView | CannotCompress]:
        """As ``encode``, for documents that are bytes; what comes out is checked.

        Raises:
            DataError: there is another number of results, or one is nothing of the kind.
        """
        found = self.encode(documents)
        if len(found) != len(documents):
            raise DataError(
                f"{self.kind}: encode gave {len(found)} results for {len(documents)} documents"
            )
        for view in found:
            if not isinstance(view, CompressedView | CannotCompress):
                raise DataError(
                    f"{self.kind}: encode gave a {type(view).__name__}, not a CompressedView"
                )
        return found

    def divide(
        self, raw: bytes, view: CompressedView
    ) -> tuple[Int[np.ndarray, " segment"], Int[np.ndarray, " segment"]]:
        """Where a document's view can be told apart: bytes and symbols of each run, ``[s]`` both.

        Args:
            raw: the document.
            view: what ``encode`` made of it.
        """
        if view.segment_lengths is not None and view.segment_symbol_counts is not None:
            return view.segment_lengths, view.segment_symbol_counts
        ends = np.concatenate([view.anchors, [[len(raw), len(view.symbols)]]]).astype(np.int64)
        sizes = np.diff(ends, axis=0, prepend=np.zeros((1, 2), np.int64))
        return sizes[:, 0], sizes[:, 1]

    def settled(
        self, raw: bytes, view: CompressedView
    ) -> Int64[np.ndarray, "place byte_symbol_known=3"] | None:
        """Places up to which a document's symbols are certain, whatever it goes on with.

        Rows (byte, symbol, known), rising: of every document that begins with ``raw[:known]``,
        the first ``byte`` bytes are the first ``symbol`` symbols, which are those of this view.
        What cannot be shown to be such a place is left out. Anchors are not enough: a tokenizer
        may cut the end of a text otherwise once it goes on.

        Args:
            raw: the document.
            view: what ``encode`` made of it.

        Returns:
            The places; None if there never is one (gzip), or a compressor does not say.
        """
        return None

    def compress(self, documents: Sequence[bytes]) -> list[NDArray[np.uint32]]:
        """Compress documents to uint32 arrays ``[m_i]`` of symbols in ``[0, symbol_count)``.

        Raises:
            UsageError: a document is no bytes.
            DataError: a document has no exact form in this compressor, or the compressor errs.
        """
        views = self.views(as_documents(documents))
        return [self._symbols_of(index, view) for index, view in enumerate(views)]

    def decompress(self, symbols: Sequence[NDArray[np.uint32]]) -> list[bytes]:
        """The exact bytes of each symbol sequence (reversible compressors only).

        Args:
            symbols: integers ``[m_i]`` of any type, in ``[0, symbol_count)``.

        Raises:
            DataError: the compressor is lossy, or a sequence is not one it can have written: it
                holds anything but symbols (the place is named), or does not end where one can.
        """
        sequences = enumerate(items_of(symbols, f"{self.kind}: sequences"))
        return self.decode([self._checked(f"sequence {index}", one) for index, one in sequences])

    def _symbols_of(self, index: int, view: CompressedView | CannotCompress) -> NDArray[np.uint32]:
        if isinstance(view, CannotCompress):
            raise DataError(f"document {index}: cannot be compressed ({view.reason}) {view.detail}")
        return self._checked(f"document {index}", view.symbols)

    def _checked(self, name: str, symbols: Any) -> NDArray[np.uint32]:
        try:
            return as_symbols(symbols, self.symbol_count)
        except ValueError as error:
            raise DataError(f"{self.kind}: {name}: {error}") from None

    @property
    def spellings(self) -> Sequence[bytes] | None:
        """The bytes of each symbol wherever it stands (empty: none), if each has some of its own.

        ``divide`` then tells every symbol apart. None where symbols have no bytes of their own.
        """
        return None

    def memory_for(self, num_bytes: int) -> int:
        """Bytes of memory that encoding one document of ``num_bytes`` takes, at most.

        ``prepare`` starts as many workers as the machine has room for by this.
        """
        return MEMORY_PER_BYTE * num_bytes

    @cached_property
    def fingerprint(self) -> str:
        """128-bit name of everything that determines the symbols; stored with every view.

        Raises:
            UsageError: the settings cannot be written into a file.
        """
        try:
            return fingerprint_of(self.kind, self.settings, self.content_fingerprint())
        except TypeError as error:
            raise UsageError(
                f"{self.kind}: its settings are no plain JSON values ({one_line(error)})"
            ) from None

    def content_fingerprint(self) -> str:
        """Fingerprint of the files that belong to the compressor; empty if it has none."""
        return ""

    def save_files(self, folder: Path) -> None:  # noqa: B027 - most compressors have no files
        """Write the files that belong to the compressor into ``folder``."""

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """Build a compressor that needs no files; missing settings take their defaults.

        Raises:
            UsageError: a setting is wrong, or this kind is nothing without its files.
        """
        raise UsageError(
            f"{cls.kind}: has no ready-made form; give the folder of a saved one "
            f"(proxylm compressor train {cls.kind} makes it)"
        )

    @classmethod
    def from_folder(cls, folder: Path, settings: dict[str, Any]) -> Self:
        """Rebuild a compressor from its settings and what ``save_files`` wrote."""
        return cls.from_settings(settings)

    def describe(self) -> dict[str, Any]:
        """Facts for ``proxylm compressor info``; subclasses add their own."""
        return {
            "kind": self.kind,
            "symbol_count": self.symbol_count,
            "reversible": self.reversible,
            "fingerprint": self.fingerprint,
            "settings": self.settings,
        }
