"""Filling a view store from a corpus: the library side of ``proxylm prepare``.

The first run is one *fill* job: raw files and all views together, a document that a view cannot
represent left out of all of them. Later runs *add* views beside the raw files that are there.
Either can be stopped at any moment and goes on when it is run again; the published bytes are the
same for any number of workers and of interruptions. Nothing is visible before the manifest is.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from proxylm.compressors.contract import Compressor
from proxylm.compressors.registry import save_compressor
from proxylm.corpus.contract import Corpus
from proxylm.corpus.left_out import nothing_left
from proxylm.corpus.split import HELD_OUT_FRACTION, check_fraction
from proxylm.data.store.executor import ShardExecutor
from proxylm.data.store.executors import Executor, LocalExecutor
from proxylm.data.store.job import WORK_FOLDER, PrepareJob
from proxylm.data.store.lock import LOCK_NAME, store_lock
from proxylm.data.store.manifest import (
    COMPRESSORS_FOLDER,
    LISTING_NAME,
    MANIFEST_NAME,
    CorpusRecord,
    Manifest,
    RawShard,
    read_manifest,
    record_file,
    write_manifest,
)
from proxylm.data.store.steps import CompressorSource, GivenSource, StoredCorpus
from proxylm.data.store.store import check_all_files
from proxylm.data.store.summary import PrepareSummary, left_out_of, summarize
from proxylm.data.store.wanted import WantedView, wanted_views
from proxylm.data.store.worker_process import SentJob, leave_if_main_is_imported
from proxylm.data.store.workers import run_shards
from proxylm.data.store.writer import ShardRecord, store_fingerprint
from proxylm.errors import DataError, UsageError
from proxylm.files import remove_temporaries, require_utf8, write_json
from proxylm.progress import TellCount, untold

_FILL_JOB = "fill"


def prepare_store(
    corpus: Corpus | None,
    compressors: Mapping[str, Compressor],
    out: Path,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    held_out_fraction: float | None = None,
    given_view: str | None = None,
    progress: TellCount = untold,
) -> PrepareSummary:
    """Write, continue or extend the view store in ``out``.

    The arguments are those of ``data.preparing.prepare``, with the corpus and the compressors
    open; ``progress`` hears of the bytes of parts that are done, pass by pass. ``executor`` says
    where the shards are made; ``workers`` is short for so many processes of this machine. The store
    is the same anywhere.

    Raises:
        UsageError: ``out`` holds something else, or was started with other settings.
        DataError: a document, a file of the corpus or of the store cannot be used, or no document
            is left to write; the message says why they were left out.
    """
    started = time.perf_counter()
    if held_out_fraction is not None:
        check_fraction(held_out_fraction)
    if workers is not None and workers < 1:
        raise UsageError(f"workers {workers}: give at least 1")
    if workers is not None and executor is not None:
        raise UsageError("workers: the executor's file says how many; leave them out")
    leave_if_main_is_imported()
    wanted = wanted_views(corpus, compressors, given_view, out)
    _check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    with store_lock(out) as lock_descriptor:
        run = _Run(out, executor or LocalExecutor(workers=workers), lock_descriptor, progress)
        manifest = run.bring_to(corpus, wanted, held_out_fraction)
    seconds = time.perf_counter() - started
    return summarize(out, manifest, processed_bytes=run.processed_bytes, seconds=seconds)


class _Run:
    """One call of ``prepare`` at work, under the store's lock."""

    def __init__(self, out: Path, executor: Executor, lock_descriptor: int, progress: TellCount):
        self.out = out
        self.executor = executor
        self.lock_descriptor = lock_descriptor
        self.progress = progress
        self.processed_bytes = 0

    def bring_to(
        self, corpus: Corpus | None, wanted: dict[str, WantedView], held_out_fraction: float | None
    ) -> Manifest:
        """Fill the store unless it is filled, then add the views that it lacks."""
        self._remove_temporaries()
        try:
            if (self.out / MANIFEST_NAME).exists():
                manifest = read_manifest(self.out)
                _check_same(self.out, manifest, corpus, wanted, held_out_fraction)
                _check_not_empty(f"{self.out}", manifest.shards)
                check_all_files(self.out, manifest)
            else:
                manifest = self._fill(corpus, wanted, held_out_fraction)
            for name, view in wanted.items():
                if name not in manifest.views:
                    manifest = self._add_view(manifest, name, view)
        finally:
            self._remove_temporaries()
        self._remove_finished_jobs(manifest)
        return manifest

    def _fill(
        self, corpus: Corpus | None, wanted: dict[str, WantedView], held_out_fraction: float | None
    ) -> Manifest:
        if corpus is None:
            raise UsageError(f"{self.out}: no finished view store, so a corpus is needed")
        fraction = HELD_OUT_FRACTION if held_out_fraction is None else held_out_fraction
        views = {name: view.record for name, view in wanted.items()}
        job = PrepareJob(
            folder=self.out,
            name=_FILL_JOB,
            corpus=corpus,
            parts=corpus.parts(),
            views=views,
            store_fingerprint=store_fingerprint(corpus.fingerprint, fraction, views),
            held_out_fraction=fraction,
            with_raw=True,
        )
        records = self._run_job(job, wanted)
        shards = [record.raw for record in records if record.raw is not None]
        try:
            _check_not_empty(corpus.name, shards)
        except DataError:
            # The same folder takes the next try, which will be asked for something else.
            self._remove_unpublished(job, records)
            raise
        write_json(self.out / LISTING_NAME, corpus.listing())
        manifest = Manifest(
            fingerprint=job.store_fingerprint,
            corpus=CorpusRecord(
                name=corpus.name,
                fingerprint=corpus.fingerprint,
                description=corpus.describe(),
                listing=record_file(self.out / LISTING_NAME),
            ),
            held_out_fraction=fraction,
            shards=shards,
            views=views,
            view_shards={name: [record.views[name] for record in records] for name in views},
        )
        write_manifest(self.out, manifest)
        return manifest

    def _remove_unpublished(self, job: PrepareJob, records: list[ShardRecord]) -> None:
        """Remove what a finished fill has written, before its manifest."""
        for record in records:
            for shard in [record.raw, *record.views.values()]:
                if shard is not None:
                    (self.out / shard.file.name).unlink()
        shutil.rmtree(job.work)
        shutil.rmtree(self.out / COMPRESSORS_FOLDER, ignore_errors=True)
        self._remove_empty_work_folder()

    def _add_view(self, manifest: Manifest, name: str, view: WantedView) -> Manifest:
        if isinstance(view.source, GivenSource):
            raise UsageError(
                f"{self.out}: view '{name}' comes with the documents and cannot be added to a "
                "finished store; prepare it together with the others in a new folder"
            )
        stored = StoredCorpus(self.out, manifest)
        job = PrepareJob(
            folder=self.out,
            name=_add_job(name),
            corpus=stored,
            parts=stored.parts(),
            views={name: view.record},
            store_fingerprint=manifest.fingerprint,
            held_out_fraction=manifest.held_out_fraction,
            with_raw=False,
        )
        if job.read_inputs() not in (None, job.inputs):
            # An unfinished view of that name by another compressor: nobody has seen it.
            shutil.rmtree(job.work)
        records = self._run_job(job, {name: view})
        shards = [record.views[name] for record in records]
        extended = manifest.model_copy(
            update={
                "views": manifest.views | job.views,
                "view_shards": manifest.view_shards | {name: shards},
            }
        )
        write_manifest(self.out, extended)
        return extended

    def _run_job(self, job: PrepareJob, wanted: dict[str, WantedView]) -> list[ShardRecord]:
        sources = {name: view.source for name, view in wanted.items()}
        make = self._runner(ShardExecutor(job, sources))
        job.start()
        if job.attempts.is_dir():
            from proxylm.data.store.cluster import cancel_former_attempts

            cancel_former_attempts(job)
        for view in wanted.values():
            _save(self.out, view)
        finished = job.finished_shards()
        part_bytes = [part.num_bytes for part in job.parts]
        done_bytes, total_bytes = sum(part_bytes[rank] for rank in finished), sum(part_bytes)

        def report() -> None:
            self.progress(job.name, done_bytes, total_bytes)

        def on_done(rank: int) -> None:
            nonlocal done_bytes
            done_bytes += part_bytes[rank]
            finished[rank] = job.read_record(rank)
            raw = finished[rank].raw
            self.processed_bytes += raw.num_bytes if raw else part_bytes[rank]
            report()

        report()
        left = [rank for rank in range(len(part_bytes)) if rank not in finished]
        make(left, on_done)
        return [finished[rank] for rank in range(len(part_bytes))]

    def _runner(self, shards: ShardExecutor) -> Callable[[list[int], Callable[[int], None]], None]:
        """What makes shards where the executor says; what cannot be sent there is refused here."""
        executor = self.executor
        if not isinstance(executor, LocalExecutor):
            # Not before: the executors' libraries take as long to come in as a small corpus takes.
            from proxylm.data.store.cluster import run_on_cluster

            sent = SentJob.of(shards.job, shards.sources)
            if sent.needs_main:
                raise UsageError(
                    f"{self.out}: a class of the main script cannot be handed to a cluster; define "
                    "it in a module that its machines have"
                )
            return partial(run_on_cluster, executor, shards, sent)
        workers = executor.workers or os.cpu_count() or 1
        several = workers > 1 and len(shards.job.parts) > 1
        local = SentJob.of(shards.job, shards.sources) if several else None
        return partial(run_shards, shards, local, workers, self.lock_descriptor)

    def _remove_temporaries(self) -> None:
        folders = [self.out, self.out / COMPRESSORS_FOLDER]
        for work in (self.out / WORK_FOLDER).glob("*/"):
            folders += [work, work / "records"]
        for folder in folders:
            remove_temporaries(folder)

    def _remove_finished_jobs(self, manifest: Manifest) -> None:
        for name in [_FILL_JOB, *(_add_job(view) for view in manifest.views)]:
            shutil.rmtree(self.out / WORK_FOLDER / name, ignore_errors=True)
        self._remove_empty_work_folder()

    def _remove_empty_work_folder(self) -> None:
        with suppress(OSError):  # another view's unfinished work may be left
            (self.out / WORK_FOLDER).rmdir()


