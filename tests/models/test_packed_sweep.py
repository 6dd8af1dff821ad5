"""Sweeps over layouts of documents: the fast passes beside the reference in awkward places."""

import pytest
import torch

from proxylm.models.config import CausalAttention, EvaAttention

EVA = EvaAttention(window=16, chunk=4)
LENGTH = 80
LAYOUTS = {
    "one document": torch.zeros(LENGTH),
    "every symbol its own": torch.arange(LENGTH),
    "borders at windows": torch.arange(LENGTH) // 16,
    "borders at chunks": torch.arange(LENGTH) // 4,
    "borders before windows": (torch.arange(LENGTH) + 1) // 16,
    "borders after windows": (torch.arange(LENGTH) + 15) // 16,
    "several in a chunk": torch.arange(LENGTH) // 3,
    "longer than windows": torch.arange(LENGTH) // 37,
    "a last symbol alone": (torch.arange(LENGTH) == LENGTH - 1).long(),
    "gaps in the numbering": torch.arange(LENGTH) // 20 * 7,
}


def outcome(model, ids, documents):
    model.zero_grad()
    loss = model.loss(ids, ids.roll(-1, dims=1)[..., None], documents).loss
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("attention", [EVA, CausalAttention(kv_heads=1)], ids=["eva", "causal"])
def test_awkward_layouts(build, packed, plain_execution, attention, layout):
    model = build(attention)
    ids, _ = packed(2, LENGTH)
    # Two contexts, the other one plain, so that rows of several contexts are told apart.
    documents = torch.stack([LAYOUTS[layout].long(), torch.zeros(LENGTH, dtype=torch.int64)])
    loss, gradients = outcome(model, ids, documents)
    plain_execution()
    plain_loss, plain_gradients = outcome(model, ids, documents)
    torch.testing.assert_close(loss, plain_loss, rtol=1e-6, atol=0)
    for name, gradient in plain_gradients.items():
        error = (gradients[name] - gradient).norm()
        assert error <= 3e-6 * gradient.norm() + 1e-8, name


def test_int32_batches_from_a_loader_are_taken_as_they_are(build, packed):
    model, (ids, documents) = build(), packed(2, 64)
    loss, gradients = outcome(model, ids, documents)
    again, gradients_again = outcome(model, ids.int(), documents.int())
    assert torch.equal(loss, again)
    assert all(torch.equal(gradients[name], gradients_again[name]) for name in gradients)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(30))
def test_random_layouts(build, packed, plain_execution, seed):
    generator = torch.Generator().manual_seed(seed)
    chunk = int(2 ** torch.randint(0, 4, (), generator=generator))
    window = chunk * int(torch.randint(1, 9, (), generator=generator))
    length = int(torch.randint(1, 200, (), generator=generator))
    attention = EvaAttention(window=window, chunk=chunk)
    model = build(attention, **{"layers": 1, "heads": 2})
    model.config.require_context(window)
    density = float(torch.rand((), generator=generator)) * 0.3
    ids, documents = packed(3, length, density=density, seed=seed)
    loss, gradients = outcome(model, ids, documents)
    plain_execution()
    plain_loss, plain_gradients = outcome(model, ids, documents)
    torch.testing.assert_close(loss, plain_loss, rtol=1e-6, atol=0)
    for name, gradient in plain_gradients.items():
        error = (gradients[name] - gradient).norm()
        assert error <= 1e-5 * gradient.norm() + 1e-7, name
