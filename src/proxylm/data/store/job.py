"""One pass of ``prepare`` and its state on disk while it is unfinished.

A job is a picklable value from which any worker builds the same pipeline. Its folder,
``.prepare/<job>/`` in the store, holds what it was started with and one record per finished shard.
A record counts only while the files it names are what it says: otherwise its shard is done again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from datatrove.pipeline.base import PipelineStep
from pydantic import ValidationError

from proxylm.config import Config
from proxylm.corpus.contract import Corpus, CorpusPart
from proxylm.data.store.manifest import ViewRecord, check_content
from proxylm.data.store.steps import (
    CompressDocuments,
    ReadDocuments,
    ViewSource,
    WriteShard,
    record_path,
)
from proxylm.data.store.writer import ShardRecord, ShardWriter, read_record
from proxylm.errors import DamagedFileError, UsageError
from proxylm.files import read_json, write_json

WORK_FOLDER = ".prepare"
_INPUTS_NAME = "plan.json"


class JobInputs(Config):
    """What a job was started with; it goes on only for the same."""

    corpus_name: str
    corpus_fingerprint: str
    held_out_fraction: float
    views: dict[str, str]
    """Compressor fingerprint of each view."""

    def describe(self) -> str:
        """One line for messages."""
        views = ", ".join(f"{name} ({fingerprint})" for name, fingerprint in self.views.items())
        return (
            f"corpus {self.corpus_name} ({self.corpus_fingerprint}), held-out fraction "
            f"{self.held_out_fraction}, views: {views or 'none'}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareJob:
    """One pass: the documents of a corpus into one shard per part.

    Attributes:
        folder: the store's.
        name: of the job.
        corpus, parts: what is read; a part becomes the shard of its number.
        views: what is made.
        store_fingerprint: written into every file.
        held_out_fraction: share of documents kept out of training.
        with_raw: whether the raw files are written too (the first fill); without them the views
            are added to raw files that are there.
    """

    folder: Path
    name: str
    corpus: Corpus
    parts: Sequence[CorpusPart]
    views: dict[str, ViewRecord]
    store_fingerprint: str
    held_out_fraction: float
    with_raw: bool

    @property
    def work(self) -> Path:
        """Folder of this job's state."""
        return self.folder / WORK_FOLDER / self.name

    @property
    def records(self) -> Path:
        """Folder of the finished shards' records."""
        return self.work / "records"

    @property
    def attempts(self) -> Path:
        """Folder with one for every time that a cluster was given tasks of this job."""
        return self.work / "attempts"

    def read_inputs(self) -> JobInputs | None:
        """What this job was started with; None if it was not started.

        Raises:
            DamagedFileError: its record cannot be read.
        """
        path = self.work / _INPUTS_NAME
        if not path.exists():
            return None
        try:
            return JobInputs.model_validate(read_json(path))
        except ValidationError:
            raise DamagedFileError(f"{path}: damaged; remove {self.work} to start again") from None

    @property
    def inputs(self) -> JobInputs:
        """What it is started with."""
        return JobInputs(
            corpus_name=self.corpus.name,
            corpus_fingerprint=self.corpus.fingerprint,
            held_out_fraction=self.held_out_fraction,
            views={name: record.compressor_fingerprint for name, record in self.views.items()},
        )

    def start(self) -> None:
        """Record what the job is started with.

        Raises:
            UsageError: it was started with something else before.
        """
        started_with, inputs = self.read_inputs(), self.inputs
        if started_with is None:
            self.records.mkdir(parents=True, exist_ok=True)
            write_json(self.work / _INPUTS_NAME, inputs.model_dump(mode="json"))
        elif started_with != inputs:
            raise UsageError(
                f"{self.folder}: unfinished, and started with {started_with.describe()}; this run "
                f"asks for {inputs.describe()}: give the same again, or another folder"
            )

    def pipeline(self, sources: dict[str, ViewSource]) -> list[PipelineStep]:
        """The steps from a corpus part to its shard."""
        writer = ShardWriter(
            folder=self.folder,
            store_fingerprint=self.store_fingerprint,
            views=self.views,
            with_raw=self.with_raw,
        )
        return [
            ReadDocuments(self.corpus, self.parts),
            CompressDocuments(sources),
            WriteShard(writer, self.records, self.held_out_fraction),
        ]

    def finished_shards(self) -> dict[int, ShardRecord]:
        """Records of the shards whose files are there and hold what was written.

        Reads every finished file once, so that an interrupted run never builds on damage.
        """
        ranks = range(len(self.parts))
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            found = list(threads.map(self._valid_record, ranks))
        return {rank: record for rank, record in enumerate(found) if record is not None}

    def read_record(self, rank: int) -> ShardRecord:
        """The record of a shard that has been written."""
        return read_record(record_path(self.records, rank))

    def _valid_record(self, rank: int) -> ShardRecord | None:
        if not record_path(self.records, rank).exists():
            return None
        try:
            record = self.read_record(rank)
            raw = [record.raw.file] if record.raw else []
            for file in [*raw, *(view.file for view in record.views.values())]:
                check_content(self.folder, file)
        except DamagedFileError:
            return None
        return record
