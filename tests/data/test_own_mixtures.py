"""Mixtures with objects of the user's own: what they may be, and what names them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from memory_store import disk_store, memory_store, random_documents

from proxylm.cli.main import run
from proxylm.config import dump_config, validate_config
from proxylm.data.batches import Batches, batches
from proxylm.data.mixture import (
    AlwaysPairs,
    ConstantRate,
    DocumentGranularity,
    Mixture,
    NoPairs,
    PieceGranularity,
    WarmUpRate,
)
from proxylm.data.mixture_numbers import mixture_numbers
from proxylm.errors import CheckpointError, UsageError
from proxylm.training.config import TrainingConfig
from proxylm.training.run import train

CAUSAL = {"kind": "causal", "kv_heads": 2}
STORE = memory_store(random_documents(60, mean_bytes=150))


class Ramp:
    """Rises over the whole run."""

    fingerprint = "from 0 to the top"

    def __init__(self, top: float = 1.0):
        self.top = top

    def rates(self, total_steps: int) -> np.ndarray:
        return np.linspace(0, self.top, total_steps)


class FewPairs:
    """Pairs in the first third, compressed view first in one of four."""

    fingerprint = "a third, 1 of 4"
    compressed_first_probability = 0.25

    def steps_with_pairs(self, total_steps: int) -> int:
        return total_steps // 3


class ShortPieces:
    fingerprint = "pieces of 1 to 9"
    pairing = NoPairs()
    splits_pairs = False
    piece_symbols = (1, 9)


class AllRaw(ConstantRate):
    """Of ours, with other rates."""

    def rates(self, total_steps: int) -> np.ndarray:
        return np.zeros(total_steps)


def drawn(mixture: Mixture, steps: int = 12) -> Batches:
    return batches(STORE, mixture, context=64, contexts_per_step=4, steps=steps, seed=3)


def ids(data: Batches) -> list[Any]:
    return [batch.inputs.tolist() for batch in data]


def test_a_schedule_of_ones_own_is_followed():
    no_pairs = DocumentGranularity(pairing=NoPairs())
    data = drawn(Mixture(rate=Ramp(), granularity=no_pairs, shuffle_block_steps=10), 200)
    assert data.statistics(50).rate_asked == pytest.approx(50 / 199)
    compressed = [data.statistics(step).compressed_symbols for step in range(200)]
    assert sum(compressed[:40]) < 0.5 * sum(compressed[-40:])


def test_what_ours_do_an_own_object_can():
    ours = Mixture(granularity=PieceGranularity(min_symbols=1, max_symbols=9))
    assert ids(drawn(Mixture(granularity=ShortPieces()))) == ids(drawn(ours))
    pairing = DocumentGranularity(pairing=FewPairs())
    mixture = Mixture(rate=ConstantRate(rate=0.5), granularity=pairing, shuffle_block_steps=1)
    data = drawn(mixture, 90)
    pairs = [data.statistics(step).pairs for step in range(90)]
    assert sum(pairs[:30]) > 20 and sum(pairs[35:]) == 0


def test_contexts_are_not_shuffled_across_the_ends_of_its_phases():
    class Phases(Ramp):
        def phase_ends(self, total_steps: int) -> list[int]:
            return [5]

    mixture = Mixture(rate=Phases(), granularity=DocumentGranularity(pairing=NoPairs()))
    assert drawn(mixture).plan.block_of(0).num_steps == 5
    assert drawn(mixture.model_copy(update={"rate": Ramp()})).plan.block_of(0).num_steps == 12


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"rate": object()}, "object: is no RateSchedule: it has no fingerprint, rates"),
        ({"rate": Ramp}, "Ramp: is a class; give an object of it as RateSchedule"),
        ({"granularity": Ramp()}, "Ramp: is no Granularity: it has no pairing, splits_pairs, "),
    ],
)
def test_what_is_no_such_object_is_refused(choice: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        Mixture(**choice)


@pytest.mark.parametrize("fingerprint", [None, "", 7])
def test_an_object_must_name_what_it_computes(fingerprint: Any):
    schedule = Ramp()
    schedule.fingerprint = fingerprint
    with pytest.raises(UsageError, match="Ramp: its fingerprint must be a text that changes"):
        Mixture(rate=schedule)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        (np.zeros(3), r"rates\(12\) cannot be float64\[3\]"),
        (np.full(12, "a"), r"rates\(12\) cannot be <U1\[12\]"),
        (np.array([0.5] * 11 + [1.5]), r"rates\(12\)\[11\] cannot be 1.5"),
        (np.array([np.nan] * 12), r"rates\(12\)\[0\] cannot be nan"),
    ],
)
def test_rates_that_cannot_be_are_refused(rates: np.ndarray, message: str):
    class Wrong:
        fingerprint = "wrong"

        def rates(self, total_steps: int) -> np.ndarray:
            return rates

    with pytest.raises(UsageError, match=f"Wrong.{message}"):
        drawn(Mixture(rate=Wrong()))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("compressed_first_probability", 1.5),
        ("steps_with_pairs", lambda n: -1),
        ("steps_with_pairs", lambda n: n + 1),
        ("steps_with_pairs", lambda n: n * 0.33),
    ],
)
def test_pairs_that_cannot_be_are_refused(name: str, value: Any):
    pairing = FewPairs()
    setattr(pairing, name, value)
    with pytest.raises(UsageError, match=f"FewPairs.{name} cannot be"):
        drawn(Mixture(granularity=DocumentGranularity(pairing=pairing)))


@pytest.mark.parametrize("lengths", [(0, 9), (9, 8), (1.5, 9)])
def test_pieces_that_cannot_be_are_refused(lengths: Any):
    granularity = ShortPieces()
    granularity.piece_symbols = lengths
    with pytest.raises(UsageError, match=r"ShortPieces\.piece_symbols cannot be"):
        drawn(Mixture(granularity=granularity))


@pytest.mark.parametrize("end", [-1, 13])
def test_phases_that_cannot_be_are_refused(end: int):
    schedule = Ramp()
    schedule.phase_ends = lambda total_steps: [end]
    with pytest.raises(UsageError, match=r"Ramp.phase_ends cannot be \[-?1"):
        drawn(Mixture(rate=schedule))


def test_its_numbers_are_of_the_types_that_the_kernels_are_compiled_for():
    pairing, pieces = FewPairs(), ShortPieces()
    pairing.compressed_first_probability = 1
    pieces.piece_symbols, pieces.splits_pairs = np.array([1, 9]), 0
    for granularity in (DocumentGranularity(pairing=pairing), pieces):
        plan = drawn(Mixture(granularity=granularity)).plan
        ours = drawn(Mixture()).plan
        assert list(map(type, plan._rules)) == list(map(type, ours._rules))


# --- what names them


def training(mixture: Mixture, store: str = "s") -> TrainingConfig:
    return TrainingConfig.model_validate(
        {
            "data": [{"store": store, "view": "v"}],
            "mixing": mixture,
            "model": {"kind": "preset", "name": "demo"},
            "length": {"kind": "steps", "steps": 100},
            "symbols_per_step": 8192,
            "learning_rate": {"kind": "cosine", "warmup_steps": 1},
        }
    )


def test_the_hash_of_a_configuration_without_objects_is_what_it_was():
    # Runs of earlier versions go on by it: a change needs a note, not a new golden value.
    assert training(Mixture.bytes_only()).hash() == "5fdef456b3ea45c9ff5549236eff09c0"
    assert training(Mixture(rate=WarmUpRate(start=0.9))).hash() == (
        "279ef63e498e969bb34a7613a56f2266"
    )
    assert drawn(Mixture.bytes_only()).fingerprint == "d3b9aa852e3e56e867b5e18351d9dd61"


def test_runs_of_other_data_do_not_go_on():
    """Before contexts were laid in lanes, the same settings drew other data at a rising rate."""
    then = "5cf55004445c249758efb5ddd14a2c2c", "b6996d2d0f68c473bf060dfed7236e15"
    assert then[0] != training(Mixture()).hash() == "bd842648f0921a5ae2f35b1c472b8423"
    assert then[1] != drawn(Mixture()).fingerprint
    # A block of one step had the rate of its step, as it has now.
    assert not mixture_numbers(Mixture(shuffle_block_steps=1), 100).rate_varies.any()


def test_whatever_changes_the_data_changes_the_hash():
    mixtures = [
        Mixture(rate=ConstantRate(rate=0.5)),
        Mixture(rate=AllRaw(rate=0.5)),
        Mixture(rate=Ramp()),
        Mixture(rate=Ramp(top=0.5)),  # whose fingerprint says nothing of it
        Mixture(granularity=ShortPieces()),
        Mixture(granularity=DocumentGranularity(pairing=FewPairs())),
    ]
    assert len({training(mixture).hash() for mixture in mixtures}) == len(mixtures)
    assert len({drawn(mixture).fingerprint for mixture in mixtures}) == len(mixtures)
    assert training(Mixture(rate=Ramp())).hash() == training(Mixture(rate=Ramp())).hash()


def test_a_fingerprint_of_ours_names_type_and_values():
    names = {
        choice.fingerprint
        for choice in (
            ConstantRate(rate=0.5),
            ConstantRate(rate=0.6),
            AllRaw(rate=0.5),
            NoPairs(),
            AlwaysPairs(),
            DocumentGranularity(),
            DocumentGranularity(pairing=FewPairs()),
        )
    }
    assert len(names) == 7
    assert ConstantRate(rate=0.5).fingerprint == ConstantRate(rate=0.5).fingerprint


def test_yaml_names_an_object_and_refuses_to_draw_without_it():
    mixture = Mixture(rate=Ramp())
    written = yaml.safe_load(dump_config(mixture))
    assert written["rate"] == {
        "kind": "object",
        "class": "Ramp",
        "fingerprint": "from 0 to the top",
    }
    read = validate_config(Mixture, written)
    assert dump_config(read) == dump_config(mixture) and read.has_own_objects
    with pytest.raises(UsageError, match="its Ramp is an object of the program that wrote"):
        mixture_numbers(read, 10)
    for record in ({"kind": "object"}, {**written["rate"], "top": 0.5}):
        with pytest.raises(UsageError, match="recorded by its class and its fingerprint"):
            validate_config(Mixture, {"rate": record})


def test_the_command_line_does_not_go_on_without_the_object(tmp_path: Path, capsys: Any):
    path = tmp_path / "run.yaml"
    store = disk_store(tmp_path / "store", random_documents(60, mean_bytes=150))
    path.write_text(dump_config(training(Mixture(rate=Ramp()), store)))
    assert run(["train", str(path), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "its Ramp is an object of the program" in error and error.count("\n") == 1


def test_batches_with_an_own_object_can_be_pickled():
    data = drawn(Mixture(rate=Ramp()))
    assert ids(pickle.loads(pickle.dumps(data))) == ids(data)


def test_a_run_goes_on_with_the_same_object_and_with_no_other(tmp_path: Path):
    store = disk_store(tmp_path / "store", random_documents(60, mean_bytes=150))

    def run_with(schedule: Ramp) -> int:
        sizes = {"layers": 1, "width": 16, "ffn": 16, "heads": 2, "context": 64}
        config = training(Mixture(rate=schedule), store).model_dump(exclude={"mixing"}) | {
            "mixing": Mixture(rate=schedule),
            "model": {"kind": "explicit", "sizes": sizes | {"attention": CAUSAL}},
            "length": {"kind": "steps", "steps": 2},
            "symbols_per_step": 128,
            "device": "cpu",
        }
        return train(validate_config(TrainingConfig, config), tmp_path / "run").steps

    assert run_with(Ramp()) == run_with(Ramp()) == 2
    with pytest.raises(CheckpointError, match=r"its configuration \(or .*\) has changed"):
        run_with(Ramp(top=0.5))
