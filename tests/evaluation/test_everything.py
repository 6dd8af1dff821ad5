"""All evaluations in one: what is there is measured, what is not is named with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark_data import HUMANEVAL, RECODE, need_sandbox
from oracle_models import ReplayModel, problems_of
from proxylm.checkpoints.run_data import RunData
from proxylm.cli.evaluation_tables import everything_rows
from proxylm.cli.output import number, share
from proxylm.compressors.contract import Compressor
from proxylm.compressors.registry import load_compressor
from proxylm.errors import DamagedWeightsError, ProxylmError, UsageError
from proxylm.evaluation.answers.options import SamplingPlan
from proxylm.evaluation.answers.run import Answering
from proxylm.evaluation.benchmarks.humaneval import load_humaneval
from proxylm.evaluation.everything import (
    HELD_OUT,
    Everything,
    Generation,
    HeldOutReport,
    Selection,
    evaluate_everything,
    read_selection,
)
from proxylm.evaluation.prompt_boundary import boundary_conditions
from proxylm.evaluation.recode.evaluation import recode_conditions
from proxylm.evaluation.recode.folder import load_recode
from proxylm.generation.byte_model import ByteModel
from small_models import small_model
from units_store import DOCUMENTS, write_units_store

NOTHING = Selection(benchmarks={})
NO_JOBS = Generation(greedy=lambda *_: None, sampled=lambda *_: None)


def left_out(
    model: ByteModel,
    selection: Selection,
    *,
    run: RunData | None = None,
    compressor: Compressor | None = None,
) -> dict[str, str]:
    everything = Everything()
    evaluate_everything(everything, model, run, compressor, read_selection(selection), NO_JOBS)
    assert everything.complete
    return everything.left_out


def test_an_oracle_in_everything(tmp_path: Path) -> None:
    need_sandbox()
    benchmark = load_humaneval(HUMANEVAL).select(limit=1)
    known = [
        *benchmark.problems,
        *problems_of(boundary_conditions(benchmark)),
        *problems_of(recode_conditions(load_recode(RECODE, seeds=1))),
    ]

    def job(writer: Any, name: str) -> Answering:
        return Answering(plan=SamplingPlan(), folder=tmp_path / name, execute=True)

    selection = Selection(benchmarks={"humaneval": HUMANEVAL}, recode=RECODE, seeds=1, limit=1)
    everything = Everything()
    data, generation = (
        read_selection(selection),
        Generation(greedy=job, sampled=lambda writer, name: None),
    )
    evaluate_everything(everything, ReplayModel(known), None, None, data, generation)
    result = everything.to_json()
    assert result["humaneval"]["bytes"]["pass_at"] == {"1": 1.0}
    assert result["prompt-boundary-humaneval"]["bytes"]["pass_at_1"]["mean"] == 1.0
    assert result["recode"]["bytes"]["overall"]["robustness_mean"]["robust_pass"] == 1.0
    rows = everything_rows(everything)
    assert {len(row) for row in rows} == {6}
    measured = [row[:4] for row in rows]
    assert ["humaneval", "bytes", "pass@1 %", "100.0"] in measured
    for measure, value in (("RP", "100.0"), ("RD", "0.0"), ("RR", "0.0")):
        assert ["recode", "bytes", f"{measure}@1 %, worst case", value] in measured
    overall = result["recode"]["bytes"]["overall"]["likelihood_mean"]
    assert ["drop %, mean", share(overall["drop"])] in [row[4:] for row in rows]
    assert ["flips %, mean", share(overall["flip_rate"])] in [row[4:] for row in rows]


def test_what_is_lacking_is_named() -> None:
    model = ByteModel(small_model())
    assert set(left_out(model, NOTHING)) == {
        "held-out bits per byte",
        "tokens",
        "recode",
        "lm-eval",
        "translation",
    }
    foreign = load_compressor("units:bits=16")
    reasons = left_out(model, Selection(benchmarks={"mbpp": None}), compressor=foreign)
    assert "has room for 256" in reasons["tokens"]
    assert reasons["translation"] == "HumanEval is not at hand"
    # The option of the command for all benchmarks, not that of the one for MBPP.
    assert "give its file with --mbpp" in reasons["mbpp"]


def test_what_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ProxylmError, match="cannot be read"):
        read_selection(Selection(benchmarks={"humaneval": tmp_path / "nowhere.jsonl"}))
    with pytest.raises(UsageError, match="no such file"):
        read_selection(Selection(benchmarks={}, recode=tmp_path / "nowhere"))


def test_a_damaged_store_costs_what_needs_it_alone(tmp_path: Path) -> None:
    store = write_units_store(tmp_path / "store")
    shard = store.folder / "raw-00000.arrow"
    damaged = bytearray(shard.read_bytes())
    damaged[-1] ^= 1
    shard.write_bytes(damaged)
    run = RunData(view="units", stores=(store.folder,))
    everything = Everything()
    selection = Selection(benchmarks={"humaneval": HUMANEVAL}, limit=1)
    evaluate_everything(
        everything, ByteModel(small_model()), run, None, read_selection(selection), NO_JOBS
    )
    for reading in ("bytes", "tokens"):
        assert shard.name in everything.failed[f"held-out bits per byte ({reading})"]
    assert set(everything.reports) == {"humaneval", "prompt-boundary-humaneval"}


def test_held_out_documents_until_enough_bytes(tmp_path: Path) -> None:
    folder = write_units_store(tmp_path / "store", held_out=(1, 2)).folder
    run = RunData(view="lossy", stores=(folder,))
    model = ByteModel(small_model())

    def held_out(limit: int | None) -> HeldOutReport:
        everything = Everything()
        data = read_selection(Selection(benchmarks={}, held_out_bytes=limit))
        evaluate_everything(everything, model, run, None, data, NO_JOBS)
        assert "it is lossy" in everything.left_out[f"{HELD_OUT} (tokens)"]
        assert everything.failed == {}
        return everything.reports[HELD_OUT]["bytes"]

    whole, first = held_out(None), held_out(1)
    assert (whole.documents, first.documents) == (2, 1)
    assert first.raw_bytes == len(DOCUMENTS[1])
    assert whole.raw_bytes == len(DOCUMENTS[1] + DOCUMENTS[2])
    assert first.bits_per_byte == pytest.approx(model.bits_per_byte([DOCUMENTS[1]])[0], rel=1e-6)


def test_a_store_that_holds_nothing_out(tmp_path: Path) -> None:
    folder = write_units_store(tmp_path / "store", held_out=()).folder
    run = RunData(view=None, stores=(folder,))
    reasons = left_out(ByteModel(small_model()), NOTHING, run=run)
    assert "holds no document out" in reasons[f"{HELD_OUT} (bytes)"]


def test_damaged_weights_end_everything() -> None:
    module = small_model()
    module.lm_head.weight.data.fill_(float("nan"))
    selection = Selection(benchmarks={"humaneval": HUMANEVAL}, limit=1)
    with pytest.raises(DamagedWeightsError):
        left_out(ByteModel(module), selection)


def test_reports_are_told_one_by_one() -> None:
    seen: list[tuple[list[str], bool]] = []
    everything = Everything(
        changed=lambda so_far: seen.append((list(so_far.reports), so_far.complete))
    )
    selection = Selection(benchmarks={"humaneval": HUMANEVAL}, limit=1)
    model = ByteModel(small_model())
    evaluate_everything(everything, model, None, None, read_selection(selection), NO_JOBS)
    both = ["humaneval", "prompt-boundary-humaneval"]
    assert seen == [(both[:1], False), (both, False), (both, True)]


def test_our_own_mistakes_are_not_left_out_quietly() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Everything().add("broken", "bytes", broken)


def test_numbers_of_tables() -> None:
    assert (number(None), share(None)) == ("-", "-")
    assert (number(1.23456), share(0.32926829)) == ("1.2346", "32.9")
