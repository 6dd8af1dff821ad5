"""How the files of a folder are read: each as one document, or each record of theirs as one.

A folder is read in one way. Where its files speak for different ones, the choice is the user's,
since every guess would lose something or take records for text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from proxylm.corpus.config import FilesAre
from proxylm.corpus.document import Rejection
from proxylm.corpus.left_out import RejectionReason
from proxylm.corpus.listing import FoundFile
from proxylm.corpus.recognition import FileContent, content_at
from proxylm.errors import DataError
from proxylm.pool import in_threads

NOT_RECORDS = "not_records"
"""Files beside those of records: skipped by rule and counted, see ``Listing.skipped``."""

_DESCRIPTIONS = re.compile(
    r"(readme|licen[cs]e|citation|dataset_infos?\.json$|dataset_dict\.json$|state\.json$).*"
    r"|.*\.(lock|md5|sha[0-9]+)|(md5|sha[0-9]+)(sums?)?(\.txt)?"
)
"""Files that describe a data set, checksums and the locks of downloaders among them.

What writers of a data set keep for themselves begins with ``_``.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """How files are read, which entries are, and how many files are skipped by rule."""

    content: FileContent
    entries: Sequence[FoundFile | Rejection]
    skipped: Counter[str]


def choose(entries: Sequence[FoundFile | Rejection], files_are: FilesAre, where: str) -> Chosen:
    """Decide how a folder's entries, or one file, are read.

    Beside records, files that describe the data set are left out. Among documents, packed files
    are rejected. A whole file of records is too much to lose to a counter: where one cannot be
    read, that is an error.

    Raises:
        DataError: the files speak for different ways, or for none.
    """
    if files_are is FilesAre.DOCUMENTS:
        return Chosen(content=FileContent.DOCUMENT, entries=entries, skipped=Counter())
    files = [entry for entry in entries if isinstance(entry, FoundFile)]
    found = in_threads(lambda file: content_at(file.path, file.name), files)
    contents = dict(zip((file.name for file in files), found, strict=True))
    content = _records_content(contents, where)
    if content is None:
        if files_are is FilesAre.RECORDS:
            raise DataError(f"{where}: no file of records (JSON lines, Parquet or Arrow) in it")
        return _documents(entries, contents, where)
    others = [name for name, held in contents.items() if held is not content]
    if files_are is FilesAre.AUTO:
        _refuse_mixture(contents, content, others, where)
    for entry in entries:
        if isinstance(entry, Rejection):
            raise DataError(f"{where}: {entry.id} is not a file inside it ({entry.reason})")
    return Chosen(
        content=content,
        entries=[file for file in files if contents[file.name] is content],
        skipped=Counter({NOT_RECORDS: len(others)} if others else {}),
    )


def _records_content(contents: dict[str, FileContent], where: str) -> FileContent | None:
    """The one kind of records among the files; None where there are none."""
    data = [name for name in contents if not _is_description(name)] or list(contents)
    first: dict[FileContent, str] = {}
    for names in (data, contents):
        for name in names:
            if contents[name].is_records:
                first.setdefault(contents[name], name)
        if first:
            break
    if len(first) > 1:
        kinds = " and ".join(f"{content} (first: {name})" for content, name in first.items())
        raise DataError(
            f"{where}: holds {kinds}; choose one kind with --pattern, such as '*.jsonl'"
        )
    return next(iter(first), None)


def _documents(
    entries: Sequence[FoundFile | Rejection], contents: dict[str, FileContent], where: str
) -> Chosen:
    packed = [name for name, content in contents.items() if content is FileContent.PACKED]
    if packed and len(packed) == len(contents):
        raise DataError(
            f"{where}/{packed[0]}: is compressed or an archive, and holds no JSON lines; unpack "
            "it, or read its bytes as they are with --files documents"
        )
    rejections = {name: Rejection(id=name, reason=RejectionReason.PACKED) for name in packed}
    kept = [
        rejections.get(entry.name, entry) if isinstance(entry, FoundFile) else entry
        for entry in entries
    ]
    return Chosen(content=FileContent.DOCUMENT, entries=kept, skipped=Counter())


def _refuse_mixture(
    contents: dict[str, FileContent], content: FileContent, others: list[str], where: str
) -> None:
    beside = [name for name in others if not _is_description(name)]
    if beside:
        held = [name for name in contents if name not in set(others)]
        raise DataError(
            f"{where}: {len(held)} of {len(contents)} files hold records ({content}; first: "
            f"{held[0]}), others do not (first: {beside[0]}); choose with --pattern, or read "
            "--files records (those alone) or --files documents (each as its bytes are)"
        )


def _is_description(name: str) -> bool:
    path = PurePosixPath(name.lower())
    return any(part.startswith("_") for part in path.parts) or bool(
        _DESCRIPTIONS.fullmatch(path.name)
    )
