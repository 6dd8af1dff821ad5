from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from memory_store import (
    MemoryDocument,
    disk_store,
    memory_store,
    random_documents,
    unchecked_batches,
)

from proxylm.data.batches import Batches, batches
from proxylm.data.mixture import (
    AlwaysPairs,
    ConstantRate,
    DocumentGranularity,
    Mixture,
    PieceGranularity,
)
from proxylm.data.sources import Source, SourceConfig
from proxylm.errors import DataError, ProxylmError, UsageError
from proxylm.symbols import BOS, COMPRESSED_OFFSET, EOS, PAD, RAW_OFFSET

SIZES: dict[str, Any] = {"context": 64, "contexts_per_step": 8, "steps": 12}


def pairs(pair_overflow: Any = "split", **changes: Any) -> Mixture:
    granularity = DocumentGranularity(pairing=AlwaysPairs(), pair_overflow=pair_overflow)
    return Mixture(rate=ConstantRate(rate=0.6), granularity=granularity, **changes)


def pieces(**changes: Any) -> Mixture:
    granularity = PieceGranularity(min_symbols=4, max_symbols=30)
    return Mixture(rate=ConstantRate(rate=0.6), granularity=granularity, **changes)


# --- from the disk


@pytest.mark.parametrize("mixing", [Mixture(), pairs("cut"), pieces()])
def test_a_store_on_disk_reads_like_one_in_memory(tmp_path: Path, mixing: Mixture):
    documents = random_documents(90, mean_bytes=200)
    path = disk_store(tmp_path / "store", documents, shards=4)
    on_disk = batches([SourceConfig(store=path, view="v")], mixing, heads=2, seed=5, **SIZES)
    store = memory_store(documents, shard_sizes=[90])
    in_memory = unchecked_batches([store], mixing, heads=2, seed=5, **SIZES)
    assert on_disk.symbol_count == 5000
    assert on_disk.compressor_fingerprint == "a" * 32
    for step in range(12):
        ours, theirs = on_disk.batch(step), in_memory.batch(step)
        assert (ours.inputs == theirs.inputs).all()
        assert (ours.targets == theirs.targets).all()
        assert ours.inputs.max() < 320 + 5000


def test_wide_symbols(tmp_path: Path):
    document = MemoryDocument(raw=b"x" * 90, symbols=(70_000, 0, 99_999) * 30)
    path = disk_store(tmp_path / "store", [document], shards=1, symbol_count=100_000)
    drawn = batches([SourceConfig(store=path, view="v")], Mixture.compressed_only(), **SIZES)
    row = drawn.batch(0).inputs[0].tolist()
    assert {70_320, 320, 100_319} < set(row)


# --- slices and ranks


@pytest.mark.parametrize("mixing", [Mixture(), pieces()])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_the_stream_is_the_same_for_any_number_of_ranks(mixing: Mixture, ranks: int):
    store = memory_store(random_documents(90, mean_bytes=200), shard_sizes=[90])
    whole = unchecked_batches([store], mixing, heads=2, **SIZES)
    share = 8 // ranks
    copies = [unchecked_batches([store], mixing, heads=2, **SIZES) for _ in range(ranks)]
    for step in range(12):
        expected = whole.batch(step)
        parts = [
            copy.batch(step, first=rank * share, count=share) for rank, copy in enumerate(copies)
        ]
        for name in ("inputs", "targets", "segment_ids", "position_ids", "contexts"):
            together = np.concatenate([getattr(part, name) for part in parts])
            assert (together == getattr(expected, name)).all()


def test_any_slicing_of_a_step_gives_the_same_contexts():
    store = memory_store(random_documents(90, mean_bytes=200), shard_sizes=[90])
    drawn = unchecked_batches([store], Mixture(), **SIZES)
    whole = drawn.batch(7)
    for first, count in ((0, 1), (1, 3), (4, 4), (7, 1)):
        part = drawn.batch(7, first=first, count=count)
        assert (part.inputs == whole.inputs[first : first + count]).all()
        assert part.contexts.tolist() == list(range(56 + first, 56 + first + count))
    assert (drawn.batch(7, first=5).inputs == whole.inputs[5:]).all()


