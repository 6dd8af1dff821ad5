"""Everything generated and judged three times over: the same completions, the same verdicts."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
import xxhash

from benchmark_data import full_data, need_sandbox
from oracle_models import ReplayModel, problems_of
from proxylm.evaluation.benchmarks.catalog import load_benchmark
from proxylm.evaluation.benchmarks.problem import Benchmark, Problem
from proxylm.evaluation.execution import Status
from proxylm.evaluation.generation.job import GenerationJob
from proxylm.evaluation.generation.options import SamplingPlan
from proxylm.evaluation.generation.writers import BytesWriter
from proxylm.evaluation.recode.evaluation import recode_conditions
from proxylm.evaluation.recode.folder import load_recode

# What a model may write, by a number that the prompt gives; beyond these, the right answer.
ANSWERS = {
    0: b"    raise NotImplementedError\n",
    1: b"    while True:\n        pass\n",
    2: b"    return \xff\xfe\n",
    3: b"    import os\n    os._exit(0)\n",
    4: b"    return None\n",
    5: b"  return 1\n",
}


def answer(problem: Problem) -> bytes:
    """Mostly right; one in a hundred of each of ``ANSWERS``, in prompts that end in a function."""
    number = xxhash.xxh3_64_intdigest(problem.prompt) % 100
    return ANSWERS.get(number, problem.solution)


def everything(folder: Path) -> dict[str, Benchmark]:
    with tarfile.open(full_data("recode-humaneval.tar.xz")) as archive:
        archive.extract("nominal/mbpp_wtest.jsonl", folder, filter="data")
    return {
        "humaneval": load_benchmark("humaneval", None),
        "humaneval-plus": load_benchmark("humaneval-plus", full_data("HumanEvalPlus.jsonl.gz")),
        "mbpp": load_benchmark("mbpp", folder / "nominal/mbpp_wtest.jsonl"),
        "mbpp-plus": load_benchmark("mbpp-plus", full_data("MbppPlus.jsonl.gz")),
        **recode_conditions(load_recode(full_data("recode-humaneval.tar.xz"), seeds=1)),
    }


@pytest.mark.long
@pytest.mark.timeout(3 * 3600)
def test_three_runs_of_everything_agree(tmp_path: Path) -> None:
    need_sandbox()
    conditions = everything(tmp_path)
    model = ReplayModel(problems_of(conditions), answer)
    runs = [
        GenerationJob(
            plan=SamplingPlan(), folder=tmp_path / str(workers), execute=True, workers=workers
        ).run(BytesWriter(model), conditions)
        for workers in (2, 3, 2)
    ]
    statuses = runs[0].statuses()
    print(dict(statuses))
    assert set(statuses) == {status.value for status in Status}
    assert runs[1].samples == runs[0].samples == runs[2].samples
    assert runs[1].verdicts == runs[0].verdicts == runs[2].verdicts
