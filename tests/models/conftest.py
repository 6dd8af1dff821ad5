"""What the model tests share: small configurations, random packed documents, plain execution."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from proxylm.models.attention import DenseForm
from proxylm.models.config import CausalAttention, EvaAttention, ModelConfig
from proxylm.models.kernels.dispatch import run_modules
from proxylm.models.language_model import LanguageModel
from proxylm.models.rotary import rotation_of

EVA = EvaAttention(window=32, chunk=8)
CAUSAL = CausalAttention(kv_heads=2)


@pytest.fixture(params=["eva", "causal"])
def attention(request):
    return {"eva": EVA, "causal": CAUSAL}[request.param]


@pytest.fixture
def build():
    """Builds a small model whose norms and weights are far from their initial values."""

    def make(attention=EVA, **fields):
        sizes = {"vocabulary_size": 400, "layers": 2, "width": 32, "ffn": 48, "heads": 4}
        context = 10 * attention.window if isinstance(attention, EvaAttention) else 320
        config = ModelConfig(attention=attention, context=context, **(sizes | fields))
        model = LanguageModel(config, seed=3)
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
        return model

    return make


@pytest.fixture
def packed():
    """Random ids ``[batch, length]`` and document ids with borders everywhere."""

    def make(batch, length, *, density=0.04, seed=0, vocabulary=400):
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(0, vocabulary, (batch, length), generator=generator)
        starts = torch.rand(batch, length, generator=generator) < density
        return ids, starts.long().cumsum(1)

    return make


@pytest.fixture
def plain_execution(monkeypatch):
    """Call it to make every later forward run the plain modules with dense attention."""

    def use():
        def choose(config, segment_ids, position_ids, weight):
            rotation = rotation_of(position_ids, config.head_width, config.rope_theta)
            return partial(run_modules, rotation, DenseForm(config.attention, segment_ids))

        monkeypatch.setattr("proxylm.models.language_model.execution_for", choose)

    return use
