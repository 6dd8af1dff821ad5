"""What lm-evaluation-harness found; apart from it, because the harness is an extra."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HarnessReport:
    """What the harness found.

    Attributes:
        read_as: ``bytes`` or ``tokens``.
        prompt_end: what is read of a prompt's end.
        tasks: by task its metrics (``acc``, ``acc_norm``, …), ``documents``, and ``num_fewshot``,
            the examples in each prompt.
        average: mean of the tasks' main metrics (``acc_norm`` where there is one, else ``acc``);
            None if a task has neither, or failed.
        failed: why, by task.
    """

    read_as: str
    prompt_end: str
    tasks: dict[str, dict[str, float]]
    average: float | None
    failed: dict[str, str]
