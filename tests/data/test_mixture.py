from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from proxylm.config import dump_config, load_config, validate_config
from proxylm.data.mixture import (
    READY_MIXTURES,
    AlwaysPairs,
    ConstantRate,
    DocumentGranularity,
    Mixture,
    NoPairs,
    PieceGranularity,
    PointsRate,
    WarmUpPairs,
    WarmUpRate,
)
from proxylm.data.mixture_numbers import mixture_numbers
from proxylm.data.sources import SourceConfig, check_sources
from proxylm.errors import UsageError


def test_the_default_is_the_papers_schedule():
    mixing = Mixture()
    rates = mixing.rate.rates(50_000)
    assert rates[0] == 0.4
    assert rates[5_000] == pytest.approx(0.65)
    assert rates[10_000] == rates[-1] == 0.9
    assert (np.diff(rates[:10_001]) > 0).all()
    assert mixture_numbers(mixing, 50_000).steps_with_pairs == 10_000
    assert mixing.granularity.pairing.compressed_first_probability == 0.5


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_a_warm_up_of_no_steps_or_all_steps(fraction: float):
    rates = WarmUpRate(fraction=fraction).rates(10)
    assert len(rates) == 10
    assert rates[0] == (0.4 if fraction else 0.9)


def test_a_warm_up_in_steps_is_as_long_in_every_run():
    mixing = Mixture(
        rate=WarmUpRate(steps=10_000),
        granularity=DocumentGranularity(pairing=WarmUpPairs(steps=10_000)),
    )
    for total in (50_000, 80_000):
        numbers = mixture_numbers(mixing, total)
        assert numbers.steps_with_pairs == 10_000
        assert numbers.phase_ends == [10_000]
        assert np.array_equal(numbers.rates[:10_001], WarmUpRate().rates(50_000)[:10_001])
    # A run that is shorter than its warm-up is the beginning of a longer one.
    short = mixture_numbers(mixing, 5_000)
    assert short.steps_with_pairs == 5_000
    assert short.phase_ends == [5_000]
    assert short.rates[-1] == pytest.approx(0.65, abs=1e-4)


@pytest.mark.parametrize("kind", [WarmUpRate, WarmUpPairs])
def test_a_length_is_a_fraction_or_steps_and_not_both(kind: type[WarmUpRate | WarmUpPairs]):
    with pytest.raises(UsageError, match="either fraction or steps"):
        kind(steps=3, fraction=0.5)
    with pytest.raises(UsageError, match="either fraction or steps"):
        kind(fraction=None)
    assert "steps" not in kind().model_dump()  # written as before there were steps
    given = kind(steps=3)
    assert kind.model_validate(given.model_dump()) == given


def test_points_are_joined_by_lines_and_jump_where_two_share_a_place():
    late = PointsRate(points=((0, 0.4), (0.2, 0.9), (0.8, 0.9), (0.8, 0.0), (1.0, 0.0)))
    rates = late.rates(100)
    assert np.array_equal(rates[:80], WarmUpRate().rates(100)[:80])
    assert (rates[80:] == 0).all()
    assert late.phase_ends(100) == [20, 80]


def test_points_in_steps_leave_the_last_rate_to_the_end():
    rate = PointsRate(unit="steps", points=((0, 0.0), (4, 1.0), (6, 0.5)))
    assert rate.rates(8).tolist() == [0, 0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.5]
    assert rate.phase_ends(8) == [4, 6]
    assert rate.rates(3).tolist() == [0, 0.25, 0.5]
    assert rate.phase_ends(3) == []


def test_points_are_read_from_yaml(tmp_path: Path):
    path = tmp_path / "mixing.yaml"
    path.write_text("rate: {kind: points, points: [[0, 1], [0.8, 1], [0.8, 0]]}\n")
    mixing = load_config(Mixture, path)
    assert mixing.rate.rates(5).tolist() == [1, 1, 1, 1, 0]
    assert validate_config(Mixture, yaml.safe_load(dump_config(mixing))) == mixing


