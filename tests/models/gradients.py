"""Losses and gradients of two ways to compute a model, and how far apart they may be."""

from __future__ import annotations


def loss_and_gradients(model, ids, documents):
    """The loss of predicting the next symbol, and every parameter's gradient, on the CPU."""
    model.zero_grad()
    report = model.loss(ids, ids.roll(-1, dims=1)[..., None], documents)
    report.loss.backward()
    gradients = {name: p.grad.clone().cpu() for name, p in model.named_parameters()}
    return report.loss.detach().cpu(), gradients


def assert_gradients_close(found, wanted, *, tolerance=3e-6, noise=1e-9):
    """Each within ``tolerance`` of its norm, plus ``noise``."""
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        error = (found[name] - gradient).norm()
        assert error <= tolerance * gradient.norm() + noise, name
