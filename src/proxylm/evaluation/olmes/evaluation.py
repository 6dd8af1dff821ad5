"""Accuracy on OLMES's tasks: both forms of each question, the better of both for each task."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from proxylm.errors import DataError
from proxylm.evaluation.likelihood import Bits, Scorer
from proxylm.evaluation.olmes.data import TaskData
from proxylm.evaluation.olmes.tasks import ANSWER, Form, Normalization, Question
from proxylm.progress import TellCount, told, untold

CLOZE, MULTIPLE_CHOICE = "cloze", "multiple choice"
BETWEEN_SHOTS = "\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReport:
    """What came out of one task.

    Attributes:
        questions: how many were asked.
        cloze: accuracy under each normalization.
        normalization: the one that OLMES takes for this task's cloze form.
        multiple_choice: accuracy, by the probabilities of the letters as they are.
        score: the better of the two forms' accuracies.
        form: whose it is; cloze where they are equal.
    """

    questions: int
    cloze: dict[str, float]
    normalization: str
    multiple_choice: float
    score: float
    form: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OlmesReport:
    """What an evaluation found.

    Attributes:
        read_as: ``bytes`` or ``tokens``.
        shots: solved examples before each question.
        tasks: by name.
        average: mean of the tasks' scores.
    """

    read_as: str
    shots: int
    tasks: dict[str, TaskReport]
    average: float


def evaluate_olmes(
    scorer: Scorer, tasks: Sequence[TaskData], *, progress: TellCount = untold
) -> OlmesReport:
    """Measure tasks.

    Args:
        scorer: the model and how it reads.
        tasks: at least one; all with equally many shots.
        progress: hears how many tasks are measured.

    Raises:
        DataError: a compressor has no exact form for a text; names the task.
    """
    reports = {}
    for data in told(tasks, "tasks", progress):
        try:
            reports[data.task.name] = _measured(scorer, data)
        except DataError as error:
            raise DataError(f"{data.task.name}: {error}") from None
    return OlmesReport(
        read_as=scorer.reading.name,
        shots=len(tasks[0].shots),
        tasks=reports,
        average=statistics.fmean(report.score for report in reports.values()),
    )


def _measured(scorer: Scorer, data: TaskData) -> TaskReport:
    cloze_forms = with_shots(data.task.cloze, data)
    letter_forms = with_shots(data.task.multiple_choice, data)
    costs = cloze_costs(scorer, cloze_forms)
    cloze = {name: accuracy(cost, cloze_forms) for name, cost in costs.items()}
    bits = scorer.bits(_prompts(letter_forms), _continuations(letter_forms))
    letters = accuracy(bits, letter_forms)
    by_cloze = cloze[data.task.normalization]
    return TaskReport(
        questions=len(data.questions),
        cloze=cloze,
        normalization=data.task.normalization,
        multiple_choice=letters,
        score=max(by_cloze, letters),
        form=CLOZE if by_cloze >= letters else MULTIPLE_CHOICE,
    )


def with_shots(ask: Callable[[Question], Form], data: TaskData) -> list[Form]:
    """Each question in one form, the solved shots in the same form before it."""
    before = "".join(ask(shot).solved + BETWEEN_SHOTS for shot in data.shots)
    forms = [ask(question) for question in data.questions]
    return [form._replace(prompts=[before + prompt for prompt in form.prompts]) for form in forms]


def cloze_costs(scorer: Scorer, forms: Sequence[Form]) -> dict[str, Bits]:
    """What each choice of all questions costs under each normalization; the lowest is chosen.

    Returns:
        By normalization float64 ``[choices of all questions]``: bits, bits per character or per
        symbol, or the bits that the question saves of the choice's, negative.
    """
    continuations = _continuations(forms)
    read = [scorer.reading.read(one).ids for one in continuations]
    bits = scorer.bits(_prompts(forms), continuations)
    alone = scorer.bits([ANSWER.encode()] * len(continuations), continuations)
    return {
        Normalization.NONE: bits,
        Normalization.CHARACTER: bits / [len(one.decode()) for one in continuations],
        Normalization.SYMBOL: bits / [len(ids) for ids in read],
        Normalization.PMI: bits - alone,
    }


def accuracy(costs: Bits, forms: Sequence[Form]) -> float:
    """Share of questions whose right choice costs least; of equal ones the first is chosen."""
    ends = np.cumsum([len(form.continuations) for form in forms])
    chosen = [int(one.argmin()) for one in np.split(costs, ends[:-1])]
    return sum(one == form.answer for one, form in zip(chosen, forms, strict=True)) / len(forms)


def _prompts(forms: Sequence[Form]) -> list[bytes]:
    return [one.encode() for form in forms for one in form.prompts]


def _continuations(forms: Sequence[Form]) -> list[bytes]:
    return [one.encode() for form in forms for one in form.continuations]
