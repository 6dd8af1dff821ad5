"""What a training run is: one frozen configuration, read from YAML, saved with the run.

Sizes that follow from others are not asked for: the vocabulary comes from the data's compressor,
contexts per step from symbols per step. The defaults are the paper's (method, section 6).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from proxylm.config import Config, added_field, validate_config
from proxylm.data.mixture import Mixture
from proxylm.data.mixture_numbers import mixture_numbers
from proxylm.data.sources import SourceConfig, check_sources
from proxylm.device import DeviceName
from proxylm.errors import UsageError
from proxylm.fingerprint import fingerprint_of
from proxylm.limits import MAX_STEPS
from proxylm.models.config import ModelConfig
from proxylm.models.presets import preset
from proxylm.symbols import vocabulary_size
from proxylm.training.loss_spikes import LossSpikes
from proxylm.training.schedule import CosineRate, LearningRate

DERIVED_KEYS = ("vocabulary_size", "sentinels")
"""Fields of the model that follow from the data and its mixing, and are not configured again."""


Precision = Literal["auto", "float32", "bfloat16"]


class PresetModel(Config):
    """A named size (``proxylm.models.presets``), some of its fields replaced."""

    kind: Literal["preset"] = "preset"
    name: str
    overrides: dict[str, Any] = Field(default_factory=dict)

    def build(self, derived: dict[str, Any]) -> ModelConfig:
        """The model's configuration, with values for ``DERIVED_KEYS``."""
        _refuse_derived(self.overrides)
        return preset(self.name, **self.overrides, **derived)


class ExplicitModel(Config):
    """All sizes spelled out: the fields of ``ModelConfig`` but ``DERIVED_KEYS``."""

    kind: Literal["explicit"] = "explicit"
    sizes: dict[str, Any]

    def build(self, derived: dict[str, Any]) -> ModelConfig:
        """The model's configuration, with values for ``DERIVED_KEYS``."""
        _refuse_derived(self.sizes)
        return validate_config(ModelConfig, self.sizes | derived, origin="model.sizes")


ModelChoice = Annotated[PresetModel | ExplicitModel, Field(discriminator="kind")]


class StepCount(Config):
    """A run of so many updates."""

    kind: Literal["steps"] = "steps"
    steps: PositiveInt

    def total_steps(self, symbols_per_step: int) -> int:
        """Updates in the run."""
        return self.steps


