"""Numbers of a run, against the same from elsewhere: a training, its store and its model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

import small_neural
from proxylm.checkpoints.checkpoint import read_state
from proxylm.config import plain_config, validate_config
from proxylm.errors import DataNotAtHandError
from proxylm.evaluation.everything import held_out_report
from proxylm.recipes.artifacts import Artifact, Run, run_for
from proxylm.recipes.engine import make_all
from proxylm.recipes.measures import (
    Code,
    EvaluationData,
    HeldOut,
    MeasuredRun,
    Samples,
    Training,
)
from proxylm.recipes.scale import Scale, read_scale

VIEWS = {
    "tokenizer": {"kind": "tokenizer", "training": {"algorithm": "bpe", "vocabulary_size": 300}}
}


def measured(configuration: str, pool: Path, corpus: Path) -> MeasuredRun:
    """A trained run of a few steps."""
    values = plain_config(read_scale("micro"))
    values |= {"corpora": {"stores/python": {"files": {"path": str(corpus)}}}, "steps": 10}
    scale = validate_config(Scale, values | {"views": VIEWS, "trained_views": {}})
    run = run_for(configuration, scale, seed=0)
    made: list[Artifact] = [*run.store.needs, run.store, run]
    make_all(made, pool)
    return MeasuredRun(
        run=run,
        pool=pool,
        share=1,
        data=EvaluationData(),
        measuring=scale.measuring,
        scratch=pool,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, MeasuredRun]:
    pool = tmp_path_factory.mktemp("pool")
    corpus = small_neural.write_corpus(pool / "texts", files=200, words=20)
    names = {"proxy": "paper/table14/90-10", "bytes": "paper/table1/1.5b-byte"}
    return {row: measured(name, pool, corpus) for row, name in names.items()}


def test_training_says_what_was_shown(runs: dict[str, MeasuredRun]) -> None:
    proxy, raw = (Training().measure(one) for one in runs.values())
    assert (proxy["step"], proxy["compressed_share"]) == (5, pytest.approx(0.9))
    assert (raw["step"], raw["compressed_share"]) == (10, 0)
    assert raw["raw_bytes"] == raw["raw_format_bytes"] > 0
    assert 0 < proxy["raw_format_bytes"] < proxy["raw_bytes"]
    assert proxy["parameters"] == sum(
        one.numel() for one in runs["proxy"].model.module.parameters()
    )


def test_held_out_documents_are_read_as_both_or_with_a_reason(runs: dict[str, MeasuredRun]) -> None:
    one = runs["proxy"]
    for read_as, view in (("bytes", None), ("tokens", "tokenizer")):
        most = one.measuring.held_out_bytes
        expected = held_out_report(one.store, one.model, view, limit_bytes=most)
        assert HeldOut().measure(one)[read_as] == asdict(expected)
    found = HeldOut().measure(runs["bytes"])
    assert found["bytes"]["documents"] > 0 and "bytes alone" in found["tokens"]["reason"]


def test_samples_of_a_run_are_those_that_it_was_shown(runs: dict[str, MeasuredRun]) -> None:
    proxy, raw = (Samples().measure(one) for one in runs.values())
    # 90 % of the symbols are worth rho bytes, the others one (appendix A, no pairs).
    assert proxy["formula_at_paper_rho"] == pytest.approx(1 / (0.9 / 3.7 + 0.1), rel=0.2)
    assert proxy["formula"] == pytest.approx(1 / (0.9 / proxy["rho"] + 0.1), rel=0.2)
    assert (raw["formula"], raw["predicted"], raw["rho"]) == (1, pytest.approx(1), 1)
    # What was packed agrees with the prediction, as far as so few documents can.
    for row, found in (("proxy", proxy), ("bytes", raw)):
        assert found["packed"] == pytest.approx(found["predicted"], rel=0.15)
        state = read_state(runs[row].checkpoint)
        assert state.documents > 0
    assert proxy["packed"] > 1.2 * raw["packed"]


def test_what_needs_data_that_is_not_there_says_so_once(runs: dict[str, MeasuredRun]) -> None:
    with pytest.raises(DataNotAtHandError, match="give its folder with --data"):
        Code().measure(runs["proxy"])


def test_runs_are_meant_to_be_read_as_bytes_where_they_saw_any() -> None:
    micro = read_scale("micro")
    names = {"proxy-tokenizer": "bytes", "byte": "bytes", "tokenizer": "tokens"}
    for name, own in names.items():
        run: Run = run_for(f"paper/table1/1.5b-{name}", micro, seed=0)
        assert run.own_reading == own
