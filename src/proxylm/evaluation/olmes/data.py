"""OLMES's questions and shots, in files of the published data sets' records.

``FOLDER/TASK.jsonl`` has the questions, ``FOLDER/TASK.shots.jsonl`` the solved examples that stand
before each of them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, PositiveInt

from proxylm.config import Config
from proxylm.errors import DataError, UsageError
from proxylm.evaluation.benchmarks.records import read_records
from proxylm.evaluation.olmes.tasks import TASKS, OlmesTask, Question
from proxylm.fingerprint import fingerprint_of

SAMPLED_QUESTIONS, SAMPLE_SEED = 1000, 1234
"""How many questions of a larger set OLMES takes, and with which seed of Python's generator."""


class OlmesSettings(Config):
    """What is asked.

    Attributes:
        data: a folder of TASK.jsonl and TASK.shots.jsonl.
        tasks: only this task; may be given repeatedly. (default: all nine)
        shots: solved examples before each question; OLMES has five.
        limit: only the first so many of the questions that OLMES takes of each task.
    """

    data: Path
    tasks: tuple[str, ...] = ()
    shots: int = Field(default=5, ge=0)
    limit: PositiveInt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskData:
    """A task's questions and the shots before each.

    Attributes:
        task: how they are asked.
        questions: those that are asked.
        shots: solved examples.
    """

    task: OlmesTask
    questions: list[Question]
    shots: list[Question]

    @property
    def fingerprint(self) -> str:
        """Of all questions and shots."""
        return fingerprint_of([[*one] for one in (*self.shots, *self.questions)])


def read_tasks(settings: OlmesSettings) -> list[TaskData]:
    """Read the files of all tasks that are asked for.

    Raises:
        UsageError: there is no such task.
        DataError: a file is missing or damaged, a record is not one of the task's, or there are
            too few shots; names file and record.
    """
    unknown = [name for name in settings.tasks if name not in TASKS]
    if unknown:
        raise UsageError(f"OLMES has no task '{unknown[0]}'; there are: {', '.join(TASKS)}")
    names = dict.fromkeys(settings.tasks or TASKS)
    return [_read_task(TASKS[name], settings) for name in names]


def _read_task(task: OlmesTask, settings: OlmesSettings) -> TaskData:
    questions = _read_questions(settings.data / f"{task.name}.jsonl", task)
    if task.sampled and len(questions) > SAMPLED_QUESTIONS:
        questions = random.Random(SAMPLE_SEED).sample(questions, SAMPLED_QUESTIONS)
    shots = []
    if settings.shots:
        path = settings.data / f"{task.name}.shots.jsonl"
        shots = _read_questions(path, task)[: settings.shots]
        if len(shots) < settings.shots:
            raise DataError(
                f"{path}: has {len(shots)} shots of {settings.shots}; add some, or ask for fewer"
            )
    return TaskData(task=task, questions=questions[: settings.limit], shots=shots)


def _read_questions(path: Path, task: OlmesTask) -> list[Question]:
    questions = []
    for number, record in enumerate(read_records(path), start=1):
        try:
            questions.append(_checked(task.read(record.fields)))
        except DataError as error:
            raise DataError(f"{path}: record {number} is none of {task.name}: {error}") from None
    if not questions:
        raise DataError(f"{path}: has no record")
    return questions


def _checked(question: Question) -> Question:
    if len(question.choices) < 2 or not all(question.choices):
        raise DataError("it has fewer than two choices, or an empty one")
    if not 0 <= question.answer < len(question.choices):
        raise DataError("its answer is none of the choices")
    return question
