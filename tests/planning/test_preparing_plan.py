"""Disk and hours of views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from proxylm.compressors.view import CompressedView
from proxylm.corpus.document import Document
from proxylm.data.store.manifest import CorpusRecord, ViewRecord
from proxylm.data.store.store import ViewStore
from proxylm.planning.data import PlannedSource, Shown
from proxylm.planning.machines import Machines
from proxylm.planning.preparing import byte_lm_flops, prepare_steps, store_size
from written_store import ShardRows, write_store

MEAN_BYTES, DOCUMENTS, RHO = 5000, 100, 4


def written(folder: Path) -> ViewStore:
    """Documents of one length; a symbol stands for four bytes, an anchor for 64 symbols."""
    anchors = np.arange(64, MEAN_BYTES // RHO, 64, dtype=np.uint32)
    view = CompressedView(
        symbols=np.zeros(MEAN_BYTES // RHO, np.uint32),
        anchors=np.stack([RHO * anchors, anchors], axis=1),
    )
    rows = ShardRows(["tokenizer"])
    for number in range(DOCUMENTS):
        document = Document(id=f"repository/folder/file-{number:05}.py", raw=bytes(MEAN_BYTES))
        rows.add(document, False, {"tokenizer": view})
    record = ViewRecord(
        kind="test",
        compressor_fingerprint="f" * 32,
        symbol_count=96_640,
        reversible=True,
        compressor_folder=None,
    )
    corpus = CorpusRecord(name="made", fingerprint="made")
    write_store(folder, [rows], {"tokenizer": record}, corpus=corpus, held_out_fraction=0.0)
    return ViewStore.open(folder)


def shown_of(store: ViewStore | None, view: str | None, raw_bytes: int) -> Shown:
    source = PlannedSource(
        name="stores/mine",
        view=view,
        store=store,
        symbol_count=96_640,
        rho=RHO if view else None,
        raw_bytes=raw_bytes,
    )
    return Shown(source=source, documents=1, raw_bytes=raw_bytes, epochs=1.0)


def test_the_computed_size_is_that_of_a_store(tmp_path: Path) -> None:
    store, raw = written(tmp_path / "store"), MEAN_BYTES * DOCUMENTS
    there = store_size(shown_of(store, "tokenizer", raw), MEAN_BYTES)
    computed = store_size(shown_of(None, "tokenizer", raw), MEAN_BYTES)
    assert there.is_there and not computed.is_there
    files = sum(path.stat().st_size for path in (tmp_path / "store").glob("*.arrow"))
    assert there.num_bytes == files
    assert computed.num_bytes == pytest.approx(files, rel=0.02)


def test_the_byte_lm_is_what_a_neural_view_waits_for() -> None:
    # docs/neural.md: 79.7 M in the matrices, 12.6 M in attention; windows overlap by 16 of 1024.
    assert byte_lm_flops() == pytest.approx(92.3e6 * 1024 / 1008, rel=0.002)
    machines = Machines(gpu="h100", mfu=1.0)
    steps = prepare_steps(shown_of(None, "neural-entropy-98-16-8", 270 * 10**9), machines)
    assert [step.device for step in steps] == ["h100", "CPU core"]
    assert steps[0].hours == pytest.approx(270 / 2.6, rel=0.02)  # docs/neural.md
    assert steps[1].hours < 2


def test_what_is_there_or_shown_as_bytes_takes_no_preparing(tmp_path: Path) -> None:
    store = written(tmp_path / "store")
    assert prepare_steps(shown_of(store, "tokenizer", 1), Machines()) == []
    assert prepare_steps(shown_of(None, None, 1), Machines()) == []
