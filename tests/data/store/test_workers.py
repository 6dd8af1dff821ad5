"""Shards are handed to workers as memory allows; symbols that wait take half of it."""

from __future__ import annotations

import pickle
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_corpus import gzip_and_units, open_lines, write_json_lines

from proxylm.compressors.registry import load_compressor, save_compressor
from proxylm.corpus.contract import CorpusPart
from proxylm.corpus.document import Document
from proxylm.corpus.memory import MemoryCorpus
from proxylm.data.store import worker_process
from proxylm.data.store import workers as workers_module
from proxylm.data.store.executor import ShardExecutor
from proxylm.data.store.prepare import prepare_store
from proxylm.data.store.steps import CompressorSource
from proxylm.data.store.store import ViewStore
from proxylm.data.store.wanted import wanted_views
from proxylm.data.store.worker_process import SentJob
from proxylm.data.store.workers import within_memory
from proxylm.errors import UsageError


class Machine:
    """Runs ranks one after the other, the one started last first, and keeps the books."""

    def __init__(self, needs: dict[int, int]):
        self.needs = needs
        self.running: dict[int, Future[int]] = {}
        self.peaks: list[tuple[int, int]] = []

    def submit(self, rank: int) -> Future[int]:
        self.running[rank] = Future()
        self.peaks.append((len(self.running), sum(self.needs[one] for one in self.running)))
        return self.running[rank]

    def wait(self, futures, return_when):
        rank, future = self.running.popitem()
        future.set_result(rank)
        return type("Waited", (), {"done": {future}})


@given(
    needs=st.lists(st.integers(1, 100), max_size=12),
    workers=st.integers(1, 4),
    memory=st.integers(0, 250),
)
def test_what_runs_fits_into_memory_or_runs_alone(needs, workers, memory):
    machine = Machine(dict(enumerate(needs)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers_module, "wait", machine.wait)
        done = list(within_memory(machine.submit, machine.needs, workers, memory))
    assert sorted(done) == list(range(len(needs)))
    for count, total in machine.peaks:
        assert count <= workers
        assert total <= memory or count == 1
    if sum(needs) <= memory and needs:
        assert max(count for count, _ in machine.peaks) == min(workers, len(needs))


def test_a_store_is_the_same_where_memory_is_short(tmp_path, monkeypatch):
    lines = write_json_lines(tmp_path / "lines.jsonl")
    prepare_store(open_lines(lines), gzip_and_units(), tmp_path / "plenty", workers=2)
    monkeypatch.setattr(workers_module, "available_memory", lambda: 0)
    prepare_store(open_lines(lines), gzip_and_units(), tmp_path / "none", workers=2)
    stores = [ViewStore.open(tmp_path / name, verify=True) for name in ("plenty", "none")]
    assert [store.document_count for store in stores] == [120, 120]
    one, other = [sorted((tmp_path / name).glob("*.*")) for name in ("plenty", "none")]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_what_a_shard_needs_grows_with_its_largest_document_only_so_far():
    parts = [
        CorpusPart(index=index, num_bytes=num_bytes)
        for index, num_bytes in enumerate((0, 4 << 20, 16 << 20, 1 << 30))
    ]
    source = CompressorSource(load_compressor("units:bits=4"))
    job = type("SomeJob", (), {"parts": parts, "work": "unused"})
    needs = [ShardExecutor(job, {"v": source}).memory_for(rank) >> 20 for rank in range(4)]
    assert needs == [256, 256 + 4 * 68, 256 + 16 * 68, 256 + 16 * 60 + 24 * 8]
    assert ShardExecutor(job, {}).memory_for(1) >> 20 == 256 + 4 * 8


def test_symbols_that_wait_are_narrow_and_equal():
    raw = np.random.default_rng(1).bytes(200_000)
    for name, dtype in (("units:bits=1", np.uint16), ("units:bits=16", np.uint32)):
        compressor = load_compressor(name)
        document = Document(id="x", raw=raw + b"odd" * 7)
        (narrow,) = CompressorSource(compressor).encode([document])
        (plain,) = compressor.encode([document.raw])
        assert narrow.symbols.dtype == dtype
        assert narrow.symbols.tolist() == plain.symbols.tolist()
        (short,) = CompressorSource(compressor).encode([replace(document, raw=b"short")])
        assert short.symbols.dtype == np.uint32


def test_room_is_kept_for_the_documents_that_every_worker_is_sent(tmp_path, monkeypatch):
    needs = {}

    def noted(submit, wanted, workers, memory):
        needs.update(wanted)
        raise KeyboardInterrupt

    monkeypatch.setattr(workers_module, "within_memory", noted)
    corpus = MemoryCorpus([bytes([number]) * (1 << 20) for number in range(8)])
    with pytest.raises(KeyboardInterrupt):
        prepare_store(corpus, {}, tmp_path / "s", workers=2)
    assert {need >> 20 for need in needs.values()} == {256 + 8 + 2 * 8}


def test_workers_load_what_the_store_keeps_instead_of_a_copy(tmp_path):
    units = load_compressor("units:bits=4")
    source = wanted_views(None, {"u": units}, None, tmp_path)["u"].source
    save_compressor(units, tmp_path / "compressors" / "u")
    sent = pickle.dumps(source)
    assert b"UnitsCompressor" not in sent
    assert pickle.loads(sent).compressor.fingerprint == units.fingerprint


def test_each_shard_of_a_worker_without_the_class_says_so(monkeypatch):
    sent = SentJob(pickled=b"cno_such_module\nNothing\n.", needs_main=False)
    monkeypatch.setattr(worker_process, "_worker_state", {"sent": sent})
    for rank in range(2):
        with pytest.raises(UsageError, match=r"cannot be handed to workers \(.*no_such_module"):
            worker_process.run_shard(rank)
