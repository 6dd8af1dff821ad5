"""A corpus made of documents that a program holds: any iterable of bytes, or of ids and bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from proxylm.corpus.config import MAX_DOCUMENT_BYTES, RecordFields
from proxylm.corpus.contract import Corpus, CorpusPart, RangePart, range_parts
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.records import chosen_identity, document_from_bytes
from proxylm.fingerprint import fingerprint_of
from proxylm.inputs import as_bytes, items_of

NAME = "documents"
PART_BYTES = 1 << 20
"""Fewer than of files, since what fits into memory is shared out among workers, too."""


class MemoryCorpus(Corpus):
    """Documents in memory; they are read once, here, so that a generator will do.

    Each worker of ``prepare`` gets a copy of all of them.

    Args:
        documents: ``bytes`` (or what holds bytes, such as uint8 arrays) or pairs ``(id, bytes)``.
            Without an id, a document is called by its number: ``documents:0``.

    Raises:
        UsageError: ``documents`` is no iterable, or one of them is text or no bytes at all.
    """

    name = NAME

    def __init__(self, documents: Iterable[bytes] | Iterable[tuple[str, bytes]]) -> None:
        items = items_of(documents, NAME)
        self._documents = [_named(item, number) for number, item in enumerate(items)]
        self._fields = RecordFields(max_document_bytes=MAX_DOCUMENT_BYTES)

    @cached_property
    def fingerprint(self) -> str:
        """Ids and contents of the documents, and what decides how they are read."""
        limits = [self._fields.max_document_bytes, PART_BYTES]
        content = (part for document in self._documents for part in document)
        return fingerprint_of("documents in memory", limits, *content)

    def parts(self) -> Sequence[RangePart]:
        """Consecutive documents, closed as soon as they reach ``PART_BYTES``."""
        return range_parts([len(raw) for _, raw in self._documents], PART_BYTES)

    def read(self, part: CorpusPart) -> Iterator[Document | Rejection]:
        """The part's documents in order."""
        assert isinstance(part, RangePart)
        for identity, raw in self._documents[part.first : part.stop]:
            yield document_from_bytes(raw, identity=identity, fields=self._fields)


def _named(item: Any, number: int) -> tuple[str, bytes]:
    """One document's id and bytes."""
    otherwise = f"{NAME}:{number}"
    if isinstance(item, tuple) and len(item) == 2:
        identity, item = item
        return chosen_identity(identity, otherwise), as_bytes(item, number, "document")
    return otherwise, as_bytes(item, number, "document")
