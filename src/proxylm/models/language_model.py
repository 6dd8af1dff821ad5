"""The language model: embedding, blocks, final norm, prediction heads; forward, loss and step.

Shapes: ``B`` contexts, ``N`` positions, ``V`` vocabulary, heads as in ``ModelConfig``. Parameter
names are those of published checkpoints, so a published state dictionary loads as it is.
Everything runs on whatever device and autocast the caller set up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch import Tensor, nn

from proxylm.errors import UsageError
from proxylm.models.blocks import Block, Layers
from proxylm.models.cache import Cache
from proxylm.models.config import ModelConfig
from proxylm.models.feed import Feed
from proxylm.models.formats import can_follow
from proxylm.models.initialization import drawn_weight, initialize
from proxylm.models.kernels.dispatch import execution_for, step_for
from proxylm.models.loss import (
    ByteTargets,
    LossReport,
    OutputLayers,
    heads_loss,
    teacher_loss,
)
from proxylm.models.masks import positions_within
from proxylm.models.norm import RMSNorm
from proxylm.models.stored_matrices import Projection, product
from proxylm.symbols import COMPRESSED_OFFSET


class Trunk(nn.Module):
    """Embedding, blocks and final norm (``model.*`` in published names)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        # nn.Embedding(...) draws even on the meta device, where that loads torch's compiler: as
        # long as all of torch.
        rows = torch.empty(config.vocabulary_size, config.width)
        self.embed_tokens = nn.Embedding.from_pretrained(rows, freeze=False)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config)

    def blocks(self) -> Iterator[Block]:
        """The layers, in order."""
        for layer in self.layers:
            assert isinstance(layer, Block)
            yield layer


Ids = Int[Tensor, "batch position"]
"""Integers ``[B, N]``: symbols, or the segments that they are of."""


