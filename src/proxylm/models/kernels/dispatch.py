"""How a model runs its blocks: the one place that looks at device, type and autocast.

Whole contexts: ``run_by_hand`` uses the hand-written halves of ``kernels.training``;
``run_modules`` the plain modules with a form of attention (compiled, with FlexAttention, on a
GPU; as they are, with the dense reference, elsewhere). Further symbols through a cache:
``kernels.decoding``, or the plain modules. docs/architecture.md lists every place that computes a
block, and the test that binds it to the definition.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from proxylm.models.attention import AttentionForm, DenseForm
from proxylm.models.blocks import Block, BlockRun, Layers
from proxylm.models.cache import Cache
from proxylm.models.config import ModelConfig
from proxylm.models.feed import Feed
from proxylm.models.kernels.decoding.step import step_layers
from proxylm.models.kernels.flex import FlexForm
from proxylm.models.kernels.training.block import AttentionHalf, FeedForwardHalf, HalfSettings
from proxylm.models.kernels.training.runs import plan_runs
from proxylm.models.rotary import Rotation, rotation_of

# One context or several, one tile or several, with and without gradients: each may need kernels of
# its own, and torch's own limit (8) would leave FlexAttention uncompiled after a few of them.
_COMPILED_FORMS = 64

# Matrices are widened where they are multiplied (``stored_matrices``).
_STORED = torch.float32, torch.bfloat16

IntoAttention = Callable[[Block, Tensor, Rotation], tuple[Tensor, Tensor, Tensor]]
BehindAttention = Callable[[Block, Tensor, Tensor], Tensor]
"""The halves of a block: ``Block.into_attention``, ``Block.behind_attention``."""

LayersStep = Callable[[Layers, Tensor, Cache, Feed], Tensor]
"""All layers over a pass's symbols, embedded, to final states: ``[T, width]`` float32 both."""


def run_modules(rotation: Rotation, form: AttentionForm, block: Block, x: Tensor) -> Tensor:
    """The block's own modules, attention in the given form."""
    return _whole_block_on(x.device.type)(block, x, rotation, form)


def _whole_block(block: Block, x: Tensor, rotation: Rotation, form: AttentionForm) -> Tensor:
    return block.plain(x, rotation, form)


@cache
def _whole_block_on(device_type: str) -> Callable[..., Tensor]:
    # Uncompiled, every small operation is a pass through memory.
    return _compiled(_whole_block) if device_type == "cuda" else _whole_block


def _into_attention(block: Block, x: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor, Tensor]:
    return block.into_attention(x, rotation)


def _behind_attention(block: Block, x: Tensor, mixed: Tensor) -> Tensor:
    return block.behind_attention(x, mixed)


@cache
def half_blocks_on(device_type: str) -> tuple[IntoAttention, BehindAttention]:
    """A block's halves as they run on a kind of device."""
    if device_type != "cuda":
        return _into_attention, _behind_attention
    # What a pass of a few symbols waits for is the starting of operations. Attention, between the
    # halves, has other shapes in every pass.
    return _compiled(_into_attention, dynamic=True), _compiled(_behind_attention, dynamic=True)


def _compiled(function: Callable[..., Any], *, dynamic: bool | None = None) -> Callable[..., Any]:
    # (torch's own annotations do not know the limit.)
    return torch.compile(  # type: ignore[call-overload]
        function, dynamic=dynamic, recompile_limit=_COMPILED_FORMS
    )


def run_by_hand(settings: HalfSettings, block: Block, x: Tensor) -> Tensor:
    """The hand-written halves: no masked work, blocks of rows that stay in cache."""
    attention, mlp = block.self_attn, block.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    rows = AttentionHalf.apply(
        x.flatten(0, 1),
        block.input_layernorm.scale(),
        torch.cat([projection.weight for projection in projections]).float(),
        attention.o_proj.weight.float(),
        *attention.summary_vectors(),
        settings,
    )
    rows = FeedForwardHalf.apply(
        rows,
        block.post_attention_layernorm.scale(),
        torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]).float(),
        mlp.down_proj.weight.float(),
        settings,
    )
    # Not a view, which the hooks of divided models (FSDP) could lose; nothing else has ``rows``.
    out: Tensor = torch.ops.aten._unsafe_view(rows, x.shape)
    return out


def execution_for(
    config: ModelConfig, segment_ids: Tensor, position_ids: Tensor, weight: Tensor
) -> BlockRun:
    """How contexts go through a block, made once per forward from the documents' layout.

    The model's weights look like ``weight``; nothing else chooses.
    """
    shape = config.head_width, config.rope_theta, config.rope_scaling
    rotation = rotation_of(position_ids, *shape)
    if not _by_hand(config, weight):
        form = FlexForm if weight.device.type == "cuda" else DenseForm
        return partial(run_modules, rotation, form(config.attention, segment_ids))
    batch = segment_ids.shape[0]
    settings = HalfSettings(
        heads=config.heads,
        kv_heads=config.kv_heads,
        epsilon=config.norm_epsilon,
        rotation=Rotation(*(x.expand(batch, -1, -1, -1).flatten(0, 1) for x in rotation)),
        plan=plan_runs(segment_ids.numpy(), config.attention),
        keep_for_backward=torch.is_grad_enabled(),
        products=torch.get_autocast_dtype("cpu") if _rounds() else torch.float32,
    )
    return partial(run_by_hand, settings)


def step_modules(layers: Layers, x: Tensor, cache: Cache, feed: Feed) -> Tensor:
    """The layers' own modules, around attention through the cache."""
    into_attention, behind_attention = half_blocks_on(x.device.type)
    rotation = rotation_of(torch.from_numpy(feed.position_ids).to(x.device), *layers.rope)
    for block, layer_cache in zip(layers.blocks, cache.layers, strict=True):
        vectors = block.self_attn.summary_vectors
        mixed = layer_cache.attend(*into_attention(block, x, rotation), feed, vectors)
        x = behind_attention(block, x, mixed)
    out: Tensor = layers.norm(x)
    return out


def step_for(config: ModelConfig, weight: Tensor) -> LayersStep:
    """How further symbols go through the layers and their cache."""
    return step_layers if _by_hand(config, weight) and not _rounds() else step_modules


def _by_hand(config: ModelConfig, weight: Tensor) -> bool:
    return config.is_plain and weight.device.type == "cpu" and weight.dtype in _STORED


def _rounds() -> bool:
    return torch.is_autocast_enabled("cpu")
