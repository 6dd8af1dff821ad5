"""lm-evaluation-harness on our models, read as bytes or as tokens.

The harness finds only models that its own command line knows, so its tasks are run from here
(``proxylm evaluate lm-eval``). Its requests are texts; they are scored by the same passes as
everything else. Context and continuation are compressed separately where tokens are read.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import random
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager

from proxylm.errors import DataError, ProxylmError, UsageError, one_line
from proxylm.evaluation.answers.options import Budget, SamplingPlan
from proxylm.evaluation.answers.writers import Draws, PromptWriter
from proxylm.evaluation.harness_report import HarnessReport
from proxylm.progress import TellCount, told, untold

OLMES_TASKS = (
    "arc_challenge",
    "arc_easy",
    "boolq",
    "commonsense_qa",
    "hellaswag",
    "openbookqa",
    "piqa",
    "social_iqa",
    "winogrande",
)
"""The nine tasks of the paper's Table 16, under the harness's names."""

RANDOM_SEED, OTHER_SEEDS = 0, 1234
"""The harness's own, of Python's generator, and of NumPy's and the choice of examples."""

TASK_FILE_ENDINGS = (".yaml", ".yml")
DEFAULT_MAX_SYMBOLS = 256
BYTES_PER_SYMBOL = 4
MAIN_METRICS = ("acc_norm", "acc")
"""The first of these that a task reports is the one that the average takes."""


class HarnessModel(LM):
    """A model as the harness asks it: log-likelihoods, and continuations until a string."""

    def __init__(self, writer: PromptWriter, progress: TellCount = untold) -> None:
        super().__init__()
        self._writer = writer
        self._scorer = writer.scorer.telling(progress)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Natural log of each continuation's probability, and whether greedy writes it."""
        prompts, continuations = (
            [request.args[place].encode() for request in requests] for place in (0, 1)
        )
        bits, greedy = self._scorer.bits_and_greediness(prompts, continuations)
        return [
            (-float(one) * math.log(2), bool(same)) for one, same in zip(bits, greedy, strict=True)
        ]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Natural log of each whole text's probability, in strided windows."""
        texts = [request.args[0].encode() for request in requests]
        bits = self._scorer.bits([b""] * len(texts), texts)
        return [-float(one) * math.log(2) for one in bits]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Continuations as text; what is not UTF-8 appears as U+FFFD."""
        alike: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            alike.setdefault(json.dumps(request.args[1], sort_keys=True), []).append(index)
        texts: dict[int, str] = {}
        for options, indices in alike.items():
            prompts = [requests[index].args[0].encode() for index in indices]
            texts |= dict(
                zip(indices, self._continued(prompts, json.loads(options), indices), strict=True)
            )
        return [texts[index] for index in range(len(requests))]

    def _continued(
        self, prompts: list[bytes], options: dict[str, Any], samples: list[int]
    ) -> list[str]:
        symbols = int(options.get("max_gen_toks", DEFAULT_MAX_SYMBOLS))
        sampled = bool(options.get("do_sample", False))
        plan = SamplingPlan(
            temperature=float(options.get("temperature", 1.0)) if sampled else 0.0,
            top_p=float(options.get("top_p", 1.0)),
            budget=Budget(max_symbols=symbols, max_bytes=BYTES_PER_SYMBOL * symbols),
        )
        until = options.get("until") or []
        texts = [until] if isinstance(until, str) else until
        stop = tuple(text.encode() for text in texts if text)
        draws = Draws(plan=plan, stop=stop, samples=samples)
        completions = self._writer.complete(prompts, draws)
        return [completion.data.decode("utf-8", "replace") for completion in completions]


@dataclass(frozen=True, slots=True)
class HarnessTasks:
    """Tasks that are there: their names or files, and the harness's index of tasks."""

    names: tuple[str, ...]
    manager: TaskManager


def find_tasks(tasks: Sequence[str], *, include_path: Path | None = None) -> HarnessTasks:
    """Look tasks up.

    Args:
        tasks: the harness's names, or YAML files of tasks; ``olmes`` stands for ``OLMES_TASKS``.
        include_path: a folder with further tasks.

    Raises:
        UsageError: a task is unknown.
        DataError: a file below ``include_path`` is not a task.
    """
    names = [name for task in tasks for name in (OLMES_TASKS if task == "olmes" else (task,))]
    for name in names:
        if name.endswith(TASK_FILE_ENDINGS) and not _is_file(name):
            raise UsageError(f"{name}: no such file")
    with _one_line_errors(f"tasks of {include_path or 'lm-evaluation-harness'}"):
        manager = TaskManager(
            include_path=None if include_path is None else str(include_path),
            # Reading the harness's thousands of task files takes a while.
            include_defaults=not all(map(_is_file, names)),
        )
    unknown = [name for name in names if name not in manager.all_tasks and not _is_file(name)]
    if unknown:
        raise UsageError(f"lm-evaluation-harness has no task '{unknown[0]}' (nor is it a file)")
    return HarnessTasks(tuple(dict.fromkeys(names)), manager)


