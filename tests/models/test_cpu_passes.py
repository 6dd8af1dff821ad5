"""The hand-written CPU passes beside the plain modules: values, gradients, determinism."""

import numpy as np
import pytest
import torch
from gradients import assert_gradients_close, loss_and_gradients

from proxylm.errors import DataError, UsageError
from proxylm.models.config import CausalAttention, EvaAttention
from proxylm.models.kernels.dispatch import execution_for, run_by_hand, run_modules
from proxylm.models.kernels.training import attention as cpu_attention
from proxylm.models.kernels.training.block import AttentionHalf, FeedForwardHalf, HalfSettings
from proxylm.models.kernels.training.runs import plan_runs
from proxylm.models.masks import dense_mask, positions_within
from proxylm.models.rotary import Rotation, rotation_of

EVA = EvaAttention(window=32, chunk=8)
LENGTHS = [1, 5, 32, 33, 64, 150, 300]


@pytest.mark.parametrize("length", LENGTHS)
def test_equals_the_plain_modules_forward_and_backward(
    build, packed, attention, length, plain_execution
):
    model = build(attention)
    ids, documents = packed(3, length, seed=length)
    loss, gradients = loss_and_gradients(model, ids, documents)
    plain_execution()
    plain_loss, plain_gradients = loss_and_gradients(model, ids, documents)
    torch.testing.assert_close(loss, plain_loss, rtol=1e-6, atol=0)
    assert_gradients_close(gradients, plain_gradients)


def test_softmax_weights_kept_or_computed_again_give_the_same_bits(
    build, packed, attention, monkeypatch
):
    model, data = build(attention), packed(2, 200)
    loss, gradients = loss_and_gradients(model, *data)
    monkeypatch.setattr(cpu_attention, "KEPT_BYTES_PER_LAYER", 0)
    again, gradients_again = loss_and_gradients(model, *data)
    assert torch.equal(loss, again)
    assert all(torch.equal(gradients[name], gradients_again[name]) for name in gradients)


def test_runs_in_smaller_batches_and_blocks_give_the_same(build, packed, attention, monkeypatch):
    model, data = build(attention), packed(4, 150, density=0.01)
    loss, gradients = loss_and_gradients(model, *data)
    monkeypatch.setattr(cpu_attention, "QUERIES_PER_BLOCK", 8)
    monkeypatch.setattr(cpu_attention, "SCORES_PER_PRODUCT", 1000)
    again, gradients_again = loss_and_gradients(model, *data)
    torch.testing.assert_close(loss, again, rtol=1e-6, atol=0)
    assert_gradients_close(gradients_again, gradients)


def test_same_bits_on_every_run(build, packed, attention):
    model, data = build(attention), packed(2, 200)
    loss, gradients = loss_and_gradients(model, *data)
    for _ in range(3):
        again, gradients_again = loss_and_gradients(model, *data)
        assert torch.equal(loss, again)
        assert all(torch.equal(gradients[name], gradients_again[name]) for name in gradients)


def test_evaluation_gives_the_values_of_training(build, packed, attention):
    model, (ids, documents) = build(attention), packed(2, 150)
    trained = model.hidden(ids, documents)
    with torch.no_grad():
        assert torch.equal(model.hidden(ids, documents), trained.detach())


def test_backward_twice_is_refused_rather_than_wrong(build, packed):
    model, (ids, documents) = build(), packed(1, 40)
    total = model.hidden(ids, documents).sum()
    total.backward(retain_graph=True)
    with pytest.raises(UsageError, match="once per forward"):
        total.backward()


@pytest.mark.parametrize("length", LENGTHS)
def test_runs_cover_exactly_what_the_mask_allows(packed, attention, length):
    _, documents = packed(2, length, density=0.1, seed=length)
    plan = plan_runs(documents.numpy(), attention)
    mask = dense_mask(documents, attention)
    chunks = mask.shape[2] - length
    found = torch.zeros_like(mask)
    for run in (run for group in plan.groups for run in group):
        context, start = divmod(run.start, length)
        first = run.first_summary - context * chunks
        for row in range(start, start + run.length):
            found[context, row, first : first + run.summary_count] = True
            found[context, row, chunks + start : chunks + row + 1] = True
    assert torch.equal(found, mask)