def _add_job(view: str) -> str:
    return f"add-{view}"


def _save(out: Path, view: WantedView) -> None:
    """Save a compressor beside its view, in place of what an interrupted run may have left."""
    if not isinstance(view.source, CompressorSource) or view.record.compressor_folder is None:
        return
    folder = out / view.record.compressor_folder
    if folder.exists():
        shutil.rmtree(folder)
    save_compressor(view.source.compressor, folder)


def _check_folder(out: Path) -> None:
    """Raise unless ``out`` is new, empty, a store, or what a run that just began left there."""
    require_utf8(out)
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out}: not a folder; choose another --out")
    names = {path.name for path in out.iterdir()}
    if names - {LOCK_NAME, WORK_FOLDER} and not names & {MANIFEST_NAME, WORK_FOLDER}:
        raise UsageError(f"{out}: not empty and not a view store; choose another --out")


def _check_not_empty(where: str, shards: Sequence[RawShard]) -> None:
    """Raise if there is no document, and say what was there instead."""
    if not any(shard.rows for shard in shards):
        otherwise = "give a larger corpus, or a smaller held-out share"
        raise nothing_left(f"{where}: no documents", left_out_of(shards), otherwise)


def _check_same(
    out: Path,
    manifest: Manifest,
    corpus: Corpus | None,
    wanted: dict[str, WantedView],
    held_out_fraction: float | None,
) -> None:
    """Raise unless a finished store is of this corpus and split, and its views of these."""
    stored = manifest.corpus
    if corpus is not None and corpus.fingerprint != stored.fingerprint:
        raise UsageError(
            f"{out}: holds corpus {stored.name} ({stored.fingerprint}), this run asks for "
            f"{corpus.name} ({corpus.fingerprint}); choose another --out"
        )
    if held_out_fraction not in (None, manifest.held_out_fraction):
        raise UsageError(
            f"{out}: was split with held-out fraction {manifest.held_out_fraction}, this run asks "
            f"for {held_out_fraction}; choose another --out"
        )
    for name, view in wanted.items():
        asked = view.record.compressor_fingerprint
        made_by = manifest.views.get(name, view.record).compressor_fingerprint
        if made_by != asked:
            raise UsageError(
                f"{out}: view '{name}' was made by compressor {made_by}, this one is {asked}; "
                "choose another name for the view"
            )
