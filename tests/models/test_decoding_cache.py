"""Steps through a cache against the parallel forward: windows, rows, rewinding, memory."""

import numpy as np
import pytest
import torch
from stepping import step_hidden

from proxylm.errors import UsageError
from proxylm.models.config import EvaAttention
from proxylm.models.feed import SymbolTree

LENGTH = 110  # three windows of 32 and a part


@pytest.fixture
def case(build, packed, attention):
    model = build(attention, prediction_heads=2)
    ids, _ = packed(3, LENGTH)
    with torch.no_grad():
        return model, ids, model.logits(ids)


def fed(model, ids, sizes):
    cache, outputs, start = model.new_cache(len(ids)), [], 0
    for size in sizes:
        outputs.append(model.step(ids[:, start : start + size], cache))
        start += size
    assert (cache.positions == start).all()
    return torch.cat(outputs, dim=1)


@pytest.mark.parametrize(
    "sizes", [[1] * LENGTH, [LENGTH], [7] * 15 + [5], [31, 1, 1, 40, 37], [64, 1, 45]]
)
def test_steps_of_any_size_equal_forward(case, sizes):
    model, ids, logits = case
    torch.testing.assert_close(fed(model, ids, sizes), logits, rtol=1e-4, atol=1e-5)


def test_rows_of_a_batch_equal_rows_alone(case):
    model, ids, _ = case
    together = fed(model, ids, [40, *[1] * 70])
    for row in range(len(ids)):
        alone = fed(model, ids[row : row + 1], [40, *[1] * 70])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kept", [62, 64, 66])
def test_rejected_drafts_leave_no_trace(case, kept):
    model, ids, logits = case
    cache = model.new_cache(len(ids))
    model.step(ids[:, :60], cache)
    wrong = (ids[:, 60:70] + 1) % 400
    model.step(torch.cat([ids[:, 60:kept], wrong[:, kept - 60 :]], dim=1), cache)
    cache.rewind(kept)
    after = model.step(ids[:, kept:], cache)
    torch.testing.assert_close(after, logits[:, kept:], rtol=1e-4, atol=1e-5)


def test_rewinding_further_than_a_window_is_refused(build, packed):
    model, (ids, _) = build(), packed(1, 100)
    cache = model.new_cache(1)
    model.step(ids, cache)
    cache.rewind(70)
    with pytest.raises(UsageError, match="more than a window"):
        cache.rewind(20)


@pytest.mark.parametrize("start", [0, 10, 32])
def test_room_to_rewind_is_how_much_can_be_taken_back(build, packed, start):
    model, (ids, _) = build(), packed(1, LENGTH)
    for more in (0, 1):
        cache = model.new_cache(1)
        if start:
            model.step(ids[:, :start], cache)
        model.step(ids[:, : int(cache.room_to_rewind[0]) + more], cache)
        if more:
            with pytest.raises(UsageError, match="more than a window"):
                cache.rewind(start + 1)
        else:
            cache.rewind(start + 1)


def test_what_a_cache_cannot_do_is_said_in_a_line(build, packed):
    model, (ids, _) = build(), packed(1, 8)
    cache = model.new_cache(1)
    model.step(ids, cache)
    for position in (-1, 9):
        with pytest.raises(UsageError, match=rf"rewind: to \[{position}\], but .* at \[8\]"):
            cache.rewind(position)
    feed = cache.plan(np.array([2]), {0: SymbolTree(np.array([-1, 0]))})
    with pytest.raises(UsageError, match="row 0: fed a tree"):
        cache.keep(feed, {})
    with pytest.raises(UsageError, match="symbol 1 has the parent 1"):
        SymbolTree(np.array([-1, 1]))
    assert cache.positions.tolist() == [8]


def ragged(model, ids, cache, counts):
    """Feed each row its next ``counts[row]`` symbols; states after them, padded."""
    counts, starts = np.array(counts), cache.positions.copy()
    padded = torch.zeros(len(counts), counts.max(), dtype=torch.int64)
    for row, (start, count) in enumerate(zip(starts, counts, strict=True)):
        padded[row, :count] = ids[row, start : start + count]
    fed = torch.from_numpy(np.arange(counts.max()) < counts[:, None])
    hidden = model.step_feed(padded[fed], cache, cache.plan(counts))
    assert (cache.positions == starts + counts).all()
    return hidden.split(counts.tolist())


RAGGED = [[5, 0, 33], [1, 1, 1], [27, 40, 0], [1, 1, 0], [31, 0, 1], [1, 64, 70]]


def test_rows_at_different_positions_equal_forward(case):
    model, ids, _ = case
    with torch.no_grad():
        expected = model.hidden(ids)
    cache, fed = model.new_cache(3), [[], [], []]
    for counts in RAGGED:
        for row, states in enumerate(ragged(model, ids, cache, counts)):
            fed[row].append(states)
    for row, states in enumerate(fed):
        found = torch.cat(states)
        assert len(found) == cache.positions[row] >= 66
        torch.testing.assert_close(found, expected[row, : len(found)], rtol=1e-4, atol=1e-5)


def test_rows_are_rewound_each_to_its_own_position(case):
    model, ids, _ = case
    with torch.no_grad():
        expected = model.hidden(ids)
    cache = model.new_cache(3)
    ragged(model, ids, cache, [30, 62, 5])
    wrong = (ids + 1) % 400
    ragged(model, wrong, cache, [7, 5, 9])
    cache.rewind(np.array([32, 62, 5]))
    wrong[0, 30:32] = ids[0, 30:32]  # what row 0 keeps of it is wrong
    for row, states in enumerate(ragged(model, ids, cache, [0, 10, 40])):
        start = [32, 62, 5][row]
        wanted = expected[row, start : start + len(states)]
        torch.testing.assert_close(states, wanted, rtol=1e-4, atol=1e-5)


