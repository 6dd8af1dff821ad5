"""The run's configuration: published recipes, derived sizes, and mistakes in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from proxylm.config import load_config, validate_config
from proxylm.config_files import SHIPPED
from proxylm.data.mixture import WarmUpPairs
from proxylm.data.mixture_numbers import mixture_numbers
from proxylm.errors import UsageError
from proxylm.training.config import TrainingConfig
from proxylm.training.schedule import ConstantRate

SMALL: dict[str, Any] = {
    "data": [{"store": "views", "view": "bpe"}],
    "model": {"kind": "preset", "name": "demo", "overrides": {"context": 512}},
    "length": {"kind": "steps", "steps": 20},
    "symbols_per_step": 2048,
    "learning_rate": {"kind": "cosine", "peak": 1e-3, "warmup_steps": 2},
}


def small(**changes: Any) -> TrainingConfig:
    return validate_config(TrainingConfig, SMALL | changes)


PYTHON_SUBSET = Path("paper/table1/1.5b-proxy-tokenizer")


def test_the_python_subset_is_the_papers() -> None:
    config = load_config(TrainingConfig, PYTHON_SUBSET)
    model = config.model_for(96_640)
    assert (model.layers, model.width, model.ffn, model.heads) == (20, 2048, 8192, 16)
    assert (config.context, model.vocabulary_size) == (16_384, 96_960)
    assert (config.total_steps, config.contexts_per_step) == (50_000, 128)
    rates = [config.learning_rate.rate(step, 50_000) for step in (0, 499, 49_999)]
    assert rates == pytest.approx([9e-4 / 500, 9e-4, 9e-5])
    assert config.optimizer.epsilon == 1e-15
    assert (config.optimizer.beta1, config.optimizer.beta2) == (0.9, 0.95)
    assert (config.optimizer.weight_decay, config.optimizer.clip_norm) == (0.1, 1.0)
    mixed = config.mixing.rate.rates(50_000)
    assert mixed[[0, 5_000, 10_000, 49_999]] == pytest.approx([0.4, 0.65, 0.9, 0.9])
    assert config.mixing.granularity.kind == "document"
    assert config.mixing.granularity.pairing == WarmUpPairs(order="random", steps=10_000)


BYTES_ALONE = [
    "mixing.rate={kind: constant, rate: 0}",
    "mixing.granularity={kind: document, pairing: {kind: none}}",
]


@pytest.mark.parametrize("name", ["tiny", str(PYTHON_SUBSET), "paper/table2/7b-proxy-neural"])
def test_bytes_alone_have_no_compressed_symbols(name: str) -> None:
    path = Path(name)
    mixed = load_config(TrainingConfig, path)
    assert mixed.model_for(2048).compressed_symbol_count == 2048
    byte_model = load_config(TrainingConfig, path, BYTES_ALONE)
    assert byte_model.data[0].view is not None
    assert byte_model.model_for(2048).vocabulary_size == 320


def test_the_documented_byte_baseline_is_a_byte_model() -> None:
    mixed = load_config(TrainingConfig, Path("tiny"))
    byte_model = load_config(TrainingConfig, Path("tiny"), BYTES_ALONE)
    assert mixed.model_for(2048).parameter_count == 1_362_048
    assert byte_model.model_for(2048).parameter_count == 837_760


def test_the_full_corpus_is_the_papers() -> None:
    config = load_config(TrainingConfig, Path("paper/table2/7b-proxy-tokenizer"))
    assert (config.total_steps, config.symbols_per_step) == (80_000, 4 * 2**20)
    assert config.learning_rate == ConstantRate(peak=5e-4, warmup_steps=2000)
    assert config.model_for(96_640).target_heads == 8


def test_overrides_reach_lists_and_replace_whole_choices() -> None:
    overrides = ["data.0.view=gzip", "learning_rate={kind: constant, peak: 1e-4}"]
    config = load_config(TrainingConfig, PYTHON_SUBSET, overrides)
    assert config.data[0].view == "gzip"
    assert config.learning_rate == ConstantRate(peak=1e-4)


@pytest.mark.parametrize("override", ["seed", "=1", "data.7.view=x", "data.x=1", "seed=[1"])
def test_overrides_that_cannot_be_read_are_one_line(override: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(TrainingConfig, Path("tiny"), [override])
    assert "\n" not in str(caught.value)


def test_a_kind_that_is_left_out_is_named_with_the_kinds_there_are() -> None:
    changes: list[dict[str, Any]] = [{"length": {"steps": 3}}, {"model": {"name": "demo"}}]
    for change, kinds in zip(changes, ("steps, symbols", "preset, explicit"), strict=True):
        with pytest.raises(UsageError, match=rf"\.kind: is missing; give one of: {kinds}$"):
            small(**change)


def test_documented_overrides_give_the_byte_baseline() -> None:
    text = (SHIPPED / "tiny.yaml").read_text()
    overrides = re.findall(r"(?<=[ ])mixing\S+=\S+", text)
    assert len(overrides) == 4
    config = load_config(TrainingConfig, Path("tiny"), overrides)
    assert config.mixing.rate.rates(5).tolist() == [0.0] * 5
    assert mixture_numbers(config.mixing, 100).steps_with_pairs == 0


def test_symbols_are_rounded_up_to_whole_steps() -> None:
    assert small(length={"kind": "symbols", "symbols": 2048 * 20}).total_steps == 20
    assert small(length={"kind": "symbols", "symbols": 2048 * 20 + 1}).total_steps == 21


def test_explicit_sizes_are_what_a_preset_resolves_to() -> None:
    resolved = small().resolved()
    assert resolved.model.kind == "explicit"
    assert resolved.model_for(100) == small().model_for(100)
    assert resolved.hash() == small().hash()
    assert small(seed=1).hash() != small().hash()


def test_a_mixture_without_sentinels_makes_a_model_without() -> None:
    assert not small(mixing={"sentinels": False}).model_for(9).sentinels


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"symbols_per_step": 2000}, "multiple of the model's context 512"),
        ({"learning_rate": {"kind": "cosine", "warmup_steps": 21}}, "warmup_steps 21 exceed"),
        ({"lenght": 3}, "did you mean 'length'"),
        ({"data": []}, "no source"),
        ({"data": [{"store": "v", "weight": 0}]}, "all weights are 0"),
        ({"data": [{"store": "v", "weight": -1}]}, "weight"),
        ({"data": [{"store": "v", "weight": float("nan")}]}, "weight"),
        ({"model": {"kind": "preset", "name": "huge"}}, "unknown model preset 'huge'"),
        ({"model": {"kind": "preset", "name": "demo", "overrides": {"contxt": 1}}}, "'context'"),
        (
            {"model": {"kind": "preset", "name": "demo", "overrides": {"context": 200}}},
            "context 200 must be a multiple of window 128",
        ),
        (
            {"model": {"kind": "preset", "name": "demo", "overrides": {"vocabulary_size": 9}}},
            "vocabulary_size follows from the data",
        ),
        ({"model": {"kind": "explicit", "sizes": {"layers": 2}}}, "model.sizes"),
        ({"length": {"kind": "steps", "steps": 0}}, "length.steps: "),
        (
            {"length": {"kind": "steps", "steps": 9, "symbols": 9}},
            "'length.symbols'; that key belongs to another place or another 'kind'",
        ),
        ({"seed": -1}, "seed"),
        ({"device": "tpu"}, "device"),
    ],
)
def test_mistakes_are_one_clear_line(changes: dict[str, Any], shown: str) -> None:
    with pytest.raises(UsageError) as caught:
        small(**changes)
    assert shown in str(caught.value)
    assert "\n" not in str(caught.value)
