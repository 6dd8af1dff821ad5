"""A model whose weights, gradients and optimizer state are divided among ranks (FSDP).

Each block gathers its weights when it is computed and lets go of them afterwards; embedding, last
norm and heads stay gathered from the step's first pass on. Gradients are summed over all ranks, in
float32: each rank's loss is divided by the step's trained positions, wherever they stand, so that
the sum is the gradient of one process. Weights are drawn or read where they are kept, never a
whole model on one host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from proxylm.errors import UsageError
from proxylm.models.config import ModelConfig
from proxylm.models.initialization import drawn_weight, set_constants
from proxylm.models.language_model import LanguageModel
from proxylm.ranks import Ranks
from proxylm.training.config import ParallelConfig
from proxylm.training.device import Place

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def shards_of(ranks: Ranks, parallel: ParallelConfig) -> int:
    """How many ranks hold one copy of the model together; of one process, itself.

    Raises:
        UsageError: the ranks cannot be divided into such groups.
    """
    if ranks.is_alone:
        return 1
    named = {"all": ranks.world, "node": ranks.on_machine}
    asked = parallel.shard
    shards = named[asked] if isinstance(asked, str) else asked
    if ranks.world % shards:
        raise UsageError(
            f"parallel.shard: {ranks.world} ranks cannot be divided into groups of {shards}"
        )
    return shards


def shard(model: LanguageModel, ranks: Ranks, parallel: ParallelConfig, place: Place) -> None:
    """Divide a model among the ranks, in place; on the meta device, before it has weights.

    Raises:
        UsageError: see ``shards_of``; or there are fewer GPUs than ranks on this machine.
    """
    from torch.distributed.fsdp import (
        MixedPrecisionPolicy,
        fully_shard,
        register_fsdp_forward_method,
    )

    if place.device.type == "cuda" and torch.cuda.device_count() < ranks.on_machine:
        raise UsageError(
            f"{ranks.on_machine} ranks on a machine with {torch.cuda.device_count()} GPUs: start "
            "one for each (torchrun --nproc-per-node), or set device to cpu"
        )
    mesh = _mesh(ranks, parallel, place.device.type)
    policy = MixedPrecisionPolicy()
    if place.autocast:
        # The residual stream, norms and rotations stay as they are under autocast.
        policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
    for module in [*model.model.blocks(), model]:
        divided = fully_shard(module, mesh=mesh, mp_policy=policy)
        # Contexts are weighted by the whole step's positions already, so gradients are added;
        # gloo has no sum with a factor in it.
        divided.set_gradient_divide_factor(1.0)
        divided.set_force_sum_reduction_for_comms(True)
        # A rank whose contexts are all compressed gives its raw heads no gradient; the others do.
        divided.set_reduce_scatter_unused_params(True)
    register_fsdp_forward_method(model, "loss")


def _mesh(ranks: Ranks, parallel: ParallelConfig, device_type: str) -> DeviceMesh:
    """The ranks in rows that hold a copy of the model each; one row alone is a line."""
    from torch import distributed
    from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

    shards = shards_of(ranks, parallel)
    if shards == ranks.world:
        return init_device_mesh(device_type, (shards,), mesh_dim_names=("shard",))
    rows = torch.arange(ranks.world).view(-1, shards)
    # Groups that a mesh makes itself would wait for half an hour.
    timeout = timedelta(seconds=parallel.timeout_seconds)
    groups = [
        distributed.new_subgroups_by_enumeration(numbers.tolist(), timeout=timeout)[0]
        for numbers in (rows.T, rows)
    ]
    return DeviceMesh.from_group(groups, device_type, rows, mesh_dim_names=("copy", "shard"))


def empty_sharded_model(
    config: ModelConfig, ranks: Ranks, parallel: ParallelConfig, place: Place
) -> LanguageModel:
    """A model of these sizes, divided, whose weights are yet to be given.

    Raises:
        UsageError: see ``shards_of``.
    """
    with torch.device("meta"):
        model = LanguageModel(config)
    shard(model, ranks, parallel, place)
    model.to_empty(device=place.device)
    return model


@torch.no_grad()
def draw_weights(model: LanguageModel, seed: int, ranks: Ranks) -> None:
    """Give a divided model the weights that one process draws from ``seed``, bit for bit.

    Each rank draws its share of the parameters, since that takes far longer than sending them.
    """
    set_constants(model)
    drawn = {name: value for name, value in model.named_parameters() if value.dim() > 1}
    # Those that are drawn at the same time are of like size.
    names = sorted(drawn, key=lambda name: -drawn[name].numel())
    for first in range(0, len(names), ranks.world):
        at_once = names[first : first + ranks.world]
        own = None
        if ranks.rank < len(at_once):
            name = at_once[ranks.rank]
            own = drawn_weight(drawn[name].shape, name, seed)
        for source, name in enumerate(at_once):
            _give(drawn[name], own if source == ranks.rank else None, source)


@torch.no_grad()
def send_weights(model: LanguageModel, whole: LanguageModel | None) -> None:
    """Give a divided model the weights of ``whole``, which rank 0 has; None on the others."""
    values = {} if whole is None else dict(whole.named_parameters())
    for name, parameter in model.named_parameters():
        _give(parameter, values.get(name), 0)


def _give(parameter: nn.Parameter, whole: Tensor | None, source: int) -> None:
    """Send a parameter from rank ``source``, which has it whole; each rank keeps its part."""
    from torch import distributed
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(parameter, DTensor)
    device = parameter.device
    if whole is None:
        whole = torch.empty(parameter.shape, dtype=parameter.dtype, device=device)
    whole = whole.to(device)
    distributed.broadcast(whole, src=source)
    part = distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None)
    parameter.to_local().copy_(part.to_local())


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, gathered if it is divided."""
    full_tensor: Callable[[], Tensor] | None = getattr(tensor, "full_tensor", None)
    return tensor if full_tensor is None else full_tensor()


def whole_copy(model: LanguageModel) -> LanguageModel:
    """A divided model gathered on every rank: for a moment, where there is room for it."""
    with torch.device("meta"):
        copy = LanguageModel(model.config)
    tensors = {name: whole(value) for name, value in model.state_dict().items()}
    copy.load_state_dict(tensors, assign=True)
    return copy.train(model.training)


@contextmanager
def root_gathered(model: LanguageModel) -> Iterator[None]:
    """Within, embedding, last norm and heads of a divided model are whole on every rank.

    Its blocks gather themselves, so that ``hidden`` can be called where all ranks call it.
    """
    from torch.distributed.fsdp import FSDPModule

    assert isinstance(model, FSDPModule)
    model.unshard()
    try:
        yield
    finally:
        model.reshard()
