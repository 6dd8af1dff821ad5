"""Models as the passes see them: ours, and whatever else gives logits for ids.

A pass asks for the *states* that a model has before each symbol, then for what the states before
the scored symbols say of these. For our models the states are hidden ones, so that logits exist
for scored symbols alone; any other model's states are its logits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from proxylm.errors import DamagedWeightsError, DataError, UsageError
from proxylm.models.cross_entropy import Ranges, chunked_cross_entropy
from proxylm.models.formats import Region
from proxylm.models.language_model import LanguageModel
from proxylm.models.stored_matrices import product
from proxylm.ranks import ALONE, Ranks
from proxylm.symbols import Format

BITS_PER_NAT = 1.0 / np.log(2.0)

OTHERS_CONTEXT = 2048
"""Most input symbols of a pass of a model that is not ours, unless it has room for fewer."""

LogitsFunction = Callable[[Tensor], Any]
"""From ids int64 ``[B, N]`` to logits ``[B, N, V]`` (torch or numpy), as they are or under
``.logits``; those at a place depend on the ids up to it alone."""


States = Float[Tensor, "symbol state"]
"""What a model knows before each of some symbols."""
Targets = Int64[Tensor, " symbol"]
"""Their ids."""
Bits = Float64[np.ndarray, " symbol"]


class Predictor(ABC):
    """A model that says how probable the next symbol is.

    Attributes:
        context: most input symbols of a pass, unless the caller says otherwise.
        device: where it computes.
        vocabulary_size: ids are below it; None where that is unknown.
        batch_symbols: input symbols computed at a time; a matter of speed alone.
        workers: passes that may be computed at the same time.
        module: what has to be in evaluation mode; None where the model is a plain function.
        ranks: those that share the passes, each of them with its part of the model.
    """

    ranks: Ranks = ALONE

    context: int
    device: torch.device
    vocabulary_size: int | None
    batch_symbols: int
    workers: int
    module: nn.Module | None

    @abstractmethod
    def states(self, ids: Int64[Tensor, "row symbol"]) -> Float[Tensor, "row symbol state"]:
        """What is known after each symbol, of those up to it."""

    @abstractmethod
    def bits(self, states: States, targets: Targets) -> Bits:
        """``-log2 p`` of each target given the state before it.

        Raises:
            ProxylmError: they are no numbers.
        """

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode without gradients; each module's mode comes back afterwards."""
        module = self.module or nn.Identity()
        were_training = [one for one in module.modules() if one.training]
        module.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for one in were_training:
                one.training = True


class OurPredictor(Predictor):
    """A ``LanguageModel``, by the distribution that its head 0 was trained for.

    That is a softmax over the whole vocabulary, or with ``softmax: by_format`` over what can
    follow inside the targets' format.
    """

    batch_symbols = 8192

    def __init__(self, model: LanguageModel, ranks: Ranks = ALONE) -> None:
        self._model = self.module = model
        self.ranks = ranks
        self.context = model.config.context
        self.vocabulary_size = model.config.vocabulary_size
        self.device = model.lm_head.weight.device
        # A divided model is gathered in every pass, which only one thread can ask for.
        in_threads = self.device.type == "cpu" and ranks.is_alone
        self.workers = torch.get_num_threads() if in_threads else 1

    def states(self, ids: Int64[Tensor, "row symbol"]) -> Float[Tensor, "row symbol state"]:
        """See the base class."""
        return self._model.hidden(ids)

    def bits(self, states: States, targets: Targets) -> Bits:
        """See the base class; all targets are of one format.

        Raises:
            DamagedWeightsError: the bits are no numbers.
        """
        config = self._model.config
        ranges: Ranges = [(0, config.vocabulary_size)]
        if config.normalizes_by_format:
            ranges = self._ranges(targets)
        scales = torch.ones(len(targets), device=states.device)
        weight = self._model.lm_head.weight[: config.vocabulary_size].to(states.dtype)
        nats = chunked_cross_entropy(states, weight, targets, scales, ranges)[1]
        bits = nats.double().cpu().numpy() * BITS_PER_NAT
        if not np.isfinite(bits).all():
            raise DamagedWeightsError
        return bits

    def are_largest(self, states: States, targets: Targets) -> bool:
        """Whether greedy decoding inside the targets' format would write each of them."""
        weight = self._model.lm_head.weight
        largest = torch.full_like(states[:, 0], -torch.inf)
        chosen = torch.full_like(targets, -1)
        for start, end in self._ranges(targets):
            values, places = product(states, weight[start:end]).max(dim=1)
            chosen = torch.where(values > largest, places + start, chosen)
            largest = torch.maximum(values, largest)
        return bool((chosen == targets).all())

    def _ranges(self, targets: Tensor) -> Ranges:
        raw = int(targets[0]) < Format.COMPRESSED.offset
        region = Region.RAW if raw else Region.COMPRESSED
        return region.ranges(self._model.config.vocabulary_size)


class LogitsPredictor(Predictor):
    """Any callable that gives logits: a ``transformers`` model, or a function of one's own.

    What a module's ``config`` says of its vocabulary and of its room for positions is believed.
    """

    batch_symbols = OTHERS_CONTEXT
    workers = 1

    def __init__(self, model: LogitsFunction) -> None:
        self._model = model
        config = getattr(model, "config", None)
        self.vocabulary_size = getattr(config, "vocab_size", None)
        self.room = getattr(config, "max_position_embeddings", None)
        self.context = min(OTHERS_CONTEXT, self.room or OTHERS_CONTEXT)
        self.module = model if isinstance(model, nn.Module) else None
        parameter = next(self.module.parameters(), None) if self.module else None
        self.device = torch.device("cpu") if parameter is None else parameter.device

    def states(self, ids: Int64[Tensor, "row symbol"]) -> Float[Tensor, "row symbol state"]:
        """The logits.

        Raises:
            UsageError: the model gives none, or too many ids for its positions were asked for.
        """
        if self.room is not None and ids.shape[1] > self.room:
            raise UsageError(f"context: the model has {self.room} positions, not {ids.shape[1]}")
        output = self._model(ids)
        logits = getattr(output, "logits", output)
        if isinstance(logits, np.ndarray):
            logits = torch.from_numpy(logits)
        if not isinstance(logits, Tensor) or not logits.is_floating_point():
            raise UsageError(f"the model gives no logits for ids, but {type(output).__name__}")
        if logits.dim() != 3 or logits.shape[:2] != ids.shape:
            raise UsageError(
                f"the model gives logits of shape {list(logits.shape)} for ids of shape "
                f"{list(ids.shape)}, not [B, N, V]"
            )
        return logits

    def bits(self, states: States, targets: Targets) -> Bits:
        """See the base class.

        Raises:
            UsageError: the logits are of fewer ids than the documents have.
            DataError: the model's logits are no numbers, or give a symbol no probability.
        """
        size = states.shape[-1]
        if (largest := int(targets.max())) >= size:
            raise UsageError(
                f"id {largest} stands in a document, and the model gives logits of {size} ids: "
                "it reads documents in another way (read_as)"
            )
        exact = states if states.dtype == torch.float64 else states.float()
        wanted = exact.gather(1, targets.to(exact.device)[:, None])[:, 0]
        bits = (exact.logsumexp(dim=-1) - wanted).double().cpu().numpy() * BITS_PER_NAT
        if not np.isfinite(bits).all():
            raise DataError("the model's logits are no numbers, or give a symbol no probability")
        return bits
