"""One problem of a code benchmark, and a benchmark as a list of them with its stop rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace

from proxylm.errors import DataError, UsageError
from proxylm.fingerprint import fingerprint_of
from proxylm.sandbox.source_names import with_helpers
from proxylm.sandbox.verdict import DEFAULT_RESULT_BYTES, Submission


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A prompt to continue, and how a continuation is judged.

    Attributes:
        task_id: the benchmark's own name, such as ``HumanEval/7``.
        prompt: what the model is given; it begins the program that is run.
        solution: the canonical continuation of the prompt.
        entry_point: the function under test.
        test: trusted source of the test.
        base_test: that of EvalPlus's base inputs alone, where ``test`` has more.
        timeout_s: wall-clock seconds for the program and its test.
        max_result_bytes: what one result of the function may take on its way to the test.
    """

    task_id: str
    prompt: bytes
    solution: bytes
    entry_point: str
    test: str
    timeout_s: float
    max_result_bytes: int = DEFAULT_RESULT_BYTES
    base_test: str | None = None

    def submission(self, completion: bytes) -> Submission:
        """The program that a completion makes of the prompt, to be judged.

        As bytes, as they were generated: what is not UTF-8 is judged as it is, invalid. Helpers
        that the prompt defines for the test are the test's own, whatever the program makes of them.
        """
        prompt = self.prompt.decode(errors="replace")
        return Submission(
            program=self.prompt + completion,
            test=with_helpers(prompt, self.test, self.entry_point),
            entry_point=self.entry_point,
            timeout_s=self.timeout_s,
            max_result_bytes=self.max_result_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """Problems in the order of their file, and where a continuation ends.

    Attributes:
        name: as on the command line.
        problems: each ``task_id`` once.
        stop: byte strings before which a continuation ends.
        origin: where they were read from.
    """

    name: str
    problems: tuple[Problem, ...]
    stop: tuple[bytes, ...]
    origin: str = field(compare=False)

    @property
    def fingerprint(self) -> str:
        """Names the problems whole: what a model is asked, and how its answers are judged."""
        parts = [part for problem in self.problems for part in astuple(problem)]
        return fingerprint_of(*[part for part in parts if part is not None], *self.stop)

    def select(self, *, limit: int | None = None, task_ids: Sequence[str] = ()) -> Benchmark:
        """The benchmark cut down to single problems, or to its first ``limit`` (at least 1).

        A task may be named whole (``HumanEval/7``) or by what follows its last slash (``7``).

        Raises:
            UsageError: there is no such problem.
        """
        problems = self.problems
        if task_ids:
            problems = tuple(self._problem(task_id) for task_id in dict.fromkeys(task_ids))
        return replace(self, problems=problems[:limit])

    def _problem(self, task_id: str) -> Problem:
        for problem in self.problems:
            if task_id in (problem.task_id, problem.task_id.rpartition("/")[2]):
                return problem
        first, last = self.problems[0].task_id, self.problems[-1].task_id
        raise UsageError(f"{self.name} has no problem '{task_id}' (it has {first} … {last})")


def data_identity(forms: Sequence[Benchmark]) -> dict[str, str | int]:
    """What a result says of its data: plain values.

    Args:
        forms: all forms of the same problems, the first of them the plain one.
    """
    return {
        "file": forms[0].origin,
        "problems": len(forms[0].problems),
        "fingerprint": fingerprint_of(*[form.fingerprint for form in forms]),
    }


FAMILIES = ("humaneval", "mbpp")
"""What a released problem's ``task_id`` begins with, in lower case."""


def benchmark_of(
    name: str,
    problems: Sequence[Problem],
    stop: tuple[bytes, ...],
    *,
    family: str,
    origin: str,
) -> Benchmark:
    """A benchmark of problems that were read from ``origin``.

    Args:
        name: the benchmark's.
        problems: in order.
        stop: byte strings before which a continuation ends.
        family: out of ``FAMILIES``, the one whose problems are expected. Names of the user's own
            belong to any; another family's would have other stop strings and other types of
            arguments.
        origin: the file.

    Raises:
        DataError: there is no problem, two have the same name, one has no solution to measure, or
            is of another family.
    """
    if not problems:
        raise DataError(f"{origin}: holds no problem")
    seen: set[str] = set()
    for problem in problems:
        if problem.task_id in seen:
            raise DataError(f"{origin}: {problem.task_id} is there twice")
        prefix = problem.task_id.partition("/")[0].lower()
        if prefix != family and prefix in FAMILIES:
            raise DataError(f"{origin}: {problem.task_id} is not {family}'s; is it the right file?")
        if not problem.solution:
            raise DataError(f"{origin}: {problem.task_id}: its canonical solution is empty")
        seen.add(problem.task_id)
    return Benchmark(name=name, problems=tuple(problems), stop=stop, origin=origin)
