"""Steps through a cache against the parallel forward: windows, rows, rewinding, memory."""

import pytest
import torch

from proxylm.models.config import EvaAttention

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
    assert cache.position == start
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
def test_rejected_proposals_leave_no_trace(case, kept):
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
    with pytest.raises(AssertionError, match="more than a window"):
        cache.rewind(20)


def test_rows_can_leave(case):
    model, ids, logits = case
    cache = model.new_cache(3)
    model.step(ids[:, :70], cache)
    cache.keep_rows(torch.tensor([2, 0]))
    after = model.step(ids[[2, 0], 70:], cache)
    torch.testing.assert_close(after, logits[[2, 0], 70:], rtol=1e-4, atol=1e-5)


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


def test_published_rule_of_partial_chunks(build, packed):
    """A window's summaries exist only once it is complete: the mask of a step has none before."""
    model, (ids, _) = build(), packed(1, 40)
    cache = model.new_cache(1)
    model.step(ids[:, :31], cache)
    assert all(layer.capacity == 0 for layer in cache.layers)
    model.step(ids[:, 31:32], cache)
    assert all(layer.capacity == 4 for layer in cache.layers)
