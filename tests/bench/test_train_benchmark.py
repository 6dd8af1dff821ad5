"""The training benchmark: the yardstick is a true transformer, and the rows are in form."""

import numpy as np
import pytest
import torch

from proxylm.bench import train
from proxylm.bench.plain_transformer import PlainTransformer
from proxylm.models.language_model import LanguageModel
from proxylm.models.presets import preset

SIZES = {"layers": 2, "width": 32, "heads": 2, "ffn": 48}


def test_the_yardstick_computes_what_our_causal_model_computes():
    attention = {"kind": "causal", "kv_heads": 2}
    config = preset("laptop-causal", attention=attention, rope_theta=1e4, **SIZES)
    ours, plain = LanguageModel(config), PlainTransformer(vocabulary=320, **SIZES)
    with torch.no_grad():
        plain.embedding.weight.copy_(ours.model.embed_tokens.weight)
        plain.output.weight.copy_(ours.lm_head.weight)
        for block, layer in zip(ours.model.blocks(), plain.layers, strict=True):
            projections = (block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.v_proj)
            layer.qkv.weight.copy_(torch.cat([p.weight for p in projections]))
            layer.out.weight.copy_(block.self_attn.o_proj.weight)
            layer.gate.weight.copy_(block.mlp.gate_proj.weight)
            layer.up.weight.copy_(block.mlp.up_proj.weight)
            layer.down.weight.copy_(block.mlp.down_proj.weight)
    ids = torch.arange(100)[None] + 64
    targets = ids.roll(-1, dims=1)
    found = plain(ids, targets)
    torch.testing.assert_close(found, ours.loss(ids, targets[..., None]).loss, rtol=1e-3, atol=0)


def test_four_documents_of_unequal_length():
    layout = train.document_layout(4096)
    counts = np.bincount(layout[0])
    assert layout.shape == (1, 4096) and len(counts) == 4 and len(set(counts)) == 4


def test_rows_have_their_yardsticks(monkeypatch):
    seconds = {"eva": 2.0, "llama": 2.5, "plain": 4.0, "product": 0.1}
    monkeypatch.setattr(
        train, "_in_turn", lambda steps, device, repeats: {c: seconds[c] for c in steps}
    )
    monkeypatch.setattr(train, "peak_training_bytes", lambda: 1_450_000_000)
    rows = {row.case: row for row in train.run_train_benchmark()}
    assert list(rows) == [
        "train/eva/4096",
        "train/eva/4096/flops",
        "train/llama/4096",
        "train/llama/4096/flops",
        "train/eva/8192",
        "train/eva/8192/flops",
        "train/eva/8192/peak-memory",
    ]
    assert rows["train/eva/4096"].value == 2048 and rows["train/eva/4096"].ratio == 2.0
    assert rows["train/eva/4096/flops"].value == pytest.approx(4096 * 72e6 / 2, rel=0.05)
    eight_products = 8 * 2 * 2048**3
    assert rows["train/eva/4096/flops"].yardstick == pytest.approx(eight_products / 0.1)
    assert rows["train/eva/8192/peak-memory"].ratio == 2.0


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_both_cases_have_the_same_sizes(device):
    scale = train.scale_of(torch.device(device))
    for context, cases in scale.cases.items():
        eva, llama = (scale.config(case, context) for case in ("eva", "llama"))
        assert "eva" in cases and eva.context == llama.context == context
        assert llama.attention.kind == "causal" and llama.attention.kv_heads == eva.heads
        assert llama.model_copy(update={"attention": eva.attention}) == eva
