"""All evaluations in one: what is there is measured, what is not is named with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark_data import HUMANEVAL, RECODE, need_sandbox
from oracle_models import ReplayModel, problems_of
from proxylm.cli.evaluation_tables import everything_rows, number, share
from proxylm.compressors.registry import load_compressor
from proxylm.evaluation.benchmarks.humaneval import load_humaneval
from proxylm.evaluation.everything import Everything, Selection, evaluate_everything
from proxylm.evaluation.generation.job import GenerationJob
from proxylm.evaluation.generation.options import SamplingPlan
from proxylm.evaluation.prompt_boundary import boundary_conditions
from proxylm.evaluation.recode.evaluation import recode_conditions
from proxylm.evaluation.recode.folder import load_recode
from proxylm.inference.byte_model import ByteModel
from small_models import small_model

NOTHING = Selection(benchmarks={})


def no_job(writer: Any, name: str) -> None:
    return None


def test_an_oracle_in_everything(tmp_path: Path) -> None:
    need_sandbox()
    benchmark = load_humaneval(HUMANEVAL).select(limit=1)
    known = [
        *benchmark.problems,
        *problems_of(boundary_conditions(benchmark)),
        *problems_of(recode_conditions(load_recode(RECODE, seeds=1))),
    ]

    def job(writer: Any, name: str) -> GenerationJob:
        return GenerationJob(plan=SamplingPlan(), folder=tmp_path / name, execute=True)

    selection = Selection(benchmarks={"humaneval": HUMANEVAL}, recode=RECODE, seeds=1, limit=1)
    everything = evaluate_everything(ReplayModel(known), None, None, selection, job)
    result = everything.to_json()
    assert result["humaneval"]["bytes"]["pass_at"] == {"1": 1.0}
    assert result["prompt-boundary-humaneval"]["bytes"]["pass_at_1"]["mean"] == 1.0
    assert result["recode"]["bytes"]["overall"]["robustness_mean"]["robust_pass"] == 1.0
    rows = everything_rows(everything)
    assert {len(row) for row in rows} == {6}
    assert ["humaneval", "bytes", "pass@1 %", "100.0"] in [row[:4] for row in rows]


def test_what_is_lacking_is_named() -> None:
    model = ByteModel(small_model())
    left_out = evaluate_everything(model, None, None, NOTHING, no_job).left_out
    assert set(left_out) == {
        "held-out bits per byte",
        "tokens",
        "recode",
        "lm-eval",
        "translation",
    }
    selection = Selection(benchmarks={"humaneval": Path("nowhere.jsonl")}, recode=Path("nowhere"))
    foreign = load_compressor("units:bits=16")
    left_out = evaluate_everything(model, None, foreign, selection, no_job).left_out
    assert "cannot be read" in left_out["humaneval"]
    assert "no such file" in left_out["recode (bytes)"]
    assert "has room for 256" in left_out["tokens"]
    assert left_out["translation"] == "HumanEval is not at hand"


def test_our_own_mistakes_are_not_left_out_quietly() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Everything().add("broken", "bytes", broken)


def test_numbers_of_tables() -> None:
    assert (number(None), share(None)) == ("-", "-")
    assert (number(1.23456), share(0.32926829)) == ("1.2346", "32.9")
