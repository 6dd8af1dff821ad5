"""Initial weights: distributions, determinism, and growing the vocabulary."""

import pytest
import torch

from proxylm.errors import UsageError
from proxylm.models.config import EvaAttention
from proxylm.models.language_model import LanguageModel
from proxylm.models.presets import preset


@pytest.fixture(scope="module")
def model():
    return LanguageModel(preset("demo", vocabulary_size=1000), seed=7)


def test_distributions_are_the_methods(model):
    weights = model.state_dict()
    sigmas = {
        "model.embed_tokens.weight": 1.0,
        "lm_head.weight": 0.02,
        "model.layers.3.mlp.up_proj.weight": 0.02,
    }
    for name, sigma in sigmas.items():
        # The spread of a normal cut at three sigma is 0.9866 of it.
        assert weights[name].std() == pytest.approx(sigma * 0.9866, rel=0.02)
        assert 2.9 * sigma < weights[name].abs().max() <= 3 * sigma * (1 + 1e-6)
    limit = 2 * model.config.head_width**-0.5
    for name in ("adaptive_mu_k", "adaptive_phi"):
        vector = weights[f"model.layers.0.self_attn.{name}"]
        assert 0.5 * limit < vector.abs().max() <= limit
    assert weights["model.norm.weight"].abs().max() == 0


def test_causal_norms_start_at_one(attention):
    kind = "laptop" if isinstance(attention, EvaAttention) else "laptop-causal"
    model = LanguageModel(preset(kind, layers=1))
    wanted = 0.0 if isinstance(attention, EvaAttention) else 1.0
    assert (model.model.norm.weight == wanted).all()
    assert (model.model.norm.scale() == 1.0).all()


def test_the_seed_decides_and_depth_does_not(model):
    same = LanguageModel(model.config, seed=7).state_dict()
    assert all(torch.equal(value, same[name]) for name, value in model.state_dict().items())
    other = LanguageModel(model.config, seed=8).state_dict()
    assert not torch.equal(other["lm_head.weight"], same["lm_head.weight"])
    shallow = LanguageModel(preset("demo", vocabulary_size=1000, layers=2), seed=7).state_dict()
    assert all(torch.equal(value, same[name]) for name, value in shallow.items())
    assert not torch.equal(
        same["model.layers.0.mlp.up_proj.weight"], same["model.layers.1.mlp.up_proj.weight"]
    )


def test_building_a_model_leaves_torchs_random_state_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    LanguageModel(preset("demo", layers=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_growing_the_vocabulary_keeps_every_old_row(build, packed):
    model = build(prediction_heads=2, vocabulary_size=400)
    ids, _ = packed(1, 50)
    with torch.no_grad():
        before = model.logits(ids)
        model.extend_vocabulary(500, seed=1)
        after = model.logits(ids)
    assert after.shape == (1, 50, 2, 500)
    torch.testing.assert_close(after[..., :400], before)
    assert model.config.vocabulary_size == 500
    assert model.config.parameter_count == sum(p.numel() for p in model.parameters())
    added = model.lm_head.weight.view(2, 500, -1)[:, 400:]
    assert 0.005 < added.std() < 0.03 and not torch.equal(added[0], added[1])
    embedded = model.state_dict()["model.embed_tokens.weight"][400:]
    assert embedded.std() == pytest.approx(1.0, rel=0.1)
    model.loss(ids + 100, ids[..., None].repeat(1, 1, 2)).loss.backward()
    assert model.lm_head.weight.grad.shape == model.lm_head.weight.shape


def test_a_vocabulary_that_would_shrink_is_refused(build):
    with pytest.raises(UsageError, match="only grows: 399 is below 400"):
        build(vocabulary_size=400).extend_vocabulary(399)
