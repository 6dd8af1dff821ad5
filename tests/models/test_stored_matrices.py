"""Models whose matrices are stored as bfloat16: the same arithmetic on the rounded weights."""

from __future__ import annotations

import pytest
import torch
from stepping import step_hidden

from proxylm.models.config import CausalAttention, EvaAttention, ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.models.stored_matrices import Projection, WeightType, store_matrices

KINDS = {
    "eva": {"attention": EvaAttention(window=16, chunk=4)},
    "causal": {"attention": CausalAttention(kv_heads=2)},
    "qwen": {"attention": CausalAttention(kv_heads=2, biases=True), "tied_embeddings": True},
    "olmo": {"attention": CausalAttention(kv_heads=4, query_key_norm="all"), "norms": "after"},
}


def model_of(kind: str) -> LanguageModel:
    sizes = {"layers": 2, "width": 32, "ffn": 48, "heads": 4, "context": 64}
    return LanguageModel(ModelConfig(vocabulary_size=330, **sizes, **KINDS[kind]), seed=1)


def rounded(model: LanguageModel) -> LanguageModel:
    """Float32, with the numbers that bfloat16 can hold."""
    for part in model.modules():
        if isinstance(part, Projection | torch.nn.Embedding):
            part.weight.data = part.weight.data.bfloat16().float()
    return model


@pytest.fixture(params=list(KINDS))
def pair(request: pytest.FixtureRequest) -> tuple[LanguageModel, LanguageModel]:
    stored = model_of(request.param)
    store_matrices(stored, WeightType.BFLOAT16)
    return stored, rounded(model_of(request.param))


def test_matrices_are_half_as_large_and_the_rest_is_as_it_was(
    pair: tuple[LanguageModel, LanguageModel],
) -> None:
    stored, expected = (dict(model.named_parameters()) for model in pair)
    assert stored.keys() == expected.keys()
    for name, weight in stored.items():
        is_matrix = weight.dim() == 2
        assert weight.dtype == (torch.bfloat16 if is_matrix else torch.float32), name
        assert torch.equal(weight.float(), expected[name]), name


def test_whole_contexts(pair: tuple[LanguageModel, LanguageModel]) -> None:
    ids = torch.randint(64, 330, (2, 50), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        stored, expected = (model.logits(ids) for model in pair)
    torch.testing.assert_close(stored, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [1, 5, 20])
def test_steps(pair: tuple[LanguageModel, LanguageModel], count: int) -> None:
    ids = torch.randint(64, 330, (1, 40), generator=torch.Generator().manual_seed(3))
    states = []
    for model in pair:
        cache = model.new_cache(1)
        parts = [step_hidden(model, part, cache) for part in ids.split(count, dim=1)]
        states.append(torch.cat(parts, dim=1))
    torch.testing.assert_close(*states, rtol=1e-5, atol=1e-5)


def test_and_back() -> None:
    model = model_of("eva")
    store_matrices(model, WeightType.BFLOAT16)
    store_matrices(model, WeightType.FLOAT32)
    expected = rounded(model_of("eva")).state_dict()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, expected[name])