def test_rows_come_and_start_again(case):
    model, ids, _ = case
    with torch.no_grad():
        expected = model.hidden(ids)
    cache = model.new_cache(1)
    ragged(model, ids, cache, [70])
    cache.add_rows(2)
    ragged(model, ids, cache, [1, 40, 3])
    cache.restart(0)
    found = ragged(model, ids, cache, [50, 30, 60])
    for row, start in enumerate([0, 40, 3]):
        wanted = expected[row, start : start + len(found[row])]
        torch.testing.assert_close(found[row], wanted, rtol=1e-4, atol=1e-5)


def tree_case(model, ids, start):
    """A row at ``start`` and a tree behind it: its symbols, parents, and the way to each symbol."""
    parents = np.array([-1, 0, 0, 1, 1, 2, 4, 6])
    symbols = torch.tensor([int(ids[0, start]), *range(50, 57)])
    ways = []
    for index, parent in enumerate(parents.tolist()):
        ways.append([*(ways[parent] if parent >= 0 else []), index])
    return symbols, SymbolTree(parents), ways


@pytest.mark.parametrize("start", [5, 59, 64])
def test_a_tree_sees_its_own_ancestors_alone(case, start):
    model, ids, _ = case
    symbols, tree, ways = tree_case(model, ids, start)
    cache = model.new_cache(1)
    model.step(ids[:1, :start], cache)
    feed = cache.plan(np.array([len(symbols)]), {0: tree})
    states = model.step_feed(symbols, cache, feed)
    for index, way in enumerate(ways):
        line = torch.cat([ids[0, :start], symbols[way]])[None]
        with torch.no_grad():
            expected = model.hidden(line)[0, -1]
        torch.testing.assert_close(states[index], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("start", [5, 59, 64])
@pytest.mark.parametrize("index", [0, 3, 5, 7])
def test_only_the_kept_way_of_a_tree_remains(case, start, index):
    model, ids, _ = case
    symbols, tree, ways = tree_case(model, ids, start)
    cache = model.new_cache(1)
    model.step(ids[:1, :start], cache)
    feed = cache.plan(np.array([len(symbols)]), {0: tree})
    model.step_feed(symbols, cache, feed)
    cache.keep(feed, {0: ways[index]})
    assert cache.positions[0] == start + len(ways[index])
    line = torch.cat([ids[0, :start], symbols[ways[index]], ids[0, 70:110]])[None]
    with torch.no_grad():
        expected = model.hidden(line)[:, -40:]
    found = step_hidden(model, ids[:1, 70:110], cache)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_trees_chains_and_prompts_in_one_pass(case):
    model, ids, _ = case
    symbols, tree, ways = tree_case(model, ids, 40)
    cache = model.new_cache(3)
    ragged(model, ids, cache, [40, 30, 0])
    feed = cache.plan(np.array([len(symbols), 5, 37]), {0: tree})
    fed = torch.cat([symbols, ids[1, 30:35], ids[2, :37]])
    model.step_feed(fed, cache, feed)
    cache.keep(feed, {0: ways[6], 1: [0, 1, 2]})  # row 1 goes back over a window's border or not
    assert cache.positions.tolist() == [40 + len(ways[6]), 33, 37]
    with torch.no_grad():
        lines = [
            torch.cat([ids[0, :40], symbols[ways[6]], ids[0, 50:60]]),
            torch.cat([ids[1, :33], ids[0, 50:60]]),
            torch.cat([ids[2, :37], ids[0, 50:60]]),
        ]
        expected = [model.hidden(line[None])[0, -10:] for line in lines]
    found = step_hidden(model, ids[[0, 0, 0], 50:60], cache)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_a_tree_that_crosses_a_window_is_refused(build, packed):
    model, (ids, _) = build(), packed(1, 40)
    cache = model.new_cache(1)
    model.step(ids[:, :30], cache)
    assert cache.room_in_window.tolist() == [2]
    cache.plan(np.array([3]), {0: SymbolTree(np.array([-1, 0, 0]))})
    with pytest.raises(UsageError, match="row 0: a tree crosses a window"):
        cache.plan(np.array([3]), {0: SymbolTree(np.array([-1, 0, 1]))})


def test_rows_that_are_idle_leave_no_trace_of_numbers_that_are_none(case):
    model, ids, _ = case
    cache = model.new_cache(3)
    ragged(model, ids, cache, [1, 0, 60])
    found = ragged(model, ids, cache, [50, 0, 1])
    assert all(torch.isfinite(states).all() for states in found)


def test_memory_is_a_window_and_the_summaries(build, packed):
    attention = EvaAttention(window=32, chunk=8)
    model, (ids, _) = build(attention), packed(1, 320)
    cache = model.new_cache(1)
    for start in range(0, 320, 20):
        model.step(ids[:, start : start + 20], cache)
        for layer in cache.layers:
            summaries = (start + 20) // 32 * 4
            assert layer.buffer.shape[3] <= 32 + max(2 * summaries, 4)
            assert layer.buffer.untyped_storage().nbytes() == layer.buffer.nbytes


def test_a_window_is_summarized_when_the_next_one_begins(build, packed):
    model, (ids, _) = build(), packed(1, 40)
    cache = model.new_cache(1)
    for size, summaries in ((31, 0), (1, 0), (1, 4)):
        position = cache.positions[0]
        model.step(ids[:, position : position + size], cache)
        assert all(layer.room.summaries == summaries for layer in cache.layers)