@pytest.mark.parametrize(
    "part", [{"first": -1}, {"first": 8}, {"count": 0}, {"count": -1}, {"first": 6, "count": 3}]
)
def test_a_slice_that_is_not_in_the_step_is_refused(part: dict[str, int]):
    data = batches(memory_store(random_documents(90, mean_bytes=200)), **SIZES)
    with pytest.raises(UsageError, match="it has 8, from 0; ask for at least one"):
        data.batch(7, **part)


# --- as a sequence


def test_batches_are_a_sequence_of_their_steps():
    data = batches(memory_store(random_documents(90, mean_bytes=200)), heads=2, **SIZES)
    assert len(data) == data.steps == 12
    assert [batch.contexts[0] for batch in data] == list(range(0, 96, 8))
    assert repr(data).startswith("Batches(12 steps of 8 contexts of 64 symbols, from MemoryStore(")
    assert repr(data[3]) == "Batch(8 contexts of 64 symbols, 2 heads; contexts 24 to 31)"
    assert (data[-1].inputs == data[11].inputs).all()
    for step in (12, -13):
        with pytest.raises(IndexError, match=f"step {step}: there are 12, numbered from 0"):
            data[step]
        with pytest.raises(DataError, match=f"step {step}: these are 12 steps of 8 contexts"):
            data.batch(step)


def test_whatever_changes_a_batch_changes_the_fingerprint(tmp_path: Path):
    documents = random_documents(90, mean_bytes=200)
    store, path = memory_store(documents), disk_store(tmp_path / "store", documents)

    def fingerprint(sources: Any, mixture: Mixture = Mixture(), **changes: Any) -> str:  # noqa: B008
        return batches(sources, mixture, **(SIZES | changes)).fingerprint

    two = [Source(store, "v"), Source(store, "v")]
    changed = [
        *(fingerprint(store, **{name: value + 1}) for name, value in SIZES.items()),
        *(fingerprint(store, heads=2), fingerprint(store, seed=1), fingerprint(store, pieces())),
        *(fingerprint(memory_store(documents[1:])), fingerprint(two)),
        fingerprint([two[0], Source(store, "v", weight=2)]),
        fingerprint(disk_store(tmp_path / "other", documents, fingerprint="b" * 32)),
        fingerprint(store),
    ]
    assert len(set(changed)) == len(changed)
    assert fingerprint(store) == changed[-1] and fingerprint(path) == fingerprint(path)


def test_a_batch_gives_the_tensors_that_the_loss_takes():
    batch = batches(memory_store(random_documents(90, mean_bytes=200)), heads=2, **SIZES)[0]
    tensors = batch.tensors()
    arrays = (batch.inputs, batch.targets, batch.segment_ids, batch.position_ids)
    for tensor, array in zip(tensors, arrays, strict=True):
        assert tensor.dtype == torch.int64 and (tensor.numpy() == array).all()


def test_workers_of_a_data_loader_give_the_same_batches(tmp_path: Path):
    documents = random_documents(90, mean_bytes=200)
    path = disk_store(tmp_path / "store", documents)
    data = batches([path, memory_store(documents)], heads=2, **SIZES)
    loaded = torch.utils.data.DataLoader(
        data, batch_size=None, num_workers=2, multiprocessing_context="spawn"
    )
    for ours, theirs in zip(data, loaded, strict=True):
        for name in ("inputs", "targets", "segment_ids", "position_ids", "contexts"):
            assert (getattr(ours, name) == getattr(theirs, name)).all()


@pytest.mark.parametrize(
    "wrong", [{"contexts_per_step": 0}, {"steps": 0}, {"heads": 0}, {"seed": -1}, {"seed": 1 << 63}]
)
def test_sizes_that_cannot_be_are_refused(wrong: dict[str, int]):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} .*: must be from"):
        batches(memory_store(random_documents(9, mean_bytes=200)), **(SIZES | wrong))


# --- what is predicted


def one_epoch(mixing: Mixture, documents: list[MemoryDocument]) -> tuple[Batches, Any]:
    """All contexts of exactly one epoch."""
    mixing = mixing.model_copy(update={"when_exhausted": "stop"})
    drawn = unchecked_batches(
        [memory_store(documents, shard_sizes=[len(documents)], symbol_count=1 << 17)],
        mixing,
        context=64,
        contexts_per_step=1,
        steps=100_000,
    )
    shown = list(drawn)
    return drawn, (
        np.concatenate([batch.inputs for batch in shown]),
        np.concatenate([batch.targets[:, :, 0] for batch in shown]),
    )