def evaluate_with_harness(
    writer: PromptWriter,
    tasks: HarnessTasks,
    *,
    num_fewshot: int | None = None,
    limit: int | None = None,
    progress: TellCount = untold,
) -> HarnessReport:
    """Run tasks of the harness.

    What failed does not cost the tasks that are done; what cannot be loaded is refused before any.

    Args:
        writer: the model, read as bytes or as tokens.
        tasks: what ``find_tasks`` found.
        num_fewshot: examples in each prompt, but in those of tasks that take none; None leaves it
            to the task.
        limit: only the first so many documents of each task.
        progress: hears how many tasks are measured.

    Raises:
        DataError: a task's data cannot be had, or no task works; it is named.
    """
    loaded = {}
    for name in tasks.names:
        with _at_work(name):
            loaded[name] = _loaded(tasks.manager, name, num_fewshot)
    found: dict[str, dict[str, float]] = {}
    failed: dict[str, str] = {}
    for name, task in told(list(loaded.items()), "tasks", progress):
        try:
            with _at_work(name):
                found |= _measured(HarnessModel(writer, progress), task, limit)
        except DataError as error:
            failed[name] = str(error)
    if not found:
        raise DataError(next(iter(failed.values())))
    return HarnessReport(
        read_as=writer.read_as,
        prompt_end=writer.prompt_end,
        tasks=found,
        average=None if failed else average_of(found),
        failed=failed,
    )


def _measured(
    model: HarnessModel, task: dict[str, Any], limit: int | None
) -> dict[str, dict[str, float]]:
    """A task's metrics, or those of a group's tasks, by task."""
    results = evaluate(lm=model, task_dict=task, limit=limit, bootstrap_iters=0, log_samples=False)
    assert results is not None, "one process gives results"
    return {
        name: {
            **_metrics(values),
            "documents": results["n-samples"][name]["effective"],
            "num_fewshot": results["n-shot"][name],
        }
        for name, values in results["results"].items()
        if name in results["n-samples"]
    }


def _loaded(manager: TaskManager, name: str, num_fewshot: int | None) -> dict[str, Any]:
    """A task, or a group's, as the harness's ``simple_evaluate`` would prepare it.

    That one also describes the machine in its results, which takes it seconds for each call.
    """
    # Some tasks shuffle their documents' choices with these while they are loaded.
    random.seed(RANDOM_SEED)
    np.random.seed(OTHER_SEEDS)
    loaded: dict[str, Any] = manager.load([name])
    for task in loaded["tasks"].values():
        own = task.get_config("num_fewshot")
        if num_fewshot is not None and own != 0:
            task.set_config(key="num_fewshot", value=num_fewshot)
        elif own is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=OTHER_SEEDS)
    return loaded


@contextlib.contextmanager
def _at_work(name: str) -> Iterator[None]:
    """The harness prints, logs and fails in its own ways; stdout is for our result."""
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(sys.stderr), _one_line_errors(f"task '{name}'"):
            yield
    finally:
        logger.setLevel(before)


def _is_file(name: str) -> bool:
    return name.endswith(TASK_FILE_ENDINGS) and Path(name).is_file()


@contextlib.contextmanager
def _one_line_errors(what: str) -> Iterator[None]:
    """Errors of the harness, which are of any class, as one line; those of our model as they are.

    A task is a program in YAML, Jinja and Python, and its data come from anywhere.
    """
    try:
        yield
    except ProxylmError:
        raise
    except Exception as error:
        if any(_is_ours(frame.f_code) for frame, _ in traceback.walk_tb(error.__traceback__)):
            raise
        reason = one_line(error)[:300]
        raise DataError(f"{what}: cannot be used ({type(error).__name__}: {reason})") from None


def _is_ours(code: CodeType) -> bool:
    return code.co_qualname.startswith(f"{HarnessModel.__name__}.")


def _metrics(values: dict[str, Any]) -> dict[str, float]:
    """The harness's ``acc,none`` as ``acc``, without standard errors and names."""
    return {
        key.partition(",")[0]: float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and "," in key and "_stderr" not in key
    }


def average_of(tasks: dict[str, dict[str, float]]) -> float | None:
    """The mean of the tasks' main metrics; None where one has none."""
    main = [
        next((metrics[name] for name in MAIN_METRICS if name in metrics), None)
        for metrics in tasks.values()
    ]
    known = [value for value in main if value is not None]
    return sum(known) / len(known) if known and len(known) == len(main) else None