class SymbolCount(Config):
    """A run over so many symbols, rounded up to whole updates."""

    kind: Literal["symbols"] = "symbols"
    symbols: PositiveInt

    def total_steps(self, symbols_per_step: int) -> int:
        """Updates in the run."""
        return -(-self.symbols // symbols_per_step)


RunLength = Annotated[StepCount | SymbolCount, Field(discriminator="kind")]


class CheckpointConfig(Config):
    """How often the state is saved, and which checkpoints stay; the last step is always saved.

    Attributes:
        every_steps: updates between checkpoints.
        keep_last: the newest ones that stay.
        keep_every_steps: updates between milestones, which are saved too, and stay for good; None
            for none.
    """

    every_steps: PositiveInt = 1000
    keep_last: PositiveInt = 3
    keep_every_steps: PositiveInt | None = added_field(None)


class HeldOutConfig(Config):
    """Held-out bits per byte on the way: every so many steps and at the end.

    Attributes:
        every_steps: updates between evaluations.
        max_bytes: raw bytes of held-out documents read (whole documents, at least one a source).
        stride_fraction: a document longer than a context is read in steps of this share of it.
    """

    every_steps: PositiveInt = 1000
    max_bytes: PositiveInt = 1_000_000
    stride_fraction: Annotated[float, Field(gt=0, le=1)] = 0.5


class DistillationConfig(Config):
    """Byte positions also learn what a frozen model of tokens says of their byte.

    Attributes:
        teacher: the model, with its tokenizer: what ``proxylm import`` wrote, or a run.
        weight: of what it says, beside 1 for the bytes themselves.
    """

    teacher: str
    weight: PositiveFloat = 1.0


Beta = Annotated[float, Field(ge=0, lt=1)]


class AdamWConfig(Config):
    """Settings of AdamW and of the gradient clip before it; the published values."""

    beta1: Beta = 0.9
    beta2: Beta = 0.95
    epsilon: PositiveFloat = 1e-15
    weight_decay: NonNegativeFloat = 0.1
    clip_norm: PositiveFloat = 1.0


class ParallelConfig(Config):
    """How the ranks of a run share its work; of one process, only ``recompute`` matters.

    It changes no sample and no loss beyond rounding, so that a run goes on with another one: it is
    no part of a configuration's hash, nor of what a run's folder says.

    Attributes:
        shard: ranks that hold one copy of weights, gradients and optimizer state together (FSDP):
            all, those of a machine (``node``), or so many. Where that is not all, every group of
            them has a copy (HSDP).
        recompute: blocks whose activations backward computes again instead of keeping them: all,
            none, or the first so many.
        timeout_seconds: how long a rank waits for the others in a step until it gives up; ten
            times that while files are read or written.
    """

    shard: Literal["all", "node"] | PositiveInt = "all"
    recompute: Literal["all", "none"] | PositiveInt = "none"
    timeout_seconds: PositiveInt = 600

    def recomputed_of(self, layers: int) -> int:
        """How many of a model's blocks are recomputed."""
        if isinstance(self.recompute, int):
            return min(self.recompute, layers)
        return {"all": layers, "none": 0}[self.recompute]


class LoopConfig(Config):
    """How updates are made and saved, whatever the model and the data are.

    Attributes:
        micro_batch_symbols: symbols in one micro batch, which a forward pass reads (at least one
            context); gradients of a step's micro batches are added, weighted by their trained
            positions, so that its size is a matter of memory and speed alone.
        optimizer: AdamW, and the clip before it.
        learning_rate: warm-up and schedule.
        byte_rows_steps: so many first updates train the rows of special symbols and raw bytes
            alone: of a model of tokens, which has nothing to unlearn for them.
        precision: ``auto`` is bfloat16 autocast on a GPU and float32 on a CPU.
        checkpoints: when the state is saved.
        loss_spikes: what is done about steps whose loss jumps up; None: nothing, and a loss that is
            no number ends the run.
        parallel: how several ranks share the work.
    """

    micro_batch_symbols: PositiveInt = 16_384
    optimizer: AdamWConfig = AdamWConfig()
    learning_rate: LearningRate = CosineRate()
    byte_rows_steps: NonNegativeInt = added_field(0)
    precision: Precision = "auto"
    checkpoints: CheckpointConfig = CheckpointConfig()
    loss_spikes: LossSpikes | None = added_field(None)
    parallel: ParallelConfig = added_field(ParallelConfig())

    def contexts_per_pass(self, context: int) -> int:
        """Contexts of so many symbols in one micro batch, if a rank has as many."""
        return max(1, self.micro_batch_symbols // context)

    def without_parallel(self) -> Self:
        """The same updates, whoever makes them."""
        return self.model_copy(update={"parallel": ParallelConfig()})


class TrainingConfig(LoopConfig):
    """One run; the settings of its updates are those of ``LoopConfig``.

    >>> config = TrainingConfig(
    ...     data=[{"store": "views/mine", "view": "bpe"}],
    ...     model={"kind": "preset", "name": "demo"},
    ...     length={"kind": "symbols", "symbols": 1_000_000},
    ...     symbols_per_step=4096,
    ...     learning_rate={"kind": "cosine", "peak": 2e-3, "warmup_steps": 10},
    ... )
    >>> config.total_steps, config.contexts_per_step
    (245, 4)

    Attributes:
        data: view stores and the views shown from them; at least one.
        mixing: how raw and compressed views are mixed and packed.
        model: the model's sizes; vocabulary and sentinels follow from data and mixing (a mixing
            that never shows compressed views has none of their symbols); the context is the
            model's.
        length: updates, or symbols, in the run.
        symbols_per_step: symbols in one update, the global batch; a multiple of the model's
            context.
        seed: of initialization, mixing and order.
        device: ``auto`` takes a GPU where there is one.
        held_out: evaluation on the way; None for none.
        init_from: a run, a checkpoint or a published folder whose weights are the start.
        trains: ``all`` weights, or the raw ``heads`` alone: everything else stays as it is in
            ``init_from``, whose model need not have them.
        distillation: a teacher beside the data; None for none. Needs ``softmax: by_format``.
    """

    data: tuple[SourceConfig, ...]
    mixing: Mixture = Mixture()
    model: ModelChoice
    length: RunLength
    symbols_per_step: PositiveInt
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    device: DeviceName = "auto"
    held_out: HeldOutConfig | None = HeldOutConfig()
    init_from: str | None = None
    trains: Literal["all", "heads"] = added_field("all")
    distillation: DistillationConfig | None = added_field(None)

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        check_sources(self.data)
        self.model_for(0).require_context(self.context)
        if self.symbols_per_step % self.context:
            raise ValueError(
                f"symbols_per_step {self.symbols_per_step} must be a multiple of the model's "
                f"context {self.context}"
            )
        if self.total_steps > MAX_STEPS:
            raise ValueError(f"length: {self.total_steps} steps are more than {MAX_STEPS}")
        self.learning_rate.require_fits(self.total_steps)
        if self.distillation and not self.model_for(0).normalizes_by_format:
            raise ValueError("distillation needs a model with softmax by_format")
        has_heads = self.init_from and self.model_for(0).raw_prediction_heads
        if self.trains_heads_alone and not has_heads:
            raise ValueError("trains: heads needs raw_prediction_heads, and a model in init_from")
        return self

    def model_for(self, compressed_symbol_count: int) -> ModelConfig:
        """The model for data whose compressor has that many symbols (0: bytes alone).

        What the mixing can never show is not in its vocabulary.
        """
        if compressed_symbol_count and not self._shows_compressed:
            compressed_symbol_count = 0
        vocabulary = vocabulary_size(compressed_symbol_count)
        return self.model.build({"vocabulary_size": vocabulary, "sentinels": self.mixing.sentinels})

    @property
    def trains_heads_alone(self) -> bool:
        """Whether everything but the raw heads stays as it is."""
        return self.trains == "heads"

    @property
    def _shows_compressed(self) -> bool:
        return mixture_numbers(self.mixing, self.total_steps).shows_compressed

    @property
    def context(self) -> int:
        """Symbols per packed context."""
        return self.model_for(0).context

    @property
    def contexts_per_step(self) -> int:
        """Packed contexts in one update."""
        return self.symbols_per_step // self.context

    @property
    def total_steps(self) -> int:
        """Updates in the run, as far as the data lasts."""
        return self.length.total_steps(self.symbols_per_step)

    def resolved(self) -> Self:
        """The same run with the preset's sizes spelled out, as it is saved in the run folder.

        How ranks share its work is left out.
        """
        sizes = self.model_for(0).model_dump(mode="json", exclude=set(DERIVED_KEYS))
        spelled_out = {"model": ExplicitModel(sizes=sizes)}
        return self.without_parallel().model_copy(update=spelled_out)

    def hash(self) -> str:
        """Names everything that is configured; kept in every checkpoint.

        An object of the user's own enters it by its fingerprint and by the numbers that it gives,
        so that one that has changed is noticed even where its fingerprint has not. So does a rate
        that varies: earlier versions drew other data from the same settings.

        Raises:
            UsageError: such an object gives numbers that cannot be, or is not at hand.
        """
        values = self.resolved().model_dump(mode="json")
        numbers = mixture_numbers(self.mixing, self.total_steps)
        if not self.mixing.has_own_objects and not numbers.rate_varies.any():
            return fingerprint_of(values)
        return fingerprint_of(values, numbers.fingerprint)


def _refuse_derived(values: dict[str, Any]) -> None:
    for key in DERIVED_KEYS:
        if key in values:
            raise UsageError(f"model: {key} follows from the data and its mixing; leave it out")
