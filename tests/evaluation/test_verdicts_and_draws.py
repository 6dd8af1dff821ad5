"""One set of completions with two verdicts, and greedy pass@1 beside sampled pass@10."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmark_data import DATA, HUMANEVAL, need_sandbox
from oracle_models import WRONG, ReplayModel
from proxylm.cli.evaluation_tables import code_rows
from proxylm.errors import UsageError
from proxylm.evaluation.answers import judging
from proxylm.evaluation.answers.options import EvaluationSettings, Sampling, SamplingPlan
from proxylm.evaluation.answers.run import Answering
from proxylm.evaluation.answers.writers import BytesWriter, Draws
from proxylm.evaluation.benchmarks.humaneval import load_humaneval
from proxylm.evaluation.benchmarks.plus import load_humaneval_plus, load_mbpp_plus
from proxylm.evaluation.benchmarks.problem import Problem
from proxylm.evaluation.code_generation import evaluate_code
from proxylm.generation.decoding import Completion
from proxylm.generation.decoding_row import Finish

PLUS = load_humaneval_plus(DATA / "HumanEvalPlus.jsonl").select(task_ids=["53", "32"])
RIGHT_ON_BASE_INPUTS = b"    return x + y if max(abs(x), abs(y)) < 4 else 0\n"


def answer(problem: Problem) -> bytes:
    """Right on all inputs of the one problem, on the base inputs alone of the other."""
    return RIGHT_ON_BASE_INPUTS if problem.task_id == "HumanEval/53" else problem.solution


def test_base_and_plus_are_verdicts_of_the_same_completions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_sandbox()
    model = ReplayModel(PLUS.problems, answer)
    job = Answering(plan=SamplingPlan(), folder=tmp_path, execute=True)
    report = evaluate_code(BytesWriter(model), PLUS, job)
    assert model.asked == 2, "one completion of each problem"
    assert (report.base_pass_at, report.pass_at) == ({"1": 1.0}, {"1": 0.5})
    assert report.base_statuses == {"passed": 2}
    assert report.statuses == {"passed": 1, "failed": 1}
    rows = dict(row for row in code_rows(report) if len(row) == 2)
    assert (rows["pass@1 %, base"], rows["pass@1 %, plus"]) == ("100.0", "50.0")
    assert "pass@1 %" not in rows
    written = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    conditions = [(line["condition"], line["task_id"]) for line in written]
    # What passes all tests is not run again.
    assert sorted(conditions) == [
        ("plain", "HumanEval/32"),
        ("plain", "HumanEval/53"),
        ("plain/base", "HumanEval/53"),
    ]
    monkeypatch.setattr(judging, "check_many", lambda jobs, **_: iter(assert_none(jobs)))
    assert evaluate_code(BytesWriter(model), PLUS, job) == report


def assert_none(jobs: object) -> list[object]:
    assert list(jobs) == []  # type: ignore[call-overload]
    return []


def test_mbpp_has_base_tests_of_its_own_inputs() -> None:
    for problem in load_mbpp_plus(DATA / "MbppPlus.jsonl").problems:
        assert problem.base_test is not None and problem.base_test != problem.test
        compile(problem.base_test, "test", "exec")
    assert {one.base_test for one in load_humaneval(HUMANEVAL).problems} == {None}


class Drawing(BytesWriter):
    """Greedy it is wrong; of its samples every fourth is right."""

    def answer(self, problems: Sequence[Problem], draws: Draws) -> list[Completion]:
        drawn = draws.plan.temperature > 0
        texts = [
            problem.solution if drawn and number % 4 == 0 else WRONG
            for number, problem in enumerate(problems)
        ]
        return [Completion(data=text, finish=Finish.END) for text in texts]


def test_a_sampled_pass_at_1_is_not_the_greedy_one(tmp_path: Path) -> None:
    need_sandbox()
    benchmark = load_humaneval(HUMANEVAL).select(limit=1)
    settings = EvaluationSettings(sampling=Sampling(samples=20))
    assert settings.sampled is not None
    assert (settings.sampled.temperature, settings.sampled.top_p) == (0.2, 0.95)
    assert (settings.greedy.samples, settings.greedy.temperature) == (1, 0.0)
    greedy, sampled = (
        Answering(plan=plan, folder=tmp_path / str(number), execute=True)
        for number, plan in enumerate((settings.greedy, settings.sampled))
    )
    writer = Drawing(ReplayModel(benchmark.problems))
    report = evaluate_code(writer, benchmark, greedy, sampled)
    assert (report.samples, report.pass_at, report.statuses) == (1, {"1": 0.0}, {"failed": 1})
    assert report.sampled is not None
    assert (report.sampled.samples, report.sampled.temperature) == (20, 0.2)
    assert report.sampled.statuses == {"passed": 5, "failed": 15}
    assert report.sampled.pass_at is not None
    assert report.sampled.pass_at["1"] == 0.25 and report.sampled.pass_at["10"] > 0.9
    rows = dict(row for row in code_rows(report) if len(row) == 2)
    assert rows["pass@1 %"] == "0.0"
    assert rows["pass@1 % of 20 samples at 0.2"] == "25.0"
    assert "pass@10 %" not in rows and "pass@10 % of 20 samples at 0.2" in rows


def test_drawing_options_go_with_samples() -> None:
    with pytest.raises(UsageError, match="--top-p is of what --samples draws"):
        Sampling(top_p=0.5)
    with pytest.raises(UsageError, match="--k 10: must be between 1 and --samples 5"):
        EvaluationSettings(sampling=Sampling(samples=5), ks=(10,))
    assert EvaluationSettings().sampled is None
