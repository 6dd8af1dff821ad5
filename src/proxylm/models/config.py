"""What a model is: sizes, kind of attention, heads; validated here, saved with every checkpoint.

The kind of attention is a type with its own fields. Parameter counts follow from the sizes alone,
so a preset of any size can be described without allocating it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from proxylm.config import Config, added_field
from proxylm.errors import UsageError
from proxylm.symbols import COMPRESSED_OFFSET, RAW_OFFSET

KNOWS_BYTES_ALONE = "the model knows raw bytes alone: it was trained without a compressed view"


class EvaAttention(Config):
    """EVA: exact attention inside a window, chunk summaries of earlier windows."""

    kind: Literal["eva"] = "eva"
    window: PositiveInt = 2048
    chunk: PositiveInt = 8

    @model_validator(mode="after")
    def _chunks_fill_windows(self) -> EvaAttention:
        if self.window % self.chunk:
            raise ValueError(f"window {self.window} must be a multiple of chunk {self.chunk}")
        return self

    @property
    def chunks_per_window(self) -> int:
        """Summaries that one complete window leaves behind."""
        return self.window // self.chunk


class CausalAttention(Config):
    """Causal softmax attention over the whole document, as in Llama and its kin.

    Attributes:
        kv_heads: heads of keys and values, each shared by a group of queries.
        head_width: channels of a head; None is the model's width over its heads.
        biases: whether the projections to queries, keys and values have biases (Qwen2).
        query_key_norm: RMSNorm of queries and keys before they are rotated, over each ``head``
            (Qwen3) or over the channels of ``all`` heads together (OLMo 2).
    """

    kind: Literal["causal"] = "causal"
    kv_heads: PositiveInt
    head_width: PositiveInt | None = added_field(None)
    biases: bool = added_field(False)
    query_key_norm: Literal["none", "head", "all"] = added_field("none")

    @property
    def norms_heads(self) -> bool:
        """Whether each head's queries and keys are normalized."""
        return self.query_key_norm == "head"

    @property
    def norms_projections(self) -> bool:
        """Whether all queries, and all keys, of a position are normalized together."""
        return self.query_key_norm == "all"


Attention = Annotated[EvaAttention | CausalAttention, Field(discriminator="kind")]


class LinearRope(Config):
    """Rotary positions divided by ``factor``."""

    kind: Literal["linear"] = "linear"
    factor: PositiveFloat


class Llama3Rope(Config):
    """Llama 3.1's stretched positions: slow channels divided, fast ones kept, a ramp in between.

    Attributes:
        factor: by which channels are slowed that turn less than ``low_frequency`` times in
            ``original_context`` positions.
        low_frequency, high_frequency: turns between which the ramp lies; faster channels stay.
        original_context: positions that the model was first trained on.
    """

    kind: Literal["llama3"] = "llama3"
    factor: PositiveFloat
    low_frequency: PositiveFloat
    high_frequency: PositiveFloat
    original_context: PositiveInt


RopeScaling = Annotated[LinearRope | Llama3Rope, Field(discriminator="kind")]


