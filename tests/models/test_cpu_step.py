"""The hand-written step of one position beside the modules, over windows and rows."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from stepping import step_hidden
from torch import Tensor

from proxylm.models.config import CausalAttention, EvaAttention, ModelConfig
from proxylm.models.feed import SymbolTree
from proxylm.models.kernels import dispatch
from proxylm.models.kernels.decoding import step as step_module
from proxylm.models.kernels.decoding.step import step_layers
from proxylm.models.kernels.dispatch import (
    LayersStep,
    half_blocks_on,
    step_for,
    step_modules,
)
from proxylm.models.language_model import LanguageModel

ATTENTIONS = {"eva": EvaAttention(window=16, chunk=4), "causal": CausalAttention(kv_heads=2)}
POSITIONS = 70


@pytest.fixture(scope="module", params=list(ATTENTIONS))
def model(request: pytest.FixtureRequest) -> LanguageModel:
    config = ModelConfig(
        vocabulary_size=320,
        layers=2,
        width=32,
        ffn=48,
        heads=4,
        attention=ATTENTIONS[request.param],
        context=64,
    )
    model = LanguageModel(config, seed=1)
    with torch.no_grad():
        for block in model.model.blocks():
            for norm in (block.input_layernorm, block.post_attention_layernorm):
                norm.weight.add_(0.1 * torch.randn(32, generator=torch.Generator().manual_seed(2)))
    return model


def hidden_by(
    model: LanguageModel, step: LayersStep, monkeypatch: pytest.MonkeyPatch, ids: Tensor
) -> Tensor:
    monkeypatch.setattr("proxylm.models.language_model.step_for", lambda *_: step)
    cache = model.new_cache(len(ids))
    columns = [step_hidden(model, ids[:, i : i + 1], cache) for i in range(ids.shape[1])]
    return torch.cat(columns, dim=1)


def some_ids(rows: int) -> Tensor:
    return torch.randint(64, 320, (rows, POSITIONS), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("one_thread_products", [1 << 20, 0])
def test_the_step_by_hand_equals_the_modules(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch, one_thread_products: int
) -> None:
    monkeypatch.setattr(step_module, "ONE_THREAD_PRODUCTS", one_thread_products)
    ids = some_ids(rows=3)
    ours = hidden_by(model, step_layers, monkeypatch, ids)
    reference = hidden_by(model, step_modules, monkeypatch, ids)
    assert ours.shape == reference.shape == (3, POSITIONS, 32)
    assert float((ours - reference).norm() / reference.norm()) < 1e-6


@pytest.mark.parametrize("one_thread_products", [1 << 20, 0])
def test_rows_and_trees_by_hand_equal_the_modules(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch, one_thread_products: int
) -> None:
    monkeypatch.setattr(step_module, "ONE_THREAD_PRODUCTS", one_thread_products)
    ids = some_ids(rows=3).flatten()
    states = []
    for step in (step_layers, step_modules):
        monkeypatch.setattr("proxylm.models.language_model.step_for", lambda *_, step=step: step)
        cache, fed = model.new_cache(3), []
        for counts, trees in [
            ([20, 3, 0], {}),
            ([1, 5, 14], {1: SymbolTree(np.array([-1, 0, 0, 1, 2]))}),
            ([40, 1, 17], {}),
            ([4, 1, 1], {0: SymbolTree(np.array([-1, 0, 0, 0]))}),
            ([1, 0, 30], {}),
        ]:
            feed = cache.plan(np.array(counts), trees)
            fed.append(model.step_feed(ids[: sum(counts)], cache, feed))
            cache.keep(feed, {row: [0, 2] for row in trees})
        states.append(torch.cat(fed))
    ours, reference = states
    assert float((ours - reference).norm() / reference.norm()) < 1e-6


@pytest.mark.parametrize("step", [step_layers, step_modules], ids=["by hand", "modules"])
def test_it_equals_the_whole_forward(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch, step: LayersStep
) -> None:
    ids = some_ids(rows=2)
    with torch.no_grad():
        reference = model.hidden(ids)
    ours = hidden_by(model, step, monkeypatch, ids)
    assert float((ours - reference).norm() / reference.norm()) < 1e-5


def test_slots_and_whole_stretches_mix(model: LanguageModel) -> None:
    ids = some_ids(rows=2)
    cache = model.new_cache(2)
    stretches = [5, 1, 1, 12, 1, 20, 1, 29]
    columns, start = [], 0
    for count in stretches:
        columns.append(step_hidden(model, ids[:, start : start + count], cache))
        start += count
    with torch.no_grad():
        reference = model.hidden(ids[:, :start])
    error = (torch.cat(columns, dim=1) - reference).norm() / reference.norm()
    assert float(error) < 1e-5


def test_device_type_and_autocast_choose_it(model: LanguageModel) -> None:
    weight = model.lm_head.weight
    assert step_for(model.config, weight) is step_layers
    assert step_for(model.config, weight.bfloat16()) is step_layers
    assert step_for(model.config, weight.double()) is step_modules
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert step_for(model.config, weight) is step_modules


@pytest.mark.long
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch compiles for a CPU with a C++ one")
def test_the_compiled_halves_of_a_gpus_step_equal_the_modules(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxylm.models.language_model.step_for", lambda *_: step_modules)
    ids, sizes = some_ids(rows=2), [20, 1, 1, 5, 1, 22]

    def stepped() -> Tensor:
        cache = model.new_cache(len(ids))
        parts = ids[:, : sum(sizes)].split(sizes, dim=1)
        return torch.cat([step_hidden(model, part, cache) for part in parts], dim=1)

    expected = stepped()
    compiled = half_blocks_on("cuda")
    monkeypatch.setattr(dispatch, "half_blocks_on", lambda _: compiled)
    torch.testing.assert_close(stepped(), expected, rtol=1e-5, atol=1e-6)
