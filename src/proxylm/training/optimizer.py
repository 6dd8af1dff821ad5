"""AdamW as the paper's recipes use it, and its state as plain named tensors (method, section 6).

Weight decay acts on the matrices of linear layers, the output layer included. Embedding tables,
norm scales and EVA's per-head vectors have no decay: a row or a vector that is seldom used would
otherwise shrink between its uses.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from proxylm.errors import CheckpointError
from proxylm.training.config import AdamWConfig


def decays(module: nn.Module, parameter: Tensor) -> bool:
    """Whether weight decay acts on this parameter, owned directly by ``module``."""
    return isinstance(module, nn.Linear) and parameter.ndim == 2


def build_optimizer(model: nn.Module, config: AdamWConfig) -> torch.optim.AdamW:
    """Fused AdamW over the model's parameters in two groups, with and without decay.

    The learning rate is set by the loop before every update.
    """
    decayed: list[Tensor] = []
    plain: list[Tensor] = []
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            (decayed if decays(module, parameter) else plain).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=0.0,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=True,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use ``rate`` for the next update, in all groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as ``<quantity>.<parameter name>`` tensors, divided as it is."""
    return {
        f"{quantity}.{name}": value.detach()
        for name, parameter in model.named_parameters()
        for quantity, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """Put back what ``optimizer_tensors`` gave.

    Values are copied into memory that torch allocates: its alignment can decide how a sum is
    ordered, and a resumed run must give the bits of an uninterrupted one.

    Raises:
        CheckpointError: a tensor belongs to no parameter, or has another shape.
    """
    parameters = dict(model.named_parameters())
    for key, stored in tensors.items():
        quantity, _, name = key.partition(".")
        parameter = parameters.get(name)
        if parameter is None or stored.shape not in (parameter.shape, torch.Size([])):
            raise CheckpointError(
                f"optimizer state '{key}' {list(stored.shape)} fits no parameter of the model"
            )
        value = torch.empty_like(stored, device=parameter.device).copy_(stored)
        optimizer.state[parameter][quantity] = value
