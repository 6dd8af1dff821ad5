"""``manifest.json``: what a view store holds, and the names its files are known by.

The manifest is written last and atomically: a store without one is unfinished. It carries the
length and checksum of every data file and a checksum of itself, so that a flipped bit anywhere,
its own text included, is found.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xxhash
from pydantic import Field

from proxylm.config import Config
from proxylm.errors import DamagedFileError, DataError
from proxylm.files import atomic_file, require_utf8

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
COMPRESSORS_FOLDER = "compressors"
LISTING_NAME = "corpus.json"
"""The files that the corpus was read from, with their hashes."""
GIVEN_KIND = "given"
"""The kind of a view whose symbols came with the documents: no compressor of ours wrote them."""

_UNSIGNED = "0" * 32


class FileRecord(Config):
    """One data file: its name in the store, length and XXH3-128 checksum."""

    name: str
    num_bytes: int
    checksum: str


class RawShard(Config):
    """The raw side of one corpus part: counts of what was written and what was left out."""

    file: FileRecord
    rows: int
    held_out_rows: int
    num_bytes: int
    held_out_bytes: int
    rejected: dict[str, int]
    """Documents left out, by reason."""
    rejected_examples: dict[str, str]
    """For each reason, the first document left out for it."""


class ViewShard(Config):
    """One view of one shard, row for row beside its raw file."""

    file: FileRecord
    symbols: int
    held_out_symbols: int
    anchors: int


class ViewRecord(Config):
    """What a view is: enough to check it against a compressor, and where that one is saved."""

    kind: str
    compressor_fingerprint: str
    symbol_count: int = Field(ge=1)
    reversible: bool
    compressor_folder: str | None
    """Folder of the saved compressor, relative to the store; None for given symbols."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored symbols."""
        return symbol_dtype(self.symbol_count)


def symbol_dtype(symbol_count: int) -> np.dtype[Any]:
    """Type of the stored symbols of a view: the smaller of uint16 and uint32 that holds them."""
    return np.dtype(np.uint16 if symbol_count <= 1 << 16 else np.uint32)


class CorpusRecord(Config):
    """Where the documents came from."""

    name: str
    fingerprint: str
    description: dict[str, Any] = Field(default_factory=dict)
    listing: FileRecord | None = None
    """The list of the corpus's files, kept beside the manifest."""


class Manifest(Config):
    """The whole store. ``shards`` and each view's shards are in the corpus's order."""

    format_version: int = FORMAT_VERSION
    fingerprint: str
    """Names the store: corpus, split and the views that decided which documents it holds."""
    corpus: CorpusRecord
    held_out_fraction: float
    shards: list[RawShard]
    views: dict[str, ViewRecord]
    view_shards: dict[str, list[ViewShard]]

    def files(self) -> list[FileRecord]:
        """Every file of the store that the manifest answers for."""
        listing = [self.corpus.listing] if self.corpus.listing else []
        views = [shard.file for shards in self.view_shards.values() for shard in shards]
        return [*listing, *(shard.file for shard in self.shards), *views]


def checksum_of(path: Path) -> str:
    """XXH3-128 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, xxhash.xxh3_128).hexdigest()


def record_file(path: Path) -> FileRecord:
    """Measure a file that has just been written."""
    return FileRecord(name=path.name, num_bytes=path.stat().st_size, checksum=checksum_of(path))


class FileStamp(NamedTuple):
    """What tells a file from what it was, without reading it: its size, and when it was written.

    ``checksum`` is what the manifest says of it, so that a store which was made anew has others.
    """

    name: str
    num_bytes: int
    modified_ns: int
    checksum: str


def stamp_of(folder: Path, record: FileRecord) -> FileStamp:
    """Look at a file, which must be there and as long as it was when it was written.

    Raises:
        DamagedFileError: it is missing, or its length is another.
    """
    path = folder / record.name
    try:
        status = path.stat()
    except FileNotFoundError:
        raise DamagedFileError(f"{path}: this file of the store is missing") from None
    num_bytes = status.st_size
    if num_bytes != record.num_bytes:
        raise DamagedFileError(
            f"{path}: {num_bytes} bytes long instead of {record.num_bytes}: truncated or replaced"
        )
    return FileStamp(record.name, num_bytes, status.st_mtime_ns, record.checksum)


def check_content(folder: Path, record: FileRecord) -> None:
    """Check that a file holds exactly the bytes that were written.

    Raises:
        DamagedFileError: it is missing, or its length or content is another.
    """
    stamp_of(folder, record)
    if checksum_of(folder / record.name) != record.checksum:
        raise DamagedFileError(
            f"{folder / record.name}: its content is not what was written (checksum differs)"
        )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Publish the manifest, which makes the store (or its new view) visible."""
    values = manifest.model_dump(mode="json") | {"checksum": _UNSIGNED}
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    signed = text.replace(_quoted(_UNSIGNED), _quoted(xxhash.xxh3_128_hexdigest(text)))
    with atomic_file(folder / MANIFEST_NAME) as temporary:
        temporary.write_bytes(signed)


def read_manifest(folder: Path) -> Manifest:
    """Read and verify a store's manifest.

    Raises:
        DataError: the folder holds no finished store.
        DamagedFileError: the manifest is damaged or of another format version.
    """
    path = folder / MANIFEST_NAME
    require_utf8(folder)
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{folder}: no finished view store (no {MANIFEST_NAME}); 'proxylm prepare --out' makes "
            "one, or goes on with one"
        ) from None
    try:
        values = json.loads(text)
        version, checksum = values["format_version"], values.pop("checksum")
        if version != FORMAT_VERSION:
            raise DamagedFileError(
                f"{path}: format version {version}, this program reads {FORMAT_VERSION}; "
                "prepare the store again"
            )
        unsigned = text.replace(_quoted(checksum), _quoted(_UNSIGNED))
        if xxhash.xxh3_128_hexdigest(unsigned) != checksum:
            raise DamagedFileError(f"{path}: its content is not what was written")
        return Manifest.model_validate(values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DamagedFileError(f"{path}: damaged, not a readable manifest") from None


def _quoted(text: str) -> bytes:
    return f'"checksum": "{text}"\n}}'.encode()