class ModelConfig(Config):
    """Sizes of one language model (method, section 5).

    ``proxylm.models.presets.preset`` makes one by name.

    >>> attention = EvaAttention(window=128, chunk=8)
    >>> sizes = {"layers": 4, "width": 128, "ffn": 320, "heads": 4}
    >>> config = ModelConfig(vocabulary_size=320, attention=attention, **sizes)
    >>> config.head_width, config.parameter_count
    (32, 837760)

    Attributes:
        vocabulary_size: rows of the embedding (``proxylm.symbols.vocabulary_size``).
        layers: blocks, one after the other.
        width: size of the residual stream; a multiple of ``heads``.
        ffn: inner size of the gated feed-forward layer.
        heads: attention heads (of queries), ``width / heads`` channels each.
        attention: ``EvaAttention`` or ``CausalAttention``.
        context: symbols per packed training context; training needs a multiple of an EVA window
            (``require_context``), which published models need not say.
        rope_theta: base of the rotary position embedding.
        rope_scaling: how its positions are stretched (Llama 3.1); None as they are.
        norms: whether a block normalizes ``before`` attention and feed-forward, or what comes
            ``after`` them, on its way into the residual stream (OLMo 2).
        tied_embeddings: whether the output layer is the embedding itself.
        norm_epsilon: added to the mean square in every RMSNorm.
        prediction_heads: ``H1``; head ``k`` predicts the symbol ``k + 1`` ahead, over everything.
        raw_prediction_heads: ``H2`` further heads over specials and raw bytes alone, trained
            where all targets are raw or special (method, section 5).
        softmax: ``full`` normalizes over the vocabulary, ``by_format`` over what can follow.
        sentinels: whether the model's samples carry ``<raw>`` and its kin; decides how a prompt
            and a scored document begin.
    """

    vocabulary_size: PositiveInt
    layers: PositiveInt
    width: PositiveInt
    ffn: PositiveInt
    heads: PositiveInt
    attention: Attention
    context: PositiveInt = 4096
    rope_theta: PositiveFloat = 100_000.0
    rope_scaling: RopeScaling | None = added_field(None)
    norms: Literal["before", "after"] = added_field("before")
    norm_epsilon: PositiveFloat = 1e-5
    tied_embeddings: bool = added_field(False)
    prediction_heads: PositiveInt = 1
    raw_prediction_heads: int = Field(default=0, ge=0)
    softmax: Literal["full", "by_format"] = "full"
    sentinels: bool = True

    @model_validator(mode="after")
    def _sizes_fit(self) -> ModelConfig:
        own_width = isinstance(self.attention, CausalAttention) and self.attention.head_width
        if self.width % (2 * self.heads) and not own_width:
            raise ValueError(
                f"width {self.width} must be a multiple of twice the heads (2 x {self.heads})"
            )
        if self.head_width % 2:
            raise ValueError(f"attention.head_width {self.head_width} must be even")
        if self.tied_embeddings and self.prediction_heads > 1:
            raise ValueError("tied_embeddings leave room for one prediction head")
        if self.norms_after and isinstance(self.attention, EvaAttention):
            raise ValueError("norms after attention are for causal attention")
        if isinstance(self.attention, CausalAttention) and self.heads % self.attention.kv_heads:
            raise ValueError(
                f"heads {self.heads} must be a multiple of kv_heads {self.attention.kv_heads}"
            )
        needs_layout = self.normalizes_by_format or self.raw_prediction_heads > 0
        if needs_layout and self.vocabulary_size < COMPRESSED_OFFSET:
            raise ValueError(
                "softmax by_format and raw_prediction_heads need a vocabulary_size of at least "
                f"{COMPRESSED_OFFSET}, not {self.vocabulary_size}"
            )
        if self.normalizes_by_format and not self.sentinels:
            raise ValueError("softmax by_format needs sentinels: they tell the formats apart")
        return self

    def require_context(self, context: int) -> None:
        """Refuse a training context that this model's windows do not divide.

        Raises:
            UsageError: naming both numbers.
        """
        if isinstance(self.attention, EvaAttention) and context % self.attention.window:
            raise UsageError(
                f"model: context {context} must be a multiple of window {self.attention.window}"
            )

    @property
    def compressed_symbol_count(self) -> int:
        """Compressed symbols that the vocabulary has room for; 0 for a model of bytes alone."""
        return max(0, self.vocabulary_size - COMPRESSED_OFFSET)

    def require_compressed_symbols(self) -> None:
        """Refuse to read or write what the model has no symbols for.

        Raises:
            UsageError: it knows raw bytes alone.
        """
        if not self.compressed_symbol_count:
            raise UsageError(KNOWS_BYTES_ALONE)

    def require_raw_bytes(self) -> None:
        """Refuse to read or write bytes with a vocabulary that does not hold them.

        Raises:
            UsageError: naming the vocabulary's size.
        """
        if self.vocabulary_size < COMPRESSED_OFFSET:
            raise UsageError(
                f"this model has a vocabulary of {self.vocabulary_size} symbols, without the raw "
                f"bytes (ids {RAW_OFFSET} to {COMPRESSED_OFFSET - 1}); only its logits can be used"
            )

    @property
    def normalizes_by_format(self) -> bool:
        """Whether a position is normalized over what can follow it only."""
        return self.softmax == "by_format"

    @property
    def head_width(self) -> int:
        """``D``: width of one attention head."""
        own = self.attention.head_width if isinstance(self.attention, CausalAttention) else None
        return own or self.width // self.heads

    @property
    def query_width(self) -> int:
        """Channels of all queries of a position."""
        return self.heads * self.head_width

    @property
    def is_plain(self) -> bool:
        """Whether blocks are EvaByte's or plain Llama's, for which there are kernels of ours."""
        if isinstance(self.attention, EvaAttention):
            return True
        norms = self.attention.norms_heads or self.attention.norms_projections or self.norms_after
        return not (norms or self.attention.biases) and self.query_width == self.width

    @property
    def norms_after(self) -> bool:
        """Whether norms stand behind attention and feed-forward."""
        return self.norms == "after"

    @property
    def kv_heads(self) -> int:
        """Heads that carry keys and values."""
        return (
            self.attention.kv_heads if isinstance(self.attention, CausalAttention) else self.heads
        )

    @property
    def target_heads(self) -> int:
        """Targets per position that the loss reads: shared and raw heads together."""
        return self.prediction_heads + self.raw_prediction_heads

    @property
    def matrix_parameter_count(self) -> int:
        """Parameters that take part in a matrix product for every symbol (no embedding)."""
        attention = 2 * self.width * self.head_width * (self.heads + self.kv_heads)
        body = self.layers * (attention + 3 * self.width * self.ffn)
        rows = self.prediction_heads * self.vocabulary_size
        return body + (rows + self.raw_prediction_heads * COMPRESSED_OFFSET) * self.width

    @property
    def parameter_count(self) -> int:
        """All parameters, embedding included."""
        norms = (2 * self.layers + 1) * self.width
        embedding = 0 if self.tied_embeddings else self.vocabulary_size * self.width
        vectors = self.layers * self._attention_vectors()
        return self.matrix_parameter_count + norms + vectors + embedding

    def _attention_vectors(self) -> int:
        if isinstance(self.attention, EvaAttention):
            return 2 * self.width
        projected = self.query_width + self.kv_heads * self.head_width
        biases = projected + self.kv_heads * self.head_width if self.attention.biases else 0
        if self.attention.norms_heads:
            return biases + 2 * self.head_width
        return biases + (projected if self.attention.norms_projections else 0)