def distinct_documents() -> list[MemoryDocument]:
    """Documents in which no symbol occurs twice, so that predictions can be counted."""
    documents, first = [], 0
    for document in random_documents(70, mean_bytes=300, seed=3):
        count = len(document.symbols)
        documents.append(
            MemoryDocument(
                raw=document.raw,
                symbols=tuple(range(first, first + count)),
                anchors=document.anchors,
            )
        )
        first += count
    return documents


@pytest.mark.parametrize("sentinels", [True, False])
@pytest.mark.parametrize("pair_overflow", ["split", "cut"])
def test_every_content_symbol_of_pairs_is_predicted_exactly_once(
    sentinels: bool, pair_overflow: Any
):
    documents = distinct_documents()
    mixing = pairs(pair_overflow, sentinels=sentinels)
    mixing = mixing.model_copy(update={"rate": ConstantRate(rate=0.5)})  # pairs alone
    _, (_, targets) = one_epoch(mixing, documents)
    compressed = np.sort(targets[targets >= 320] - 320)
    assert compressed.tolist() == list(range(sum(len(d.symbols) for d in documents)))
    raw = targets[(targets >= 64) & (targets < 320)]
    assert np.bincount(raw - 64, minlength=256).tolist() == byte_counts(documents)


def byte_counts(documents: list[MemoryDocument]) -> list[int]:
    joined = np.frombuffer(b"".join(document.raw for document in documents), np.uint8)
    return np.bincount(joined, minlength=256).tolist()


@pytest.mark.parametrize("sentinels", [True, False])
def test_every_content_symbol_is_predicted_exactly_once(sentinels: bool):
    documents = distinct_documents()
    mixing = Mixture.compressed_only().model_copy(update={"sentinels": sentinels})
    _, (_, targets) = one_epoch(mixing, documents)
    compressed = np.sort(targets[targets >= 320] - 320)
    assert compressed.tolist() == list(range(sum(len(d.symbols) for d in documents)))
    mixing = Mixture.bytes_only().model_copy(update={"sentinels": sentinels})
    _, (_, targets) = one_epoch(mixing, documents)
    raw = targets[(targets >= 64) & (targets < 320)]
    assert np.bincount(raw - 64, minlength=256).tolist() == byte_counts(documents)


def test_pieces_show_everything_once_in_one_format():
    documents = distinct_documents()
    drawn, (inputs, targets) = one_epoch(pieces(), documents)
    compressed = targets[targets >= 320]
    assert len(np.unique(compressed)) == len(compressed)
    assert 0 < len(compressed) < sum(len(d.symbols) for d in documents)
    for array in (inputs, targets):
        raw_count = ((array >= 64) & (array < 320)).sum()
        assert raw_count == sum(drawn.statistics(step).raw_symbols for step in range(drawn.steps))
    shown = sum(drawn.statistics(step).raw_bytes for step in range(drawn.steps))
    assert shown == sum(len(d.raw) for d in documents)


def test_plain_loses_the_first_symbol_of_a_context_and_truncate_only_drops():
    documents = distinct_documents()
    everything = set(range(sum(len(d.symbols) for d in documents)))
    mixing = Mixture.compressed_only()
    plain = mixing.model_copy(update={"overflow": "plain"})
    _, (inputs, targets) = one_epoch(plain, documents)
    predicted = (targets[targets >= 320] - 320).tolist()
    first = inputs[:, 0]
    assert everything - set(predicted) == set((first[first >= 320] - 320).tolist())
    assert (inputs[1:, 0] != 1).any(), "nothing was cut"
    truncating = mixing.model_copy(update={"overflow": "truncate"})
    _, (inputs, targets) = one_epoch(truncating, documents)
    predicted = (targets[targets >= 320] - 320).tolist()
    assert len(set(predicted)) == len(predicted) < len(everything)
    assert (inputs[:, 0] == 1).all()


