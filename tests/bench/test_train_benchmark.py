"""The training benchmark: the yardstick is a true transformer, and the rows are in form."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from proxylm.bench import train, train_busy
from proxylm.bench.plain_transformer import PlainTransformer
from proxylm.data.mixture import Mixture
from proxylm.demo.settings import DemoSettings
from proxylm.models.language_model import LanguageModel
from proxylm.models.presets import preset
from proxylm.threads import torch_threads
from proxylm.training.loop import Trainer

SIZES = {"layers": 2, "width": 32, "heads": 2, "ffn": 48}


def test_the_yardstick_computes_what_our_causal_model_computes():
    attention = {"kind": "causal", "kv_heads": 2}
    fixed = {"rope_theta": 1e4, "norm_epsilon": torch.finfo(torch.float32).eps}
    config = preset("laptop-causal", attention=attention, **fixed, **SIZES)
    ours, plain = LanguageModel(config), PlainTransformer(vocabulary=320, **SIZES)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        # At their initial size blocks add next to nothing: whatever they compute would do.
        for parameter in ours.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
        plain.embedding.weight.copy_(ours.model.embed_tokens.weight)
        plain.norm.weight.copy_(ours.model.norm.weight)
        plain.output.weight.copy_(ours.lm_head.weight)
        for block, layer in zip(ours.model.blocks(), plain.layers, strict=True):
            projections = (block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.v_proj)
            layer.attention_norm.weight.copy_(block.input_layernorm.weight)
            layer.qkv.weight.copy_(torch.cat([p.weight for p in projections]))
            layer.out.weight.copy_(block.self_attn.o_proj.weight)
            layer.ffn_norm.weight.copy_(block.post_attention_layernorm.weight)
            layer.gate.weight.copy_(block.mlp.gate_proj.weight)
            layer.up.weight.copy_(block.mlp.up_proj.weight)
            layer.down.weight.copy_(block.mlp.down_proj.weight)
    ids = torch.arange(100)[None] + 64
    targets = ids.roll(-1, dims=1)
    found = plain(ids, targets)
    torch.testing.assert_close(found, ours.loss(ids, targets[..., None]).loss, rtol=1e-5, atol=0)


def test_four_documents_of_unequal_length():
    layout = train.document_layout(4096)
    counts = np.bincount(layout[0])
    assert layout.shape == (1, 4096) and len(counts) == 4 and len(set(counts)) == 4


def test_rows_have_their_yardsticks(monkeypatch):
    seconds = {4: (2.0, 2.5, 4.0, 0.1), 3: (2.0, 4.0, 0.1)}  # eva, llama, plain, product
    monkeypatch.setattr(train, "alternate", lambda *steps, repeats: seconds[len(steps)])
    monkeypatch.setattr(train, "peak_memory_of", lambda *_: 1_450_000_000)
    monkeypatch.setattr(train, "run_busy_benchmark", lambda repeats: [])
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


def test_half_of_the_quiet_speed_is_the_fair_share(monkeypatch):
    monkeypatch.setattr(train_busy, "alternate", lambda *actions, repeats: (2.0, 2.5))
    monkeypatch.setattr(train_busy, "quiet_and_busy_seconds", lambda *_: (2.0, 5.0))
    demo, busy = train_busy.run_busy_benchmark(steps=1)
    assert (demo.case, busy.case) == ("train/demo", "train/busy")
    assert demo.value == 4096 / 2 and demo.ratio == 1.25
    assert busy.value == 4096 / 5 and busy.ratio == 0.8


def test_both_ways_of_dividing_the_work_make_the_same_update():
    config = DemoSettings().training(Mixture.bytes_only(), Path("unused"))
    with torch_threads(2):
        found = [
            train_busy.trainer_of(kind, config).update(0)
            for kind in (Trainer, train_busy.DividedByTorch)
        ]
    assert found[0].loss == pytest.approx(found[1].loss, rel=1e-5)
    assert found[0].grad_norm == pytest.approx(found[1].grad_norm, rel=1e-4)


def test_spinning_processes_spin_and_are_gone_afterwards():
    with train_busy.spinning_processes(2) as processes:
        assert [process.poll() for process in processes] == [None, None]
        before = os.times().elapsed
        seconds = [_processor_seconds(process.pid) for process in processes]
        while min(_processor_seconds(process.pid) for process in processes) <= max(seconds):
            assert os.times().elapsed - before < 60, "they compute nothing"
    assert all(process.poll() is not None for process in processes)


def test_spinning_processes_end_with_the_one_that_started_them():
    orphan = [sys.executable, "-c", train_busy._SPIN, str(os.getppid())]
    assert subprocess.run(orphan, timeout=30, check=False).returncode == 0


def _processor_seconds(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11])
