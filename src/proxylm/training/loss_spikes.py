"""Loss spikes: which step is one, and what a run does about it.

A step after the first is a spike where its loss or gradient is not finite, or where its loss is
more than ``deviations`` standard deviations (of at least a hundredth of the mean) above the mean of
the last ``window`` losses that were none, once there are so many. Its update is not made. With
``roll_back`` weights and optimizer are besides those of the newest checkpoint again. Either way the
run goes on with the next step's contexts: none is shown twice, and the learning rate goes on, too.
The losses that are compared are part of a run's state, so that a run that was stopped goes on
alike; only a roll back may then take the checkpoint that the stop has written.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from proxylm.config import Config

LEAST_DEVIATION = 0.01
"""Of the mean: losses that hardly differ would make a spike of anything."""


class LossSpikes(Config):
    """What is done about steps whose loss jumps up; the module says which those are.

    Attributes:
        then: ``skip`` the update, or ``roll_back`` to the newest checkpoint as well.
        window: losses that a step is compared with.
        deviations: standard deviations above their mean that are still none.
        at_most: spikes in a row, after which the run has diverged.
    """

    then: Literal["skip", "roll_back"] = "skip"
    window: Annotated[int, Field(ge=2)] = 64
    deviations: PositiveFloat = 6.0
    at_most: PositiveInt = 5

    def has(self, loss: float, grad_norm: float, before: Sequence[float]) -> bool:
        """Whether a step is a spike, after steps with the losses ``before``, which were none.

        >>> LossSpikes(window=2).has(3.0, 1.0, [2.0, 2.1])
        True
        >>> LossSpikes(window=2).has(2.2, 1.0, [2.0, 2.1])
        False
        """
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            return len(before) > 0
        if len(before) < self.window:
            return False
        mean = statistics.fmean(before)
        deviation = max(statistics.pstdev(before), LEAST_DEVIATION * mean)
        return loss > mean + self.deviations * deviation

    def losses_after(self, before: Sequence[float], loss: float) -> tuple[float, ...]:
        """What the next step is compared with, after one that was no spike."""
        return (*before, loss)[-self.window :]
