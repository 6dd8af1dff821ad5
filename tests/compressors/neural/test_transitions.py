from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from proxylm.compressors.neural.coder.transitions import SEGMENT_START, place_edges


def laid_out(rows: list[set[int]]):
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    labels = np.array([byte for row in rows for byte in sorted(row)], np.uint8)
    return place_edges(starts, labels)


def assert_no_slot_is_shared(rows: list[set[int]]) -> int:
    bases, num_slots = laid_out(rows)
    assert len(set(bases.tolist())) == len(rows)
    slots = [int(base) + byte for base, row in zip(bases, rows, strict=True) for byte in row]
    assert len(set(slots)) == len(slots)
    assert int(bases.max()) + SEGMENT_START + 255 < num_slots
    return num_slots


@given(st.lists(st.sets(st.integers(0, 255), max_size=40), min_size=1, max_size=80))
@hypothesis_settings(max_examples=150, deadline=None)
def test_nodes_have_bases_and_edges_slots_of_their_own(rows):
    assert_no_slot_is_shared(rows)


@pytest.mark.parametrize("size", [0, 1, 255, 256])
def test_nodes_that_are_all_alike(size):
    assert_no_slot_is_shared([set(range(size))] * 300)


def test_gaps_are_filled():
    random = np.random.default_rng(3)
    sizes = np.minimum(random.geometric(0.25, 4000) - 1, 60)
    rows = [set(random.choice(256, size, replace=False).tolist()) for size in sizes]
    num_edges = sum(map(len, rows))
    assert num_edges > 10_000
    assert assert_no_slot_is_shared(rows) < 1.5 * num_edges + 1024
