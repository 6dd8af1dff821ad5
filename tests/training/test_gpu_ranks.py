"""Ranks on GPUs, over NCCL: the numbers of one GPU, in float32 and bfloat16; ``make gpu-check``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import ranked_runs
from proxylm.checkpoints.checkpoint import newest_valid
from proxylm.training.metrics import read_metrics
from ranked_runs import CAUSAL, EVA, changes
from small_runs import make_store
from started_ranks import run_ranks

pytestmark = pytest.mark.skipif(
    torch.cuda.device_count() < 2, reason="fewer than two GPUs here: NCCL is not tried"
)

STEPS = 8
# Heads and contexts that FlexAttention's kernels take as they are.
WIDE = {"width": 256, "heads": 4, "ffn": 384}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("data") / "store")


def numbers(run: Path) -> tuple[list[str], list[float], dict[str, torch.Tensor]]:
    """Contexts, losses and weights of a finished run."""
    records = read_metrics(run / "metrics.jsonl")
    checkpoint = newest_valid(run)
    assert checkpoint is not None
    contexts, losses = zip(*((one["contexts_hash"], one["loss"]) for one in records), strict=True)
    return list(contexts), list(losses), checkpoint.model().state_dict()


def trained(store: Path, out: Path, world: int, **settings: Any) -> Path:
    settings = changes(settings.pop("sizes"), device="cuda", held_out=None, **settings)
    run_ranks(world, ranked_runs.trained, store, out, STEPS, settings)
    return out


@pytest.mark.parametrize("sizes", [EVA | WIDE, CAUSAL | WIDE], ids=["eva", "causal"])
@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 1e-2)], ids=["f32", "bf16"]
)
def test_two_gpus_train_as_one(
    store: Path, tmp_path: Path, sizes: dict[str, Any], precision: str, tolerance: float
) -> None:
    one, two = (
        numbers(trained(store, tmp_path / str(world), world, sizes=sizes, precision=precision))
        for world in (1, 2)
    )
    assert two[0] == one[0]
    assert two[1] == pytest.approx(one[1], rel=tolerance)
    if precision == "float32":
        for name, value in one[2].items():
            torch.testing.assert_close(two[2][name], value, rtol=0, atol=1e-4, msg=name)


def test_recomputed_activations_change_no_bit(store: Path, tmp_path: Path) -> None:
    kept, recomputed = (
        numbers(
            trained(
                store, tmp_path / recompute, 2, sizes=EVA | WIDE, parallel={"recompute": recompute}
            )
        )
        for recompute in ("none", "all")
    )
    assert recomputed[1] == kept[1]
    assert all(torch.equal(recomputed[2][name], value) for name, value in kept[2].items())