def test_a_cut_end_is_not_closed_and_the_rest_opens_again():
    document = MemoryDocument(raw=bytes(range(200)), symbols=(1,))
    drawn = unchecked_batches(
        [memory_store([document], shard_sizes=[1])],
        Mixture(rate=ConstantRate(rate=0), shuffle_block_steps=1),
        context=64,
        contexts_per_step=1,
        steps=4,
    )
    first, second = drawn.batch(0), drawn.batch(1)
    assert first.inputs[0, :3].tolist() == [1, 12, 64]
    assert first.inputs[0, -1] == 64 + 61 and first.targets[0, -1, 0] == -100
    assert second.inputs[0, :3].tolist() == [1, 12, 64 + 62]
    assert second.position_ids[0, :3].tolist() == [0, 1, 2]
    assert second.targets[0, 1, 0] == 64 + 62


@pytest.mark.parametrize("mixing", [Mixture(), pairs(), pieces()])
def test_attention_across_documents_changes_segments_and_positions_alone(mixing: Mixture):
    store = memory_store(random_documents(60, mean_bytes=60), shard_sizes=[60])
    across = mixing.model_copy(update={"cross_document_attention": True})
    alone = unchecked_batches([store], mixing, heads=2, **SIZES)
    joined = unchecked_batches([store], across, heads=2, **SIZES)
    padded = 0
    for step in range(12):
        theirs, ours = alone.batch(step), joined.batch(step)
        assert (ours.inputs == theirs.inputs).all()
        assert (ours.targets == theirs.targets).all()
        for inputs, segments, positions in zip(
            ours.inputs, ours.segment_ids, ours.position_ids, strict=True
        ):
            size = int((inputs != PAD).sum())
            padded += size < len(inputs)
            assert (segments[:size] == 0).all() and (segments[size:] == 1).all()
            assert positions[:size].tolist() == list(range(size))
            assert positions[size:].tolist() == list(range(len(inputs) - size))
    assert padded
    assert alone.fingerprint != joined.fingerprint


def test_bytes_alone_can_go_without_sentinels():
    store = memory_store(random_documents(60, mean_bytes=60), shard_sizes=[60])
    drawn = unchecked_batches([store], Mixture.bytes_only(sentinels=False), **SIZES)
    inputs = np.concatenate([batch.inputs for batch in drawn])
    assert set(inputs[inputs < RAW_OFFSET].tolist()) == {PAD, BOS, EOS}
    assert inputs.max() < COMPRESSED_OFFSET


def test_targets_of_several_heads_stop_at_the_segments_end():
    store = memory_store(random_documents(60, mean_bytes=60), shard_sizes=[60])
    drawn = unchecked_batches([store], Mixture.samples(rate=0.5), heads=4, **SIZES)
    for step in range(12):
        batch = drawn.batch(step)
        for head in range(4):
            shift = 1 + head
            same = batch.segment_ids[:, shift:] == batch.segment_ids[:, :-shift]
            is_pad = batch.inputs[:, :-shift] == 0
            expected = np.where(same & ~is_pad, batch.inputs[:, shift:], -100)
            assert (batch.targets[:, :-shift, head] == expected).all()
            assert (batch.targets[:, -shift:, head] == -100).all()


def test_further_heads_never_look_into_the_second_view_of_a_pair():
    store = memory_store(random_documents(60, mean_bytes=40), shard_sizes=[60])
    drawn = unchecked_batches([store], pairs("cut"), heads=3, **SIZES)
    pairs_seen = 0
    for step in range(12):
        batch = drawn.batch(step)
        for row in range(8):
            for document in np.unique(batch.segment_ids[row]):
                at = np.flatnonzero(batch.segment_ids[row] == document)
                symbols = batch.inputs[row, at]
                closing = np.flatnonzero((symbols == 13) | (symbols == 15))
                opening = np.flatnonzero((symbols == 12) | (symbols == 14))
                if len(opening) < 2:
                    continue
                pairs_seen += 1
                border = closing[0] + 1  # the first closing sentinel's successor
                for head in (1, 2):
                    known = np.flatnonzero(batch.targets[row, at, head] != -100)
                    assert (known + 1 + head < border).all()
                    assert len(known) == max(0, border - 1 - head)
                assert (batch.targets[row, at[:-1], 0] == symbols[1:]).all()
    assert pairs_seen > 50


# --- what cannot be mixed


