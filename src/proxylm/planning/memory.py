"""Memory that a training step takes on one GPU, by part, from sizes alone.

Weights, gradients and the two moments of AdamW are float32, shared by the ranks that shard them;
products run in bfloat16, the residual stream in float32. A block that is not recomputed keeps what
its operations need for backward; a recomputed one keeps its input, and the one under way has the
rest. Operations count as written: on a GPU ``torch.compile`` fuses a block's, which then takes
less. What the allocator wastes and libraries take is not counted; a plan leaves room for it.

The factors are the tensors that are alive at the worst moment; ``tests/planning`` holds the sums
to a trace of the model, of FSDP and of the optimizer on fake tensors, within 10 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from proxylm.models.config import EvaAttention, ModelConfig
from proxylm.models.cross_entropy import rows_per_chunk
from proxylm.models.masks import visible_chunk_count
from proxylm.symbols import COMPRESSED_OFFSET

FLOAT32, BFLOAT16 = 4, 2


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How one rank makes an update.

    Attributes:
        shard: ranks that hold one copy of weights, gradients and optimizer state together.
        alone: whether the rank is the only one, which computes without FSDP.
        contexts: contexts in one pass.
        passes: forward and backward passes in one update.
        recomputed: blocks, from the first, whose activations backward computes again.
    """

    shard: int = 1
    alone: bool = False
    contexts: int = 1
    passes: int = 1
    recomputed: int = 0


@dataclass(frozen=True, kw_only=True)
class MemoryUse:
    """Bytes on one GPU at one moment of an update.

    Attributes:
        moment: ``forward``, ``loss``, ``backward``, ``reduction`` or ``update``.
        weights: this rank's part of them, float32.
        optimizer: its part of AdamW's two moments.
        gradients: its part of the gradients.
        gathered: whole weights in bfloat16, of what is computed now, and gradients on the way.
        activations: what blocks keep for backward.
        working: what the block under way has besides.
        loss: logits of a chunk, and what the heads prepare for backward.
    """

    moment: str
    weights: int
    optimizer: int
    gradients: int = 0
    gathered: int = 0
    activations: int = 0
    working: int = 0
    loss: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.parts().values())

    def parts(self) -> dict[str, int]:
        """Every part by its name."""
        return {name: value for name, value in vars(self).items() if name != "moment"}


def peak_memory(config: ModelConfig, execution: Execution) -> MemoryUse:
    """The moment of an update that takes the most on a GPU."""
    return max(_moments(_Sizes(config, execution)), key=lambda use: use.total)


