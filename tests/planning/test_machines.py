"""How a model is made to fit, and what is said where it cannot."""

from __future__ import annotations

import pytest

from proxylm.errors import UsageError
from proxylm.gpus import GPUS
from proxylm.models.presets import preset
from proxylm.planning.machines import Machines, Passes, chosen_fit, fits, required_fit
from proxylm.training.config import ParallelConfig

ONE_CONTEXT = Passes(contexts=1, count=1)


def test_one_block_fewer_would_not_fit() -> None:
    model, machines = preset("evabyte-7b"), Machines(gpus=64)
    found = fits(model, ONE_CONTEXT, machines)
    assert [fit.shard for fit in found] == [2, 4, 8, 16, 32, 64]
    for fit in found:
        assert fit.memory.total <= machines.usable_memory
        fewer = ParallelConfig(shard=fit.shard, recompute=fit.recomputed - 1)
        with pytest.raises(UsageError, match="do not fit"):
            required_fit(model, ONE_CONTEXT, machines, fewer)
    blocks = [fit.recomputed for fit in found]
    assert blocks == sorted(blocks, reverse=True)


def test_ranks_of_one_machine_share_where_that_is_enough() -> None:
    machines = Machines(gpus=64)
    found = fits(preset("evabyte-7b"), ONE_CONTEXT, machines)
    chosen = chosen_fit(found, machines)
    assert chosen is not None and chosen.shard == 8
    small = fits(preset("laptop"), ONE_CONTEXT, machines)
    assert chosen_fit(small, machines) == small[0]
    assert (small[0].shard, small[0].recomputed) == (1, 0)
    # 14B in machines of two GPUs: the fewest ranks beyond a machine.
    pairs = Machines(gpus=64, gpus_per_node=2)
    beyond = chosen_fit(fits(preset("evabyte-14b"), ONE_CONTEXT, pairs), pairs)
    assert beyond is not None and beyond.shard == 4


def test_what_the_configuration_says_is_taken() -> None:
    model, machines = preset("evabyte-7b"), Machines(gpus=64)
    parallel = ParallelConfig(shard="node", recompute="all")
    fit = required_fit(model, ONE_CONTEXT, machines, parallel)
    assert (fit.shard, fit.recomputed) == (8, 32)
    with pytest.raises(UsageError, match=r"64 ranks cannot be .* groups of 6"):
        required_fit(model, ONE_CONTEXT, machines, ParallelConfig(shard=6))


def test_what_cannot_fit_is_refused_with_the_numbers() -> None:
    with pytest.raises(UsageError) as told:
        required_fit(preset("evabyte-14b"), ONE_CONTEXT, Machines(gpus=2), None)
    message = str(told.value)
    assert message.startswith("model: 14,276,203,520 parameters do not fit: sharded over 2 of 2 ")
    assert "40 of 40 blocks recomputed" in message
    assert "weights 28.6, optimizer 57.1" in message
    assert "72.0 of the 80 GB of one h100; take more of them, or larger ones" in message


def test_contexts_are_shared_and_the_last_rank_decides() -> None:
    assert Passes.of(128, 4, 64) == Passes(contexts=2, count=1)
    assert Passes.of(128, 1, 60) == Passes(contexts=1, count=3)
    assert Passes.of(8, 4, 64) == Passes(contexts=1, count=1)


def test_float32_outside_the_tensor_cores_is_slower() -> None:
    assert all(gpu.float32_flops < gpu.peak_flops for gpu in GPUS.values())
