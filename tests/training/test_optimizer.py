"""AdamW: what decays, agreement with the formula, and state that goes out and comes back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from proxylm.errors import CheckpointError
from proxylm.training.config import AdamWConfig
from proxylm.training.optimizer import (
    build_optimizer,
    optimizer_tensors,
    restore_optimizer,
    set_learning_rate,
)


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.out = nn.Linear(4, 5, bias=True)
        self.scale = nn.Parameter(torch.ones(1, 2, 2))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.out(self.embed(ids) * self.scale.view(4)).square().mean()


def made(seed: int = 0) -> tuple[Toy, torch.optim.AdamW]:
    torch.manual_seed(seed)
    model = Toy()
    return model, build_optimizer(model, AdamWConfig())


def updates(model: Toy, optimizer: torch.optim.AdamW, first: int, last: int) -> list[float]:
    losses = []
    for step in range(first, last):
        optimizer.zero_grad()
        loss = model(torch.tensor([step % 5, (step * 2) % 5]))
        loss.backward()
        set_learning_rate(optimizer, 0.01 / (1 + step))
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_only_matrices_of_linear_layers_decay() -> None:
    model, optimizer = made()
    decay = {
        id(parameter): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    found = {name: decay[id(parameter)] for name, parameter in model.named_parameters()}
    assert found == {"embed.weight": 0.0, "out.weight": 0.1, "out.bias": 0.0, "scale": 0.0}


def test_updates_follow_the_formula() -> None:
    model, optimizer = made()
    weight = model.out.weight.detach().clone()
    first = second = torch.zeros_like(weight)
    for step in range(1, 4):
        optimizer.zero_grad()
        model(torch.tensor([1, 2])).backward()
        gradient = model.out.weight.grad.clone()
        first = 0.9 * first + 0.1 * gradient
        second = 0.95 * second + 0.05 * gradient**2
        scaled = (first / (1 - 0.9**step)) / ((second / (1 - 0.95**step)).sqrt() + 1e-15)
        weight = weight * (1 - 0.02 * 0.1) - 0.02 * scaled
        set_learning_rate(optimizer, 0.02)
        optimizer.step()
        torch.testing.assert_close(model.out.weight.detach(), weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("split", [0, 1, 5])
def test_state_goes_out_and_comes_back_to_the_bit(split: int) -> None:
    model, optimizer = made()
    losses = updates(model, optimizer, 0, 6)

    first, first_optimizer = made()
    head = updates(first, first_optimizer, 0, split)
    second, second_optimizer = made(seed=1)
    second.load_state_dict(first.state_dict())
    restore_optimizer(second, second_optimizer, optimizer_tensors(first, first_optimizer))
    assert head + updates(second, second_optimizer, split, 6) == losses
    for name, tensor in optimizer_tensors(model, optimizer).items():
        assert torch.equal(tensor, optimizer_tensors(second, second_optimizer)[name])


def test_state_of_another_model_is_refused() -> None:
    model, optimizer = made()
    updates(model, optimizer, 0, 1)
    tensors = optimizer_tensors(model, optimizer)
    with pytest.raises(CheckpointError, match=r"exp_avg\.unknown"):
        restore_optimizer(model, optimizer, {"exp_avg.unknown": torch.zeros(2)})
    tensors["exp_avg.scale"] = torch.zeros(3)
    with pytest.raises(CheckpointError, match=r"exp_avg\.scale.*\[3\]"):
        restore_optimizer(model, optimizer, tensors)
