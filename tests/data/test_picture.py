"""Batches that show themselves."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from memory_store import disk_store, memory_store, random_documents

from proxylm.compressors.registry import load_compressor
from proxylm.data.batches import Batches, batches
from proxylm.data.memory import MemoryStore
from proxylm.data.mixture import Mixture
from proxylm.data.picture import show
from proxylm.data.store.manifest import ViewRecord
from proxylm.errors import UsageError

TEXTS = [f"document {number} costs <{number}> €\n".encode() * 9 for number in range(8)]


def drawn() -> Batches:
    """Pieces of texts, raw and as 16-bit units, from two stores in memory."""
    compressor = load_compressor("units:bits=16")
    record = ViewRecord(
        kind="units",
        compressor_fingerprint=compressor.fingerprint,
        symbol_count=compressor.symbol_count,
        reversible=True,
        compressor_folder=None,
    )
    stores = [
        MemoryStore.of(
            [f"{number}.txt" for number in numbers],
            TEXTS[numbers.start : numbers.stop],
            {"units": (record, compressor.encode(TEXTS[numbers.start : numbers.stop]))},
            [False] * len(numbers),
            compressors={"units": compressor},
        )
        for numbers in (range(4), range(4, 8))
    ]
    mixture = Mixture.pieces(rate=0.5)
    return batches(stores, mixture, context=256, contexts_per_step=3, steps=2, heads=2)


def test_every_context_of_a_batch_is_shown_as_what_it_holds():
    data = drawn()
    picture = show(data[1])
    assert [context.number for context in picture.contexts] == [3, 4, 5]
    for row, context in enumerate(picture.contexts):
        assert context.spans[0].offset == 0 and context.spans[-1].end == 256
        for span in context.spans:
            if span.format != "padding":
                number = int(span.document.removesuffix(".txt"))
                text = TEXTS[number]
                assert span.source == number // 4
                width = 1 if span.format == "raw" else 2
                part = text[width * span.start : width * (span.start + span.length)]
                assert span.is_decoded and span.text == part.decode(errors="backslashreplace")
            assert span.segment_id == data[1].segment_ids[row, span.offset]
            assert span.first_position == data[1].position_ids[row, span.offset]
            masked = data[1].targets[row, :, 1] == -100
            at = np.flatnonzero(masked[span.offset : span.end]) + span.offset
            assert span.masked_targets[1] == at.tolist()
    formats = {span.format for context in picture.contexts for span in context.spans}
    assert formats >= {"raw", "compressed"}


def test_one_context_is_the_same_alone():
    data = drawn()
    one = show(data[1], context=2)
    assert one.contexts == show(data[1]).contexts[2:]
    assert one.contexts == show(data.batch(1, first=2, count=1)).contexts
    with pytest.raises(UsageError, match="context 3: the batch has 3"):
        show(data[1], context=3)


def test_a_picture_is_text_in_a_terminal_and_html_in_a_notebook():
    picture = show(drawn()[0], context=0)
    assert str(picture) == repr(picture)
    assert "<bos>" in str(picture) and "∎" in str(picture) and "segment 0: " in str(picture)
    html = picture._repr_html_()
    assert "&lt;bos&gt;" in html and "<bos>" not in html and "#dcfce7" in html


def test_a_batch_from_another_process_is_shown_with_what_it_was_drawn_from():
    data = drawn()
    batch = pickle.loads(pickle.dumps(data[0]))
    assert (batch.inputs == data[0].inputs).all() and batch.batches is None
    with pytest.raises(UsageError, match="give that too"):
        show(batch)
    assert str(show(batch, data)) == str(show(data[0]))


def test_symbols_that_nothing_decodes_are_shown_by_number(tmp_path):
    documents = random_documents(20, mean_bytes=200)
    for store in (memory_store(documents), disk_store(tmp_path / "store", documents)):
        data = batches(store, Mixture.compressed_only(), context=64, contexts_per_step=1, steps=1)
        span = show(data[0]).contexts[0].spans[0]
        assert not span.is_decoded and span.text.startswith("#")