def test_decreasing_document_ids_are_refused():
    with pytest.raises(DataError, match="must not decrease"):
        plan_runs(np.array([[0, 1, 0]]), EVA)


def attention_arguments(attention, documents):
    generator = torch.Generator().manual_seed(0)
    heads, width, head_width = 4, 16, 4
    kv_heads = heads if isinstance(attention, EvaAttention) else attention.kv_heads
    rows = documents.numel()
    rotation = rotation_of(positions_within(documents), head_width, 100.0)
    settings = HalfSettings(
        heads=heads,
        kv_heads=kv_heads,
        epsilon=1e-5,
        rotation=Rotation(*(x.flatten(0, 1).double() for x in rotation)),
        plan=plan_runs(documents.numpy(), attention),
        keep_for_backward=True,
        products=torch.float64,
    )
    qkv_rows = (heads + 2 * kv_heads) * head_width
    shapes = [(rows, width), (width,), (qkv_rows, width), (width, width)]
    if isinstance(attention, EvaAttention):
        shapes += [(heads, head_width), (heads, head_width)]
    tensors = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    return [*tensors, *[None] * (6 - len(tensors))], settings


def assert_derivatives(function, arguments, settings):
    """Each argument's gradient along random directions, against central differences."""
    generator = torch.Generator().manual_seed(1)
    arguments = [a if a is None else a.requires_grad_() for a in arguments]
    out = function.apply(*arguments, settings)
    weights = torch.randn(out.shape, generator=generator, dtype=out.dtype)
    (out * weights).sum().backward()
    step = 1e-5
    for index, argument in enumerate(arguments):
        if argument is None:
            continue
        direction = torch.randn(argument.shape, generator=generator, dtype=argument.dtype)
        values = []
        for sign in (1, -1):
            moved = [a if a is None else a.detach() for a in arguments]
            moved[index] = moved[index] + sign * step * direction
            values.append((function.apply(*moved, settings) * weights).sum())
        numeric = (values[0] - values[1]) / (2 * step)
        analytic = (argument.grad * direction).sum()
        assert abs(numeric - analytic) <= 1e-6 * abs(numeric) + 1e-6, f"argument {index}"


@pytest.mark.parametrize("density", [0.0, 0.15])
@pytest.mark.parametrize(
    "attention", [EvaAttention(window=8, chunk=4), CausalAttention(kv_heads=2)], ids=["eva", "gqa"]
)
def test_attention_half_against_numeric_derivatives(packed, attention, density):
    _, documents = packed(2, 29, density=density)
    assert_derivatives(AttentionHalf, *attention_arguments(attention, documents))


def test_feed_forward_half_against_numeric_derivatives():
    arguments, settings = attention_arguments(EVA, torch.zeros(1, 9, dtype=torch.int64))
    generator = torch.Generator().manual_seed(5)
    shapes = [(24, 16), (16, 12)]
    weights = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    assert_derivatives(FeedForwardHalf, [*arguments[:2], *weights], settings)


def test_the_device_and_type_choose_the_execution(build, packed):
    model, (ids, documents) = build(), packed(1, 40)
    weight = model.lm_head.weight
    chosen = execution_for(model.config, documents, documents, weight)
    assert chosen.func is run_by_hand
    assert chosen.args[0].products == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        chosen = execution_for(model.config, documents, documents, weight)
    assert chosen.func is run_by_hand and chosen.args[0].products == torch.bfloat16
    for stored, expected in ((weight.bfloat16(), run_by_hand), (weight.double(), run_modules)):
        assert execution_for(model.config, documents, documents, stored).func is expected
    del ids


@pytest.mark.parametrize("plainly", [False, True], ids=["by-hand", "modules"])
def test_autocast_trains_close_to_float32(build, packed, attention, plain_execution, plainly):
    model, (ids, documents) = build(attention), packed(2, 100)
    loss, gradients = loss_and_gradients(model, ids, documents)
    if plainly:
        plain_execution()
    with torch.autocast("cpu", torch.bfloat16):
        rough, rough_gradients = loss_and_gradients(model, ids, documents)
    assert rough.dtype == torch.float32 and not torch.equal(loss, rough)
    torch.testing.assert_close(loss, rough, rtol=0.02, atol=0)
    assert_gradients_close(rough_gradients, gradients, tolerance=0.15)
