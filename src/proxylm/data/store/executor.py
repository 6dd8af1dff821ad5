"""Running a job's shards in one process, and the memory that each of them takes."""

from __future__ import annotations

from collections import deque

from proxylm.data.store.job import PrepareJob
from proxylm.data.store.steps import ViewSource

WORKER_BYTES = 256 << 20
"""Memory of a worker before its first document: interpreter, libraries, compressors."""

HELD_PER_BYTE = 8
"""Memory for each byte of documents that are held: they, their symbols, what waits to be written.
"""

MOST_HELD = 24 << 20
"""Bytes of a part that are held at a time, however large it is: what follows is in files."""

LARGEST_DOCUMENT = 16 << 20
"""Bytes of one document that room is kept for: a corpus leaves out longer ones unless told."""


class ShardExecutor:
    """Runs the shards of a job in this process, one after the other."""

    def __init__(self, job: PrepareJob, sources: dict[str, ViewSource]):
        self.job = job
        self.sources = sources

    def run_shard(self, rank: int) -> int:
        """Read, compress and write one shard, its record last; returns ``rank``."""
        groups = None
        for step in self.job.pipeline(self.sources):
            groups = step(groups, rank, len(self.job.parts))
        deque(groups or (), maxlen=0)
        return rank

    def memory_for(self, rank: int) -> int:
        """Bytes of memory to keep for a worker on shard ``rank``.

        A part is held until it is large; the compressor's own need is that of one document,
        which may be the whole part.
        """
        num_bytes = self.job.parts[rank].num_bytes
        largest = min(num_bytes, LARGEST_DOCUMENT)
        needs = (source.memory_for(largest) for source in self.sources.values())
        return WORKER_BYTES + HELD_PER_BYTE * min(num_bytes, MOST_HELD) + max(needs, default=0)
