"""``proxylm plan`` on shipped configurations."""

from __future__ import annotations

import json

import pytest

from proxylm.cli.main import run

SEVEN_B = "paper/table1/7b-proxy-tokenizer"


def test_a_plan_of_the_papers_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", SEVEN_B, "--gpus", "64", "--mfu", "0.4", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["vocabulary_size"] == 320 + 96_640
    # 45 to 47 GFLOP a symbol, 4.8e21 in all: 2.2 days of 64 GPUs.
    assert 45e9 < plan["flops"]["per_symbol"] < 47e9
    assert plan["flops"]["total"] == pytest.approx(4.8e21, rel=0.01)
    assert plan["duration"]["hours"] / 24 == pytest.approx(2.2, rel=0.01)
    total = plan["flops"]["total"] / (64 * 989.4e12 * 0.4 * 3600)
    assert plan["duration"]["hours"] == pytest.approx(total)
    assert plan["duration"]["gpu_hours"] == pytest.approx(64 * total)
    assert plan["memory"]["shard"] == 8 and plan["memory"]["total"] < 72e9
    assert plan["memory"]["passes_per_step"] == 2
    assert plan["disk"]["checkpoint"] == 12 * plan["parameters"]
    # Every 10 000 steps, and the last three of every 1000.
    assert plan["disk"]["checkpoints"] == 7
    assert plan["data"]["sources"][0]["epochs"] is None
    assert [step["work"] for step in plan["preparing"]] == ["compression"]


def test_a_step_with_few_contexts_leaves_gpus_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", SEVEN_B, "length.steps=1000"]
    assert run([*arguments, "--gpus", "96", "--json"]) == 0
    duration = json.loads(capsys.readouterr().out)["duration"]
    assert duration["busy"] == pytest.approx(128 / 192)  # two contexts, of 128 in a step
    assert run([*arguments, "--gpus", "96"]) == 0
    assert "GPUs have a context 67% of the time" in capsys.readouterr().out


def test_what_the_configuration_says_of_ranks_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    parallel = "parallel={shard: 4, recompute: all}"
    arguments = ["plan", SEVEN_B, "length.steps=1000", parallel, "--gpus", "8"]
    assert run([*arguments, "--data-bytes", "1_000_000_000"]) == 0
    shown = capsys.readouterr().out
    assert "parallel: {shard: 4, recompute: all}, 16 passes of 1 contexts" in shown
    assert "stores/python (not there)" in shown


def test_what_cannot_fit_fails_with_the_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", "paper/table1/14b-byte", "length.steps=1000", "--gpus", "2"]
    assert run([*arguments, "--gpu", "a100"]) == 2
    told = capsys.readouterr().err
    assert "do not fit" in told and "72.0 of the 80 GB of one a100" in told
