"""Running a job's shards in one process: datatrove's executor contract.

datatrove brings the steps, their order, ranks and completion markers.
"""

from __future__ import annotations

from collections import deque

from datatrove.executor.base import DistributedEnvVars, PipelineExecutor

from proxylm.data.store.job import PrepareJob
from proxylm.data.store.steps import ViewSource
from proxylm.files import named_write

WORKER_BYTES = 256 << 20
"""Memory of a worker before its first document: interpreter, libraries, compressors."""

HELD_PER_BYTE = 8
"""Memory for each byte of a part: the documents and their symbols, and what is written of them."""

LARGEST_DOCUMENT = 16 << 20
"""Bytes of one document that room is kept for: a corpus leaves out longer ones unless told."""


class ShardExecutor(PipelineExecutor):
    """Runs the shards of a job in this process, one after the other."""

    def __init__(self, job: PrepareJob, sources: dict[str, ViewSource]):
        super().__init__(pipeline=[], logging_dir=str(job.work))
        self.job = job
        self.sources = sources

    @property
    def world_size(self) -> int:
        """Number of shards."""
        return len(self.job.parts)

    def run(self) -> None:
        """Run every shard that has no completion marker."""
        for rank in self.get_incomplete_ranks():
            self.run_shard(rank)

    def run_shard(self, rank: int) -> int:
        """Read, compress and write one shard, mark it completed; returns ``rank``."""
        # As datatrove's, without its log handlers: they take 80 ms per shard to set up and write
        # to stderr; errors reach the caller as exceptions.
        groups = None
        for step in self.job.pipeline(self.sources):
            groups = step(groups, rank, self.world_size)
        deque(groups or (), maxlen=0)
        self._mark(rank)
        return rank

    def _mark(self, rank: int) -> None:
        with named_write(self.job.work):
            self.mark_rank_as_completed(rank)

    def memory_for(self, rank: int) -> int:
        """Bytes of memory to keep for a worker on shard ``rank``.

        What is read and compressed waits until the shard is written; the compressor's own need
        is that of one document, which may be the whole part.
        """
        num_bytes = self.job.parts[rank].num_bytes
        largest = min(num_bytes, LARGEST_DOCUMENT)
        needs = (source.memory_for(largest) for source in self.sources.values())
        return WORKER_BYTES + HELD_PER_BYTE * num_bytes + max(needs, default=0)

    def mark_exactly(self, finished: set[int]) -> None:
        """Make the completion markers say exactly that these shards are finished."""
        for rank in range(self.world_size):
            if rank in finished and not self.is_rank_completed(rank):
                self._mark(rank)
            elif rank not in finished and self.is_rank_completed(rank):
                self.logging_dir.rm(f"completions/{rank:05d}")

    def get_distributed_env(self, node_rank: int = -1) -> DistributedEnvVars:
        """Never asked for: other machines are not told to run anything."""
        raise NotImplementedError
