"""From a path, a name or documents in memory to a corpus: here its reader is chosen."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from proxylm.config import validate_config
from proxylm.corpus.arrow_files import ArrowCorpus
from proxylm.corpus.choosing import Chosen, choose
from proxylm.corpus.config import STANDARD_LIBRARY, CorpusConfig
from proxylm.corpus.contract import Corpus
from proxylm.corpus.document import Rejection
from proxylm.corpus.hugging_face import PREFIX, HuggingFaceCorpus
from proxylm.corpus.jsonl import JsonLinesCorpus
from proxylm.corpus.left_out import LeftOut, nothing_left
from proxylm.corpus.listing import FoundFile, Listing, find_file, list_folder, list_url
from proxylm.corpus.memory import MemoryCorpus
from proxylm.corpus.parquet import ParquetCorpus
from proxylm.corpus.places import file_system_of, is_url, naming
from proxylm.corpus.raw_files import RawFilesCorpus, list_standard_library
from proxylm.corpus.recognition import FileContent
from proxylm.corpus.record_files import RecordFilesCorpus
from proxylm.errors import DataError, UsageError
from proxylm.files import is_there

Documents = Iterable[bytes] | Iterable[tuple[str, bytes]] | str | os.PathLike[str] | Corpus
"""What stands for documents: bytes, or pairs of id and bytes; a path or a name as
``CorpusConfig.path`` has it; an open corpus."""

_RECORD_READERS: dict[FileContent, type[RecordFilesCorpus]] = {
    FileContent.JSON_LINES: JsonLinesCorpus,
    FileContent.PARQUET: ParquetCorpus,
    FileContent.ARROW: ArrowCorpus,
}


def as_corpus(documents: Documents) -> Corpus:
    """The corpus of any ``Documents``, read as ``CorpusConfig`` does unless told otherwise.

    >>> [document.raw for document in as_corpus([b"one", ("an-id", b"two")]).documents()]
    [b'one', b'two']

    Raises:
        UsageError: they are nothing of the kind; text has to be encoded first.
        DataError: there is nothing to read.
    """
    if isinstance(documents, Corpus):
        return documents
    if isinstance(documents, str | os.PathLike):
        values = {"path": os.fspath(documents)}
        return open_corpus(validate_config(CorpusConfig, values, origin="documents"))
    return _not_empty(MemoryCorpus(documents))


def open_corpus(config: CorpusConfig) -> Corpus:
    """Open a corpus; its files are read once, several at a time, to record their hashes.

    Raises:
        DataError: there is nothing at ``path``, or nothing in it that can be read.
        UsageError: an optional library is missing, or there is no such file system.
    """
    return _not_empty(_open(config))


def _not_empty(corpus: Corpus) -> Corpus:
    if not corpus.parts():
        raise DataError(f"{corpus.name}: holds nothing to read")
    return corpus


def _open(config: CorpusConfig) -> Corpus:
    if not is_there(config.path):
        if config.path.startswith(PREFIX):
            _refuse_choice_of_files(config)
            return HuggingFaceCorpus(config)
        if config.path == STANDARD_LIBRARY:
            _refuse_choice_of_files(config)
            return _raw_files(config, list_standard_library())
        if is_url(config.path):
            return _open_url(config)
    path = Path(config.path).expanduser()
    if path.is_dir():
        return _of_listing(config, list_folder(path, config.pattern), str(path))
    if path.is_file():
        return _of_file(config, find_file(str(path), path.name), str(path.parent))
    if path.exists():
        raise DataError(f"{path}: neither a file nor a folder; save what it gives as a file")
    raise DataError(f"{path}: no such file or folder ('stdlib' names the standard library)")


def _refuse_choice_of_files(config: CorpusConfig) -> None:
    """What is ignored would be missed: the files of these corpora are not the user's to choose."""
    for name in ("pattern", "files"):
        value = getattr(config, name)
        if value != CorpusConfig.model_fields[name].default:
            raise UsageError(
                f"{config.path}: {name} '{value}' chooses among files of yours, and here there "
                f"are none; leave it out (--{name})"
            )


def _open_url(config: CorpusConfig) -> Corpus:
    url = config.path
    file_system, path = file_system_of(url)
    with naming(url):
        is_file, is_folder = file_system.isfile(path), file_system.isdir(path)
    if is_file:
        folder, _, name = url.rpartition("/")
        return _of_file(config, find_file(url, name), folder)
    if is_folder:
        return _of_listing(config, list_url(url, config.pattern), url.rstrip("/"))
    raise DataError(f"{url}: no such file or folder")


def _of_file(config: CorpusConfig, file: FoundFile, folder: str) -> Corpus:
    return _reader(config, choose([file], config.files, folder))


def _of_listing(config: CorpusConfig, listing: Listing, path: str) -> Corpus:
    if not any(isinstance(entry, FoundFile) for entry in listing.entries):
        left_out = LeftOut()
        for entry in listing.entries:
            if isinstance(entry, Rejection):
                left_out.add(entry)
        if left_out:
            raise nothing_left(f"{path}: no file that can be read", left_out, "")
        there = "".join(f", {count} {why}" for why, count in listing.skipped.items())
        raise DataError(f"{path}: no file matches '{config.pattern}'{there and f' ({there[2:]})'}")
    chosen = choose(listing.entries, config.files, path)
    corpus = _reader(config, chosen)
    corpus.skipped = dict(sorted((listing.skipped + chosen.skipped).items()))
    return corpus


def _reader(config: CorpusConfig, chosen: Chosen) -> Corpus:
    if chosen.content is FileContent.DOCUMENT:
        return _raw_files(config, chosen.entries)
    files = [entry for entry in chosen.entries if isinstance(entry, FoundFile)]
    return _RECORD_READERS[chosen.content](config, files)


def _raw_files(config: CorpusConfig, entries: Sequence[FoundFile | Rejection]) -> RawFilesCorpus:
    for name in ("text_field", "id_field", "symbols_field"):
        if getattr(config, name) != CorpusConfig.model_fields[name].default:
            raise DataError(
                f"{config.path}: {name} needs records (JSON lines, Parquet, Arrow), and its files "
                "are documents as they are"
            )
    return RawFilesCorpus(config, entries)