@dataclass(frozen=True)
class _Sizes:
    """Counts that the moments are made of; bytes where the name says so."""

    config: ModelConfig
    execution: Execution

    @property
    def positions(self) -> int:
        return self.execution.contexts * self.config.context

    @property
    def root(self) -> int:
        """Parameters outside the blocks: embedding, heads, final norm."""
        config = self.config
        embedding = 0 if config.tied_embeddings else config.vocabulary_size * config.width
        return embedding + self.heads + config.width

    @property
    def heads(self) -> int:
        """Parameters of the output layers."""
        return sum(self.head_rows) * self.config.width

    @property
    def head_rows(self) -> list[int]:
        """Rows of each head's output layer."""
        shared = [self.config.vocabulary_size] * self.config.prediction_heads
        return shared + [COMPRESSED_OFFSET] * self.config.raw_prediction_heads

    @property
    def block(self) -> int:
        """Parameters of a block."""
        return (self.config.parameter_count - self.root) // self.config.layers

    @property
    def input_bytes(self) -> int:
        """The residual stream."""
        return FLOAT32 * self.positions * self.config.width

    @property
    def kept_bytes(self) -> int:
        """What a block keeps that is not recomputed, its input among it.

        Per channel of the residual stream: it, before attention and before feed-forward, and two
        products of the norms of each (float32), and a copy in bfloat16 for each product of
        matrices that reads it; of queries and of what attention gives them; of keys and values;
        of the feed-forward layer gate, up, the gate's activation and their product.
        """
        config = self.config
        per_position = (6 * FLOAT32 + BFLOAT16) * config.width
        per_position += 2 * BFLOAT16 * config.query_width
        per_position += 2 * BFLOAT16 * config.kv_heads * config.head_width
        per_position += 4 * BFLOAT16 * config.ffn + FLOAT32 * config.heads
        return self.positions * per_position + self._summary_bytes

    @property
    def _summary_bytes(self) -> int:
        """Masked keys and values that are summarized, and the summaries beside all others."""
        attention = self.config.attention
        if not isinstance(attention, EvaAttention):
            return 0
        chunks = visible_chunk_count(self.config.context, attention)
        columns = chunks * (1 + attention.chunk) * self.execution.contexts
        return 2 * BFLOAT16 * columns * self.config.width

    def kept_by(self, blocks: int) -> int:
        """Bytes that the first ``blocks`` blocks keep, recomputed ones their inputs alone."""
        recomputed = min(blocks, self.execution.recomputed)
        return recomputed * self.input_bytes + (blocks - recomputed) * self.kept_bytes

    @property
    def backward_bytes(self) -> int:
        """What backward through a block has at most: all that it needs, and gradients.

        Those of the residual stream, and of two activations of the feed-forward layer.
        """
        inner = 2 * BFLOAT16 * self.positions * self.config.ffn
        return self.kept_bytes + self.input_bytes + inner

    @property
    def loss_bytes(self) -> int:
        """What the heads have ready for backward: gradients of their inputs and their rows."""
        width = self.config.width
        inputs = BFLOAT16 * self.positions * width * len(self.head_rows)
        return inputs + FLOAT32 * self.heads

    @property
    def loss_working_bytes(self) -> int:
        """What the widest head has besides, forward or backward.

        Forward: logits of a chunk of positions in both types, and its part of the gradient;
        backward: the gradients once more, scaled, that of the rows in both types.
        """
        rows = max(self.head_rows)
        matrix = rows * self.config.width
        logits = min(self.positions, rows_per_chunk(rows)) * rows
        forward = (FLOAT32 + BFLOAT16) * logits + BFLOAT16 * matrix
        backward = (FLOAT32 + BFLOAT16) * matrix + BFLOAT16 * self.positions * self.config.width
        return max(forward, backward)

    @property
    def final_bytes(self) -> int:
        """The last residual stream, two products of its norm, and a copy for a head."""
        return 3 * self.input_bytes + self.input_bytes // 2


def _moments(sizes: _Sizes) -> Iterator[MemoryUse]:
    execution, config = sizes.execution, sizes.config
    alone, share = execution.alone, config.parameter_count // execution.shard
    states = {"weights": FLOAT32 * share, "optimizer": 2 * FLOAT32 * share}
    before = FLOAT32 * share if execution.passes > 1 else 0
    block, heads = BFLOAT16 * sizes.block, BFLOAT16 * sizes.heads
    # A rank alone has copies of matrices for autocast, all of them until forward is done.
    root = heads if alone else BFLOAT16 * sizes.root
    if not alone:
        # The last block's weights, and those of the block before, which are freed only then.
        yield MemoryUse(
            moment="forward",
            gradients=before,
            gathered=root + 2 * block,
            activations=sizes.kept_by(config.layers),
            **states,
        )
    yield MemoryUse(
        moment="loss",
        gradients=before,
        gathered=root + (config.layers * block if alone else 0),
        activations=sizes.kept_by(config.layers),
        working=sizes.final_bytes,
        loss=sizes.loss_bytes + sizes.loss_working_bytes,
        **states,
    )
    for number in reversed(range(config.layers)):
        behind = config.layers - 1 - number
        # This block's weights and the next one's, and the gradients of the one before, which are
        # reduced in float32. The heads' gradients wait for those of the embedding.
        reduced = FLOAT32 * sizes.block if behind and not alone else 0
        yield MemoryUse(
            moment="backward",
            gradients=before or FLOAT32 * (behind * sizes.block // execution.shard),
            gathered=root + heads + 2 * block + reduced,
            activations=sizes.kept_by(number),
            working=sizes.backward_bytes,
            **states,
        )
    if not alone:
        yield MemoryUse(moment="reduction", gradients=FLOAT32 * share, gathered=4 * root, **states)
    yield MemoryUse(moment="update", gradients=FLOAT32 * share, **states)
