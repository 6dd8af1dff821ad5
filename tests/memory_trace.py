"""Memory of one training step on one of many GPUs, traced on fake tensors: nothing is allocated.

What runs is the project's model under bfloat16 autocast, divided as its trainer divides it, with
its optimizer, in a process group of which only this rank exists. A dispatch mode adds up the
storages that are alive. Every operation counts as written: on a GPU ``torch.compile`` fuses a
block's, which then needs less.

Three things are replaced, because they read values or are kernels of a GPU: attention is an
operation that keeps what FlexAttention keeps; all positions train all heads, the most that the
loss can hold; and the sums of the report are zeros.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, distributed
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.weak import WeakIdKeyDictionary

from proxylm.models import loss
from proxylm.models.config import ModelConfig
from proxylm.models.kernels import dispatch, flex
from proxylm.models.language_model import LanguageModel
from proxylm.ranks import Ranks
from proxylm.training.config import AdamWConfig, ParallelConfig
from proxylm.training.device import Place
from proxylm.training.optimizer import build_optimizer
from proxylm.training.sharding import shard

POSITIONS_OF_A_STEP = 1 << 21


@dataclass(kw_only=True)
class MemoryTrace:
    """Bytes on one rank.

    Attributes:
        peaks: the most that was alive, by moment: ``forward`` (the loss included), ``backward``
            and ``update``.
    """

    peaks: dict[str, int] = field(default_factory=dict)

    @property
    def peak(self) -> int:
        """The most of all."""
        return max(self.peaks.values())


def trace_step(
    config: ModelConfig,
    *,
    ranks: int,
    shards: int | None = None,
    contexts: int = 1,
    recomputed: int = 0,
    passes: int = 1,
) -> MemoryTrace:
    """Trace one update.

    Args:
        config: the model.
        ranks: GPUs; 1: a process alone, without FSDP.
        shards: how many of them share one copy of the model; None for all.
        contexts: contexts of one pass.
        recomputed: blocks that are computed again in backward, the first ones.
        passes: forward and backward passes of the update.
    """
    trace = MemoryTrace()
    with _one_of(ranks), traceable():
        model = _model(config, ranks, shards, recomputed)
        with FakeTensorMode(allow_non_fake_inputs=True), _LiveStorages(trace).tracking() as live:
            live.moment = "forward"
            model.to_empty(device="cpu")
            optimizer = _optimizer(model)
            for _ in range(passes):
                _forward_and_backward(model, contexts, live)
            live.moment = "update"
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return trace


def _forward_and_backward(model: LanguageModel, contexts: int, live: _LiveStorages) -> None:
    shape = contexts, model.config.context
    ids, documents, positions = (torch.zeros(shape, dtype=torch.int32) for _ in range(3))
    targets = torch.zeros((*shape, model.config.target_heads), dtype=torch.int32)
    live.moment = "forward"
    with torch.autocast("cpu", torch.bfloat16):
        report = model.loss(ids, targets, documents, positions, normalizer=POSITIONS_OF_A_STEP)
    live.moment = "backward"
    report.loss.backward()


def _model(config: ModelConfig, ranks: int, shards: int | None, recomputed: int) -> LanguageModel:
    with torch.device("meta"):
        model = LanguageModel(config)
    model.recompute(recomputed)
    if ranks == 1:
        return model
    place = Place(device=torch.device("cpu"), autocast=True)
    parallel = ParallelConfig(shard=shards or ranks)
    shard(model, Ranks(world=ranks), parallel, place)
    return model


def _optimizer(model: LanguageModel) -> torch.optim.Optimizer:
    optimizer = build_optimizer(model, AdamWConfig())
    for parameter in model.parameters():
        moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        optimizer.state[parameter] = {"step": torch.zeros(()), **moments}
    return optimizer


@contextmanager
def _one_of(ranks: int) -> Iterator[None]:
    """Within, this process is rank 0 of a group whose other ranks do not exist."""
    if ranks == 1:
        yield
        return
    distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=ranks)
    try:
        yield
    finally:
        distributed.destroy_process_group()


class _KeptByFlexAttention(torch.autograd.Function):
    """Attention that keeps its inputs, its output and a sum per query and head."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = torch.empty_like(query)
        sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, out, sums)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, ...]:
        query, key, value, _, sums = ctx.saved_tensors
        _correction = torch.empty_like(sums)
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _kept_by_flex_attention(query: Tensor, key: Tensor, value: Tensor, **_: Any) -> Tensor:
    return _KeptByFlexAttention.apply(query, key, value)


def _all_rows(trained: Tensor, inputs: Tensor, ranges_of: loss.RangesOf) -> Iterator[Any]:
    for ranges in ranges_of.values():
        yield slice(None), ranges


def _no_sums(nats: Tensor, targets: Tensor, trained: Tensor) -> tuple[Tensor, Tensor]:
    return nats.new_zeros(3, dtype=torch.float64), targets.new_zeros(3)


def _never(*_: Any) -> bool:
    """The CPU's own passes are no operations that could be traced."""
    return False


@contextmanager
def traceable() -> Iterator[None]:
    """Within, the loss reads no values, and attention has the footprint of FlexAttention."""
    with ExitStack() as stack:
        for module, name, substitute in (
            (dispatch, "_by_hand", _never),
            (dispatch, "DenseForm", flex.FlexForm),
            (flex, "flex_attention", _kept_by_flex_attention),
            (loss, "_row_groups", _all_rows),
            (loss, "_sums_per_format", _no_sums),
        ):
            stack.enter_context(patch.object(module, name, substitute))
        yield


class _LiveStorages(TorchDispatchMode):
    """Adds up the storages of all tensors that operations have given and that are alive."""

    def __init__(self, trace: MemoryTrace) -> None:
        super().__init__()
        self.moment = "forward"
        self._peaks = trace.peaks
        self._alive = 0
        self._bytes_of: WeakIdKeyDictionary = WeakIdKeyDictionary()

    @contextmanager
    def tracking(self) -> Iterator[_LiveStorages]:
        """Within, storages are followed, those that FSDP shrinks and grows again too."""
        plain = torch.UntypedStorage.resize_

        def resize(storage: torch.UntypedStorage, size: int) -> None:
            plain(storage, size)
            self._follow(storage)

        with self, patch.object(torch.UntypedStorage, "resize_", resize):
            yield self

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        results = func(*args, **(kwargs or {}))
        for result in tree_iter(results):
            if isinstance(result, Tensor):
                local = result._local_tensor if isinstance(result, DTensor) else result
                self._follow(local.untyped_storage())
        return results

    def _follow(self, storage: torch.UntypedStorage) -> None:
        size = self._bytes_of.get(storage)
        if size is None:
            size = self._bytes_of[storage] = [0]
            weakref.finalize(storage, self._change, size, 0)
        self._change(size, storage.nbytes())

    def _change(self, size: list[int], to: int) -> None:
        self._alive += to - size[0]
        size[0] = to
        self._peaks[self.moment] = max(self._peaks.get(self.moment, 0), self._alive)
