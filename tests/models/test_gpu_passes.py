"""What a GPU computes beside the CPU: contexts forward and backward, steps through a cache."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from gradients import assert_gradients_close, loss_and_gradients

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")

# Below, at and above a block of FlexAttention's (128), and over several windows.
LENGTHS = [1, 33, 127, 128, 300, 1000]


def on_gpu(model, *tensors):
    return deepcopy(model).to("cuda"), *(tensor.to("cuda") for tensor in tensors)


def noise_of(gradients):
    """A gradient that is zero by definition (of queries that see one key) is rounding alone."""
    return 1e-6 * max(gradient.norm() for gradient in gradients.values())


@pytest.mark.parametrize("sizes", [{}, {"width": 256, "heads": 4, "ffn": 384}], ids=["D8", "D64"])
@pytest.mark.parametrize("length", LENGTHS)
def test_whole_contexts_have_the_loss_and_gradients_of_the_cpu(
    build, packed, attention, length, sizes
):
    model = build(attention, **sizes)
    ids, documents = packed(3, length, density=0.02, seed=length)
    wanted_loss, wanted = loss_and_gradients(model, ids, documents)
    loss, gradients = loss_and_gradients(*on_gpu(model, ids, documents))
    torch.testing.assert_close(loss, wanted_loss, rtol=1e-5, atol=1e-6)
    assert_gradients_close(gradients, wanted, tolerance=1e-4, noise=noise_of(wanted))


def test_bfloat16_stays_near_float32(build, packed, attention):
    model = build(attention, width=256, heads=4, ffn=384)
    data = packed(2, 700, density=0.01)
    wanted_loss, wanted = loss_and_gradients(model, *data)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss, gradients = loss_and_gradients(*on_gpu(model, *data))
    torch.testing.assert_close(loss, wanted_loss, rtol=1e-2, atol=0)
    assert_gradients_close(gradients, wanted, tolerance=0.1, noise=noise_of(wanted))


def test_the_same_bits_on_every_run(build, packed, attention):
    model, ids, documents = on_gpu(
        build(attention, width=256, heads=4, ffn=384), *packed(2, 700, density=0.01)
    )
    loss, gradients = loss_and_gradients(model, ids, documents)
    again, gradients_again = loss_and_gradients(model, ids, documents)
    assert torch.equal(loss, again)
    assert all(torch.equal(gradients[name], gradients_again[name]) for name in gradients)


@pytest.mark.parametrize("sizes", [[1] * 110, [110], [31, 1, 1, 40, 37]])
def test_steps_through_a_cache_equal_the_forward_of_the_cpu(build, packed, attention, sizes):
    model, (ids, _) = build(attention, prediction_heads=2), packed(3, 110)
    with torch.no_grad():
        wanted = model.logits(ids)
    model, ids = on_gpu(model, ids)
    cache = model.new_cache(len(ids))
    found = torch.cat([model.step(part, cache) for part in ids.split(sizes, dim=1)], dim=1)
    torch.testing.assert_close(found.cpu(), wanted, rtol=1e-4, atol=1e-4)