class TiedOutput(nn.Module):
    """An output layer whose rows are the embedding's: no parameter of its own, none in files."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self._embedding = (embedding,)  # in a tuple it is no second parameter

    @property
    def weight(self) -> Tensor:
        """``[V, width]``."""
        return self._embedding[0].weight

    def forward(self, hidden: Tensor) -> Tensor:
        """``[..., width]`` to ``[..., V]``."""
        return product(hidden, self.weight)


PerPosition = Int[Tensor, "#batch position"]
"""An integer per position; one row may stand for all contexts."""


class LanguageModel(nn.Module):
    """A byte, token or mixture model of either architecture (method, section 5).

    Weights are float32, initialized from ``seed`` unless the model is built on the ``meta`` device;
    the same seed gives the same weights on every machine. It is an ordinary ``nn.Module``: any
    optimizer trains it, ``to(device)`` moves it.

    >>> from proxylm.models.presets import preset
    >>> model = LanguageModel(preset("demo", layers=1, width=32, ffn=48, heads=2), seed=0)
    >>> ids = torch.tensor([[1, 12, *(64 + byte for byte in b"two"), 13]])
    >>> model.logits(ids).shape  # contexts, positions, heads, vocabulary
    torch.Size([1, 6, 1, 320])
    >>> report = model.loss(ids, ids.roll(-1, dims=1)[..., None])
    >>> report.loss.backward()
    >>> report.positions
    tensor(6)

    Args:
        config: sizes (``proxylm.models.presets.preset`` has named ones).
        seed: decides the initial weights.
    """

    def __init__(self, config: ModelConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        device = torch.get_default_device()
        with torch.device("meta"):
            self.model = Trunk(config)
            rows = config.prediction_heads * config.vocabulary_size
            self.lm_head: Projection | TiedOutput = Projection(config.width, rows, bias=False)
            if config.tied_embeddings:
                self.lm_head = TiedOutput(self.model.embed_tokens)
            if config.raw_prediction_heads:
                raw_rows = config.raw_prediction_heads * COMPRESSED_OFFSET
                self.raw_multibyte_lm_head = Projection(config.width, raw_rows, bias=False)
        if device.type != "meta":
            self.allocate(device)
            initialize(self, seed)

    def allocate(self, device: torch.device | str) -> None:
        """Give a model that was built on the ``meta`` device memory; what is in it is undefined.

        ``nn.Module.to_empty`` does the same by way of torch's symbolic shapes, which take longer
        to load than a small model takes to load and answer.
        """
        empty = {
            name: torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
            for name, tensor in self.state_dict().items()
        }
        self.load_state_dict(empty, assign=True)

    def hidden(
        self, ids: Ids, segment_ids: Ids | None = None, position_ids: PerPosition | None = None
    ) -> Float32[Tensor, "batch position width"]:
        """Final normalized states ``[B, N, width]`` float32.

        Args:
            ids: integer ``[B, N]``, below the vocabulary's size.
            segment_ids: ``[B, N]``, non-decreasing in each row; attention stays inside a segment.
                None is one segment.
            position_ids: ``[B, N]`` or ``[1, N]``; None counts from each segment's start.

        Raises:
            DataError: segment ids that decrease (found on a CPU alone, where it costs nothing).
        """
        if segment_ids is None:
            segment_ids = torch.zeros_like(ids)
        if position_ids is None:
            position_ids = positions_within(segment_ids)
        run = execution_for(self.config, segment_ids, position_ids, self.lm_head.weight)
        x = self.model.embed_tokens(ids).float()
        for block in self.model.blocks():
            x = block(x, run)
        return self.model.norm(x)

    def logits(
        self, ids: Ids, segment_ids: Ids | None = None, position_ids: PerPosition | None = None
    ) -> Float32[Tensor, "batch position head vocabulary"]:
        """Logits of the shared heads in nats, float32 ``[B, N, H1, V]``; arguments as ``hidden``.

        Head ``k`` predicts the symbol ``k + 1`` after each position. With ``softmax: by_format``
        what cannot follow has minus infinity, so that a softmax over ``V`` gives the trained
        probabilities.

        Raises:
            DataError: see ``hidden``.
        """
        return self._shared_logits(self.hidden(ids, segment_ids, position_ids), ids)

    forward = logits

    def raw_logits(
        self, ids: Ids, segment_ids: Ids | None = None, position_ids: PerPosition | None = None
    ) -> Float32[Tensor, "batch position raw_head 320"]:
        """Logits of the raw heads, float32 ``[B, N, H2, 320]``: specials and raw bytes alone."""
        hidden = self.hidden(ids, segment_ids, position_ids)
        flat = self.raw_multibyte_lm_head(hidden).float()
        return flat.unflatten(-1, (self.config.raw_prediction_heads, COMPRESSED_OFFSET))

    def _shared_logits(self, hidden: Tensor, ids: Tensor) -> Tensor:
        vocabulary = self.config.vocabulary_size
        logits = self.lm_head(hidden).float().unflatten(-1, (-1, vocabulary))
        if self.config.normalizes_by_format:
            logits = logits.masked_fill(~can_follow(ids, vocabulary)[..., None, :], -torch.inf)
        return logits

    def loss(
        self,
        ids: Ids,
        targets: Int[Tensor, "batch position head"],
        segment_ids: Ids | None = None,
        position_ids: PerPosition | None = None,
        *,
        normalizer: int | None = None,
        taught: ByteTargets | None = None,
    ) -> LossReport:
        """Training loss of packed contexts, in nats (``proxylm.models.loss`` says of what mean).

        The parameters stand in the order of ``Batch.tensors()``.

        Args:
            ids: ``[B, N]``.
            targets: ``[B, N, H1 + H2]``, ``IGNORED_TARGET`` where nothing is trained.
            segment_ids: as for ``hidden``.
            position_ids: as for ``hidden``.
            normalizer: see ``heads_loss``.
            taught: what a teacher says of bytes; its part is added to the loss.

        Raises:
            UsageError: targets of another shape than the ids and this model's heads.
            DataError: see ``hidden`` and ``heads_loss``.
        """
        if targets.shape != (*ids.shape, self.config.target_heads):
            raise UsageError(
                f"targets: shape {list(targets.shape)}, but ids {list(ids.shape)} and "
                f"{self.config.target_heads} heads need {[*ids.shape, self.config.target_heads]}"
            )
        outputs = self._output_layers()
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._trains_its_body()):
            hidden = self.hidden(ids, segment_ids, position_ids)
        report = heads_loss(
            hidden.flatten(0, 1),
            ids.flatten().long(),
            targets.flatten(0, 1).long(),
            outputs,
            normalizer=normalizer,
        )
        if taught is None:
            return report
        denominator = report.positions.clamp(min=1) if normalizer is None else normalizer
        part = teacher_loss(hidden.flatten(0, 1), outputs.shared[0], taught, denominator)
        return replace(report, loss=report.loss + part)

    def _trains_its_body(self) -> bool:
        """Whether backward goes beyond the output layers; otherwise nothing is kept for it."""
        return any(parameter.requires_grad for parameter in self.model.parameters())

    def _output_layers(self) -> OutputLayers:
        width, raw = self.config.width, None
        if self.config.raw_prediction_heads:
            raw = self.raw_multibyte_lm_head.weight.view(-1, COMPRESSED_OFFSET, width)
        return OutputLayers(
            shared=self.lm_head.weight.view(-1, self.config.vocabulary_size, width),
            raw=raw,
            by_format=self.config.normalizes_by_format,
        )

    def recompute(self, blocks: int) -> None:
        """Have backward compute the first so many blocks' activations again instead of keeping
        them. It changes no bit."""
        for number, block in enumerate(self.model.blocks()):
            block.recomputes = number < blocks

    def new_cache(self, batch_size: int = 1) -> Cache:
        """An empty cache for ``batch_size`` rows that all start at position 0."""
        return Cache(self.config, batch_size)

    @torch.no_grad()
    def step(self, ids: Ids, cache: Cache) -> Float32[Tensor, "batch position head vocabulary"]:
        """Feed ``n >= 1`` further symbols of every row; logits ``[B, n, H1, V]`` after each."""
        feed = cache.plan(np.full(len(ids), ids.shape[1], dtype=np.int64))
        hidden = self.step_feed(ids.flatten(), cache, feed)
        return self._shared_logits(hidden.unflatten(0, ids.shape), ids)

    @torch.no_grad()
    def step_feed(
        self, symbols: Int[Tensor, " symbol"], cache: Cache, feed: Feed
    ) -> Float32[Tensor, "symbol width"]:
        """One pass as planned: ``T`` symbols, row after row, to final states ``[T, width]``."""
        x = self.model.embed_tokens(symbols).float()
        step = step_for(self.config, self.lm_head.weight)
        rope = self.config.head_width, self.config.rope_theta, self.config.rope_scaling
        layers = Layers(list(self.model.blocks()), self.model.norm, rope)
        hidden = step(layers, x, cache, feed)
        cache.advance(feed)
        return hidden

    def extend_vocabulary(self, new_size: int, *, seed: int = 0) -> None:
        """Grow embedding and shared heads to ``new_size`` symbols in place, old rows unchanged.

        New rows are drawn as at initialization. ``config`` changes with it.

        Raises:
            UsageError: ``new_size`` is smaller than the vocabulary.
        """
        old_size = self.config.vocabulary_size
        if new_size < old_size:
            raise UsageError(f"a vocabulary only grows: {new_size} is below {old_size} symbols")
        if new_size == old_size:
            return
        heads = () if self.config.tied_embeddings else ("lm_head",)
        for name in ("model.embed_tokens", *heads):
            module = self.get_submodule(name)
            weight = module.get_parameter("weight").detach()
            old = weight.unflatten(0, (weight.shape[0] // old_size, old_size))
            added = old.new_empty(old.shape[0], new_size - old_size, old.shape[2])
            purpose = f"extend from {old_size}"
            added.copy_(drawn_weight(added.shape, f"{name}.weight", seed, purpose=purpose))
            module.weight = nn.Parameter(torch.cat([old, added], dim=1).flatten(0, 1))
        self.model.embed_tokens.num_embeddings = new_size
        if isinstance(self.lm_head, Projection):
            self.lm_head.out_features = self.lm_head.weight.shape[0]
        self.config = self.config.model_copy(update={"vocabulary_size": new_size})