def test_ready_mixtures_are_what_their_names_say():
    assert (READY_MIXTURES["bytes"]().rate.rates(5) == 0).all()
    assert (READY_MIXTURES["compressed"]().rate.rates(5) == 1).all()
    assert READY_MIXTURES["paper"]() == Mixture()
    pieces = READY_MIXTURES["pieces"]()
    assert isinstance(pieces.granularity, PieceGranularity)
    for mixture in (pieces, Mixture.samples(rate=0.3)):
        assert mixture_numbers(mixture, 100).steps_with_pairs == 0


@pytest.mark.parametrize("mixing", [make() for make in READY_MIXTURES.values()])
def test_a_mixture_survives_yaml(mixing: Mixture):
    assert validate_config(Mixture, yaml.safe_load(dump_config(mixing))) == mixing


def test_a_kind_that_is_left_out_is_the_default(tmp_path: Path):
    path = tmp_path / "mixing.yaml"
    path.write_text("granularity: {pairing: {order: cr}, pair_overflow: cut}\n")
    mixing = load_config(Mixture, path, ["rate.start=0.5"])
    assert mixing.granularity == DocumentGranularity(
        pairing=WarmUpPairs(order="cr"), pair_overflow="cut"
    )
    assert mixing.rate == WarmUpRate(start=0.5)


@pytest.mark.parametrize(("order", "probability"), [("rc", 0.0), ("cr", 1.0), ("random", 0.5)])
def test_pair_orders(order, probability: float):
    assert AlwaysPairs(order=order).compressed_first_probability == probability
    assert AlwaysPairs(order=order).steps_with_pairs(7) == 7
    assert NoPairs().steps_with_pairs(7) == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": {"kind": "constant", "rate": 1.5}}, "configuration: rate.rate: "),
        ({"rate": {"kind": "constant", "rate": float("nan")}}, "finite number"),
        ({"rate": {"kind": "constant", "rate": -0.1}}, "greater than or equal to 0"),
        ({"rate": {"kind": "cosine"}}, "constant, warmup, points"),
        ({"rate": 0.5}, "constant, warmup, points"),
        ({"rate": {"kind": "points", "points": []}}, "rate.points"),
        ({"rate": {"kind": "points", "points": [[0.1, 1]]}}, "begin with one at 0"),
        ({"rate": {"kind": "points", "points": [[0, 1], [0.5, 1.5]]}}, "less than or equal to 1"),
        ({"rate": {"kind": "points", "points": [[0, 1], [0.5, 1], [0.4, 1]]}}, "0.4 stands after"),
        ({"rate": {"kind": "points", "points": [[0, 1], [100, 0]]}}, "write unit: steps"),
        ({"rate": {"kind": "points", "points": [[0, 1], [1.5, 0]], "unit": "steps"}}, "whole"),
        ({"granularity": {"kind": "piece", "min_symbols": 9, "max_symbols": 8}}, "max_symbols (8)"),
        ({"granularity": {"kind": "piece", "min_symbols": 0}}, "min_symbols"),
        ({"granularity": {"pairing": {"kind": "never"}}}, "none, warmup, always"),
        ({"overflow": "drop"}, "'continue', 'plain' or 'truncate'"),
        ({"shuffle_block_steps": 0}, "shuffle_block_steps"),
        ({"sentinel": False}, "did you mean 'sentinels'?"),
    ],
)
def test_mistakes_are_one_line_that_names_the_key(values, message: str):
    with pytest.raises(UsageError) as caught:
        validate_config(Mixture, values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_impossible_weights_are_refused(weight: float):
    with pytest.raises(UsageError, match="weight"):
        validate_config(SourceConfig, {"store": "s", "weight": weight})


def test_sources_must_give_something():
    with pytest.raises(UsageError, match="no source"):
        check_sources([])
    with pytest.raises(UsageError, match="all weights are 0"):
        check_sources([SourceConfig(store="a", weight=0), SourceConfig(store="b", weight=0)])
    check_sources([SourceConfig(store="a", weight=0), SourceConfig(store="b")])


def test_configuration_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        ConstantRate().rate = 0.1  # type: ignore[misc]
