"""Checking that a store holds what was written, in shares, and once.

A store of terabytes takes an hour to hash. The ranks of a training check a share each, and leave
*stamps*: what they have found right, with its size and time. Whoever comes after a restart looks at
those, and reads only what has none or was written since.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from proxylm.data.store.manifest import FileRecord, FileStamp, check_content, stamp_of
from proxylm.data.store.store import ViewStore
from proxylm.errors import DamagedFileError, UsageError
from proxylm.files import read_json, write_json
from proxylm.pool import in_threads
from proxylm.progress import TellCount, untold


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was found right.

    Attributes:
        files, num_bytes: of the share.
        stamped_files: those among them that were only looked at, since they have a stamp.
    """

    files: int
    num_bytes: int
    stamped_files: int


def verify_store(
    store: ViewStore,
    *,
    rank: int = 0,
    world: int = 1,
    stamps: Path | None = None,
    progress: TellCount = untold,
) -> Verified:
    """Hash one share of a store's files, and compare its symbols with their vocabulary.

    Ranks that share no storage verify all of it each: one rank says nothing of another's copy.

    Args:
        store: an open store.
        rank, world: which share, of how many; together they are the whole.
        stamps: folder of the stamps of all ranks, made if it is missing; None for none.
        progress: hears of the bytes of files that are done.

    Raises:
        DamagedFileError: a file is missing, truncated or altered; it is named.
        UsageError: ``stamps`` is no folder.
        CannotWriteError: the stamps cannot be written.
    """
    if stamps is not None and stamps.exists() and not stamps.is_dir():
        raise UsageError(f"{stamps}: stamps are kept in a folder, and this is none")
    known = set() if stamps is None else _read_stamps(stamps)
    share = _checks(store)[rank::world]
    total = sum(check.file.num_bytes for check in share)
    done, found = 0, list[FileStamp]()
    progress("verify", done, total)
    for check, stamp in zip(share, in_threads(lambda one: one.run(known), share), strict=True):
        found.append(stamp)
        done += check.file.num_bytes
        progress("verify", done, total)
    stamped = known.intersection(found)
    if stamps is not None and len(stamped) < len(found):
        stamps.mkdir(parents=True, exist_ok=True)
        share_name = f"{rank:05d}-of-{world:05d}"  # another world has other shares
        write_json(stamps / f"{store.fingerprint}-{share_name}.json", found)
    return Verified(files=len(share), num_bytes=total, stamped_files=len(stamped))


@dataclass(frozen=True, slots=True)
class _Check:
    """One file to check; of a view, which one and of which shard."""

    store: ViewStore
    file: FileRecord
    view: str | None = None
    shard: int = 0

    def run(self, known: set[FileStamp]) -> FileStamp:
        folder = self.store.folder
        stamp = stamp_of(folder, self.file)  # before it is read: what is written since is not meant
        if stamp not in known:
            check_content(folder, self.file)
            if self.view is not None:
                self.store.check_symbols(self.view, self.shard)
        return stamp


def _checks(store: ViewStore) -> list[_Check]:
    manifest = store.manifest
    listing = [manifest.corpus.listing] if manifest.corpus.listing else []
    plain = [*listing, *(shard.file for shard in manifest.shards)]
    return [_Check(store, file) for file in plain] + [
        _Check(store, stored.file, view, shard)
        for view, shards in manifest.view_shards.items()
        for shard, stored in enumerate(shards)
    ]


def _read_stamps(folder: Path) -> set[FileStamp]:
    """The stamps that can be read: one that cannot costs a further look, no more."""
    found = set[FileStamp]()
    for path in sorted(folder.glob("*.json")):
        try:
            found.update(FileStamp(*values) for values in read_json(path))
        except (DamagedFileError, TypeError):
            continue
    return found
