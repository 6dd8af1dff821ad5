"""Everything generated and judged three times over: the same completions, the same verdicts."""

from __future__ import annotations

import tarfile
from collections import Counter
from pathlib import Path

import pytest
import xxhash

from benchmark_data import full_data, need_sandbox
from oracle_models import ReplayModel, problems_of
from proxylm.evaluation.answers.options import SamplingPlan
from proxylm.evaluation.answers.run import Answering
from proxylm.evaluation.answers.samples import Conditions
from proxylm.evaluation.answers.writers import BytesWriter
from proxylm.evaluation.benchmarks.catalog import load_benchmark
from proxylm.evaluation.benchmarks.problem import Problem
from proxylm.evaluation.recode.evaluation import recode_conditions
from proxylm.evaluation.recode.folder import load_recode
from proxylm.sandbox import Status

# What a model may write, by a number that the prompt gives; beyond these, the right answer.
ANSWERS = {
    0: b"    raise NotImplementedError\n",
    1: b"    while True:\n        pass\n",
    2: b"    return \xff\xfe\n",
    3: b"    import os\n    os._exit(0)\n",
    4: b"    return None\n",
    5: b"  return 1\n",
}

FILES = {"humaneval-plus": "HumanEvalPlus.jsonl.gz", "mbpp-plus": "MbppPlus.jsonl.gz"}


def answer(problem: Problem) -> bytes:
    """Mostly right; one in a hundred of each of ``ANSWERS``."""
    body = ANSWERS.get(xxhash.xxh3_64_intdigest(problem.prompt) % 100)
    if body is None:
        return problem.solution
    goes_on_inside_the_function = problem.solution.lstrip(b"\n")[:1].isspace()
    head = b"" if goes_on_inside_the_function else f"def {problem.entry_point}(*_):\n".encode()
    return head + body


def conditions_of(name: str, folder: Path) -> Conditions:
    if name == "recode":
        return recode_conditions(load_recode(full_data("recode-humaneval.tar.xz"), seeds=1))
    if name == "mbpp":
        with tarfile.open(full_data("recode-humaneval.tar.xz")) as archive:
            archive.extract("nominal/mbpp_wtest.jsonl", folder, filter="data")
        return {"plain": load_benchmark(name, folder / "nominal/mbpp_wtest.jsonl")}
    file = full_data(FILES[name]) if name in FILES else None
    return {"plain": load_benchmark(name, file)}


@pytest.mark.long
@pytest.mark.timeout(3 * 3600)
@pytest.mark.parametrize("name", ["humaneval", "humaneval-plus", "mbpp", "mbpp-plus", "recode"])
def test_three_runs_of_everything_agree(name: str, tmp_path: Path) -> None:
    need_sandbox()
    conditions = conditions_of(name, tmp_path)
    model = ReplayModel(problems_of(conditions), answer)
    first, *others = [
        Answering(
            plan=SamplingPlan(), folder=tmp_path / str(number), execute=True, workers=workers
        ).run(BytesWriter(model), conditions)
        for number, workers in enumerate((2, 3, 2))
    ]
    statuses = Counter(judged.status for judged in first.verdicts or ())
    print(name, dict(statuses))
    assert set(statuses) == {status.value for status in Status}
    for other in others:
        assert other.samples == first.samples
        assert other.verdicts == first.verdicts
        assert other.base_verdicts == first.base_verdicts
