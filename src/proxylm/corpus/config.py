"""How a corpus is read, as it can be asked for.

Commands tell their options by it, so neither pyarrow nor numpy comes in here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from proxylm.config import Config

STANDARD_LIBRARY = "stdlib"

PARTS = 4096
"""About how many parts a large corpus has: every file of a store takes memory maps when it is open,
and Linux gives a process 65,530 of them."""

LEAST_PART_BYTES = 4 << 20
MOST_PART_BYTES = 512 << 20

MAX_DOCUMENT_BYTES = 16 << 20
"""Longer documents are left out, unless a corpus is told otherwise."""

HeldOutFraction = Annotated[float, Field(ge=0, le=1)]
"""Share of documents that a training does not see (``corpus.split``)."""


class FilesAre(StrEnum):
    """What the user says that files are."""

    AUTO = "auto"
    DOCUMENTS = "documents"
    RECORDS = "records"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFields:
    """Which fields are read, and what is asked of them.

    Attributes:
        text: field that holds the document.
        id: field that names it (names may repeat), or None for ``file:row``.
        symbols: field of symbols that come with the document, or None.
        symbol_count: K, all symbols are below it; None without ``symbols``.
        reject_invalid_utf8: leave out text that is not UTF-8 where the format can hold such.
        max_document_bytes: longer documents (and longer JSON lines) are left out.
    """

    text: str = "text"
    id: str | None = None
    symbols: str | None = None
    symbol_count: int | None = None
    reject_invalid_utf8: bool = False
    max_document_bytes: int = MAX_DOCUMENT_BYTES

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that are read."""
        return tuple(name for name in (self.text, self.id, self.symbols) if name is not None)


class CorpusConfig(Config):
    """A corpus and how its documents are read.

    Attributes:
        path: a folder, a file (JSON lines, also compressed, Parquet, Arrow, any other), a URL of
            one (s3://…, gs://…, any file system of fsspec), stdlib (this interpreter's own
            library) or hf:NAME; what exists is a path.
        pattern: which files of a folder: compared with the name, or with the whole path below the
            folder where it has a slash; '**/' also stands for no folder.
        files: what files are: documents, records, or auto (JSON lines, Parquet and Arrow are
            records, whatever else is a document; a folder of both is refused).
        text_field: field or column that holds a record's document.
        id_field: field or column that names a record's document; names may repeat. (default:
            file:row)
        symbols_field: field or column of symbols that come with the documents.
        symbol_count: K of those symbols, which are below it.
        invalid_utf8: ``keep`` such bytes exactly, or ``reject`` the document (JSON lines are
            UTF-8 by definition: a line that is not is always rejected).
        max_document_bytes: longer documents, and longer JSON lines, are left out and counted;
            compressors take about 60 bytes of memory per byte of one.
        part_bytes: about how many source bytes become one shard. (default: a 4096th of the
            corpus, as a power of two from 4 MiB to 512 MiB)
    """

    path: str = Field(min_length=1)
    pattern: str = "*"
    files: FilesAre = FilesAre.AUTO
    text_field: str = "text"
    id_field: str | None = None
    symbols_field: str | None = None
    symbol_count: int | None = Field(default=None, ge=1, le=1 << 31)
    invalid_utf8: Literal["keep", "reject"] = "keep"
    max_document_bytes: int = Field(default=MAX_DOCUMENT_BYTES, ge=1)
    part_bytes: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _symbols_have_a_count(self) -> Self:
        if (self.symbols_field is None) != (self.symbol_count is None):
            raise ValueError("symbols_field and symbol_count go together: give both or neither")
        return self

    def part_bytes_of(self, num_bytes: int) -> int:
        """About how many bytes of a corpus of ``num_bytes`` become one shard.

        >>> [CorpusConfig(path="x").part_bytes_of(1 << n) >> 20 for n in (20, 34, 36, 42)]
        [4, 4, 16, 512]
        """
        if self.part_bytes is not None:
            return self.part_bytes
        wanted = -(-num_bytes // PARTS)
        return min(MOST_PART_BYTES, max(LEAST_PART_BYTES, 1 << (wanted - 1).bit_length()))

    @property
    def fields(self) -> RecordFields:
        """The part of the configuration that readers of records need."""
        return RecordFields(
            text=self.text_field,
            id=self.id_field,
            symbols=self.symbols_field,
            symbol_count=self.symbol_count,
            reject_invalid_utf8=self.invalid_utf8 == "reject",
            max_document_bytes=self.max_document_bytes,
        )
