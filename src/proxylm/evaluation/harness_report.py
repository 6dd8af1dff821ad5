"""What lm-evaluation-harness found; apart from it, because the harness is an extra."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HarnessReport:
    """What the harness found.

    Attributes:
        read_as: ``bytes`` or ``tokens``.
        num_fewshot: examples in each prompt; None is each task's own number.
        tasks: by task its metrics (``acc``, ``acc_norm``, …) and ``documents``.
        average: mean of the tasks' main metrics (``acc_norm`` where there is one, else ``acc``);
            None if a task has neither.
    """

    read_as: str
    num_fewshot: int | None
    tasks: dict[str, dict[str, float]]
    average: float | None
