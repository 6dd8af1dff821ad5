"""Presets against the method's table, sizes without allocation, and one-line refusals."""

import pytest
import torch

from proxylm.checkpoints.layouts.choice import read_config
from proxylm.config import validate_config
from proxylm.errors import CheckpointError, UsageError
from proxylm.models.config import ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.models.presets import PRESETS, preset

# Method, section 5: layers, width, FFN, heads, key heads, context.
PAPER = {
    "evabyte-0.5b": (28, 1024, 4096, 8, 8, 16_384),
    "evabyte-1.5b": (20, 2048, 8192, 16, 16, 16_384),
    "evabyte-4b": (32, 3072, 9216, 24, 24, 16_384),
    "evabyte-7b": (32, 4096, 12_288, 32, 32, 16_384),
    "evabyte-14b": (40, 5120, 16_384, 40, 40, 16_384),
    "opencoder-1.5b": (24, 2240, 6144, 14, 14, 4096),
    "opencoder-8b": (32, 4096, 14_336, 32, 8, 4096),
}
BILLIONS = {"0.5b": 0.47, "1.5b": 1.34, "4b": 3.93, "7b": 6.98, "14b": 14.26}


@pytest.mark.parametrize("name", PAPER)
def test_sizes_of_the_paper(name):
    config = preset(name)
    sizes = (config.layers, config.width, config.ffn, config.heads, config.kv_heads, config.context)
    assert sizes == PAPER[name]


@pytest.mark.parametrize("name", PRESETS)
def test_parameter_count_is_the_models(name):
    config = preset(name)
    with torch.device("meta"):
        model = LanguageModel(config)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == config.parameter_count


@pytest.mark.parametrize("size", BILLIONS)
def test_parameters_are_of_the_named_order(size):
    # From the formulas of a block: 4 w^2 + 3 w f per layer.
    count = preset(f"evabyte-{size}").parameter_count
    assert count / 1e9 == pytest.approx(BILLIONS[size], rel=0.02)


def test_the_demo_body_is_three_quarters_of_a_million():
    config = preset("demo", vocabulary_size=4416)
    body = config.matrix_parameter_count - config.vocabulary_size * config.width
    assert body == pytest.approx(0.75e6, rel=0.01)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"width": 130}, "width 130 must be a multiple of twice the heads"),
        (
            {"attention": {"kind": "eva", "window": 100, "chunk": 8}},
            "window 100 must be a multiple",
        ),
        (
            {"attention": {"kind": "causal", "kv_heads": 3}},
            "heads 4 must be a multiple of kv_heads",
        ),
        ({"attention": {"kind": "sparse"}}, "attention"),
        ({"vocabulary_size": 100, "softmax": "by_format"}, "at least 320"),
        ({"layers": 0}, "layers"),
        ({"depth": 3}, "unknown key 'depth'"),
    ],
)
def test_impossible_sizes_are_one_line(overrides, message):
    with pytest.raises(UsageError, match=message) as caught:
        preset("demo", **overrides)
    assert "\n" not in str(caught.value)


def test_unknown_preset_lists_the_known():
    with pytest.raises(UsageError, match="unknown model preset 'huge'; choose one of evabyte"):
        preset("huge")


def test_training_contexts_hold_whole_windows():
    preset("laptop").require_context(8192)
    preset("laptop-causal").require_context(1000)
    with pytest.raises(UsageError, match="model: context 1000 must be a multiple of window 512"):
        preset("laptop").require_context(1000)


def test_configuration_survives_json():
    for name in PRESETS:
        config = preset(name)
        assert validate_config(ModelConfig, config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2', only evabyte, llama, "),
        ({"chunk_size": None}, "key 'chunk_size' is missing"),
    ],
)
def test_foreign_published_configurations_are_refused(change, message):
    values = {"model_type": "evabyte", "vocab_size": 320, "hidden_size": 32, "window_size": 32}
    values |= {"intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 2}
    values |= {"num_pred_heads": 1, "rms_norm_eps": 1e-5, "rope_theta": 1e5, "chunk_size": 8}
    values |= {"max_position_embeddings": 64}
    assert read_config(values)[0].width == 32
    changed = {key: value for key, value in (values | change).items() if value is not None}
    with pytest.raises(CheckpointError, match=message):
        read_config(changed)
