"""The memory of dropped batches is used again; what anybody still holds is never written to."""

from __future__ import annotations

import gc
import pickle

import numpy as np
import pytest
import torch

from proxylm.data.batches import Batches, batches
from proxylm.data.memory import MemoryStore
from proxylm.data.mixture import Mixture
from proxylm.data.reused_memory import KEPT_BLOCKS, ReusedMemory

SHAPES: list[tuple[int, ...]] = [(2, 8), (2, 8, 3)]


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


@pytest.fixture
def drawn() -> Batches:
    store = MemoryStore.of(["a"], [bytes(range(256)) * 20], {}, [False])
    return batches(store, Mixture.bytes_only(), context=32, contexts_per_step=2, steps=20)


def test_a_dropped_block_is_used_again() -> None:
    memory = ReusedMemory()
    first = address(memory.arrays(SHAPES)[0])
    assert address(memory.arrays(SHAPES)[0]) == first


def test_arrays_have_their_shapes_and_do_not_overlap() -> None:
    small, large = ReusedMemory().arrays(SHAPES)
    small[:], large[:] = 1, 2
    assert (small.shape, large.shape) == ((2, 8), (2, 8, 3))
    assert (small == 1).all()
    assert (large == 2).all()


def test_a_block_of_another_size_is_not_used() -> None:
    memory = ReusedMemory()
    memory.arrays([(100,)])
    assert memory.arrays([(50,)])[0].base.size == 50


@pytest.mark.parametrize(
    "held",
    [
        pytest.param(lambda array: array, id="the array"),
        pytest.param(lambda array: array[1, 2:5], id="a slice"),
        pytest.param(torch.from_numpy, id="a tensor"),
        pytest.param(memoryview, id="a memoryview"),
    ],
)
def test_what_is_held_is_not_written_to(held) -> None:
    memory = ReusedMemory()
    array = memory.arrays(SHAPES)[0]
    array[:] = 1
    kept = held(array)
    del array
    for value in range(2, 12):
        for other in memory.arrays(SHAPES):
            other[:] = value
    assert np.unique(kept.tolist()) == [1]


def test_few_blocks_are_kept() -> None:
    memory = ReusedMemory()
    held = [memory.arrays(SHAPES) for _ in range(10)]
    assert len(memory._blocks) == KEPT_BLOCKS
    assert len({address(one) for one, _ in held}) == 10


def test_a_loop_over_batches_alternates_between_blocks(drawn: Batches) -> None:
    drawn.batch(0)  # compiling what fills them may hold the first arrays until they are collected
    gc.collect()
    assert len({address(batch.inputs) for batch in drawn}) == 2


def test_a_list_of_batches_holds_each_step(drawn: Batches) -> None:
    listed = list(drawn)
    for step, batch in enumerate(listed):
        assert (batch.inputs == drawn[step].inputs).all()
    assert len({address(batch.inputs) for batch in listed}) == len(drawn)


def test_a_copy_in_another_process_has_memory_of_its_own(drawn: Batches) -> None:
    copy = pickle.loads(pickle.dumps(drawn))
    assert (copy[3].targets == drawn[3].targets).all()
    assert copy._memory is not drawn._memory