def refused(error: type[ProxylmError], *args: Any, **changes: Any) -> str:
    with pytest.raises(error) as caught:
        batches(*args, **(SIZES | changes))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_settings_that_do_not_fit_the_data(tmp_path: Path):
    documents = random_documents(20, mean_bytes=100)
    path = disk_store(tmp_path / "store", documents)
    source = [SourceConfig(store=path, view="v")]
    message = refused(UsageError, source, Mixture(), context=1_000_000)
    assert "context 1000000 is longer than the training data" in message
    assert "at least 16" in refused(UsageError, source, Mixture(), context=8)
    unknown = [SourceConfig(store=path, view="w")]
    assert "it has: v" in refused(DataError, unknown, Mixture())
    no_view = [SourceConfig(store=path)]
    assert "no view is named" in refused(UsageError, no_view, Mixture())
    assert "no view is named" in refused(UsageError, no_view, Mixture.pieces(rate=0.0))
    assert "weights are 0" in refused(
        UsageError, [SourceConfig(store=path, view="v", weight=0)], Mixture()
    )
    missing = [SourceConfig(store=str(tmp_path / "none"), view="v")]
    assert str(tmp_path / "none") in refused(DataError, missing, Mixture())


def test_bytes_only_needs_no_view(tmp_path: Path):
    path = disk_store(tmp_path / "store", random_documents(20, mean_bytes=100))
    drawn = batches([SourceConfig(store=path)], Mixture.bytes_only(), **SIZES)
    assert drawn.symbol_count == 0 and drawn.compressor_fingerprint is None
    inputs = drawn.batch(3).inputs
    assert inputs.max() < 320 and (inputs != 14).all()


def test_sources_of_different_compressors_are_refused_showing_both(tmp_path: Path):
    documents = random_documents(20, mean_bytes=100)
    ours = disk_store(tmp_path / "a", documents)
    other = disk_store(tmp_path / "b", documents, fingerprint="b" * 32)
    larger = disk_store(tmp_path / "c", documents, symbol_count=6000)
    for path, texts in ((other, ("a" * 32, "b" * 32)), (larger, ("5000", "6000"))):
        sources = [SourceConfig(store=ours, view="v"), SourceConfig(store=path, view="v")]
        message = refused(DataError, sources, Mixture())
        assert all(text in message for text in (*texts, ours, path))


def test_a_source_without_training_documents_is_refused(tmp_path: Path):
    held_out = [MemoryDocument(raw=b"abc" * 100, symbols=(1, 2), held_out=True)]
    path = disk_store(tmp_path / "store", held_out, shards=1)
    message = refused(DataError, [SourceConfig(store=path, view="v")], Mixture())
    assert "no document is left for training" in message
    idle = Source(path, "v", weight=0)
    assert len(batches([idle, memory_store(random_documents(20, mean_bytes=100))], **SIZES)) == 12


def test_a_context_may_be_as_long_as_the_longer_views_of_all_documents():
    store = memory_store([MemoryDocument(raw=b"x" * 20, symbols=(1,) * n) for n in (10, 44)])
    drawn = batches(store, Mixture.compressed_only(), **SIZES)
    assert (drawn[0].inputs == 321).any()
    message = refused(UsageError, store, Mixture.compressed_only(), context=65)
    assert "longer than the training data (64 symbols)" in message


def test_splitting_pairs_of_a_view_that_cannot_be_cut_is_refused(tmp_path: Path):
    solid = [MemoryDocument(raw=bytes(900), symbols=(5,) * 300)]
    source = [SourceConfig(store=disk_store(tmp_path / "store", solid, shards=1), view="v")]
    message = refused(UsageError, source, Mixture())
    assert "pair_overflow to cut" in message
    for mixing in (pairs("cut"), Mixture.samples(rate=0.9), pieces()):
        assert batches(source, mixing, **SIZES).batch(3).inputs.shape == (8, 64)


def test_a_document_without_anchors_is_shown_whole_in_one_format():
    solid = [MemoryDocument(raw=bytes(30), symbols=(n,) * 10) for n in range(40)]
    drawn = unchecked_batches([memory_store(solid, shard_sizes=[40])], pieces(), **SIZES)
    formats = {"raw": 0, "compressed": 0}
    for step in range(12):
        batch = drawn.batch(step)
        for row in range(8):
            for document in np.unique(batch.segment_ids[row]):
                symbols = batch.inputs[row][batch.segment_ids[row] == document]
                raw, compressed = (symbols == 12).sum(), (symbols == 14).sum()
                assert raw + compressed <= 1
                formats["raw"] += raw
                formats["compressed"] += compressed
    assert formats["raw"] > 30 and formats["compressed"] > 30
