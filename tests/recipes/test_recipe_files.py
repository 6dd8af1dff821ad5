"""Recipes and scales as data: every table and figure has one, and every run can be built small."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from documents import ROOT
from proxylm.checkpoints.checkpoint import step_of
from proxylm.cli.main import run
from proxylm.config import validate_config
from proxylm.config_files import shipped_configs
from proxylm.errors import UsageError
from proxylm.models.config import CausalAttention, EvaAttention, ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.recipes.artifacts import run_for
from proxylm.recipes.plan import plan_of
from proxylm.recipes.recipe import Recipe, read_recipe, recipe_names
from proxylm.recipes.scale import PAPER_STEPS, read_scale, scale_names, scaled, shipped_config

CONFIGURATIONS = [name for name in shipped_configs() if name.startswith("paper/")]
SCALES = {name: read_scale(name) for name in scale_names()}
RECIPES = {name: read_recipe(name) for name in recipe_names()}


def test_there_are_the_scales_and_recipes_that_pages_speak_of() -> None:
    assert set(SCALES) == {"micro", "tiny"}
    assert len(RECIPES) > 25 and len(CONFIGURATIONS) > 80
    assert [name for name in RECIPES if name.startswith("table")][:3] == [
        "table1",
        "table2",
        "table3",
    ]


def test_every_table_and_figure_of_the_papers_page_has_a_recipe() -> None:
    page = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    wanted = set()
    for kind, section in re.findall(r"## (Table|Figure)s\n(.*?)(?=\n## |\n\*Not|\Z)", page, re.S):
        for cell in re.findall(r"^\| ([\d, –to]+) \|", section, re.M):
            for part in re.split(r", ", cell):
                numbers = [int(number) for number in re.findall(r"\d+", part)]
                span = range(numbers[0], numbers[-1] + 1)
                wanted |= {f"{kind.lower()}{number}" for number in span}
    assert len(wanted) > 30
    for name in wanted:
        assert read_recipe(name).title
    with pytest.raises(UsageError, match="no recipe 'table99'; there are: table1"):
        read_recipe("table99")


def test_every_shipped_run_of_the_paper_is_in_a_recipe() -> None:
    used = {name for recipe in RECIPES.values() for name in recipe.runs.values()}
    assert used == set(CONFIGURATIONS)


def test_every_recipe_can_be_planned_at_every_scale() -> None:
    for recipe in RECIPES.values():
        for scale in SCALES.values():
            plan = plan_of(recipe, scale)
            assert len(plan.artifacts()) >= len(recipe.rows)


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_every_run_of_the_paper_is_built_small(scale: Any) -> None:
    built: dict[ModelConfig, None] = {}
    for name in CONFIGURATIONS:
        config, small = shipped_config(name), scaled(shipped_config(name), scale)
        share = scale.steps / PAPER_STEPS
        assert small.total_steps == round(config.total_steps * share)
        before, after = config.model_for(500), small.model_for(500)
        for field in ("softmax", "sentinels", "prediction_heads", "raw_prediction_heads"):
            assert getattr(before, field) == getattr(after, field)
        assert before.vocabulary_size == after.vocabulary_size
        assert type(before.attention) is type(after.attention)
        assert before.context / after.context == 16_384 / scale.context
        assert small.mixing.granularity.fingerprint == config.mixing.granularity.fingerprint or (
            config.mixing.granularity.pairing.steps is not None
        )
        built.setdefault(after)
    for model in built:
        with torch.device("meta"):
            assert LanguageModel(model).config == model


def test_parts_of_a_run_keep_their_share() -> None:
    tiny = SCALES["tiny"]
    small = scaled(shipped_config("paper/table1/7b-proxy-tokenizer"), tiny)
    assert small.total_steps == 1000
    assert small.learning_rate.warmup_steps == 10  # of 500 among 50 000
    rates = small.mixing.rate.rates(1000)
    assert (rates[0], rates[199] < 0.9, rates[200]) == (0.4, True, 0.9)
    assert small.mixing.granularity.pairing.steps_with_pairs(1000) == 200
    assert small.checkpoints.keep_every_steps == 200
    assert isinstance(small.model_for(0).attention, EvaAttention)
    assert small.learning_rate.peak == pytest.approx(5e-4 * tiny.peak_factor)


def test_lengths_contexts_and_heads_keep_their_ratios() -> None:
    tiny = SCALES["tiny"]
    ninety_five, ninety = (
        scaled(shipped_config(f"paper/table14/{name}"), tiny) for name in ("95-5", "90-10")
    )
    assert (ninety_five.total_steps, ninety.total_steps) == (960, 500)
    bits = scaled(shipped_config("paper/figure17/1-bit"), tiny)
    tokens = scaled(shipped_config("paper/table1/1.5b-tokenizer"), tiny)
    assert (bits.context, tokens.context) == (4 * tiny.context, tiny.context // 4)
    full = scaled(shipped_config("paper/opencoder/8b"), tiny)
    assert full.symbols_per_step == 2 * bits.symbols_per_step
    attention = full.model_for(0).attention
    assert isinstance(attention, CausalAttention) and attention.kv_heads == 1  # 8 of 32 heads


@pytest.mark.parametrize("steps", [2, 10, 33, 999])
def test_checkpoints_that_are_measured_are_kept(steps: int) -> None:
    scale = SCALES["micro"].model_copy(update={"steps": steps})
    for recipe in RECIPES.values():
        for one in [run_for(name, scale, seed=0) for name in recipe.runs.values()]:
            total, every = one.config.total_steps, one.config.checkpoints.keep_every_steps
            for share in recipe.shares:
                step = step_of(one.checkpoint(Path("pool"), share))
                assert 0 < step <= total and (step == total or step % every == 0), recipe.title
                assert abs(step - share * total) <= max(1, (every or 0) / 2)


def test_a_recipe_is_checked_when_it_is_read() -> None:
    values = {"title": "A table", "measures": {"used": {"kind": "training"}}}
    wrong = {"columns": {"x": {"value": "unknown.steps"}}}
    with pytest.raises(UsageError, match=r"unknown\.steps begins with no measure"):
        validate_config(Recipe, values | wrong)
    with pytest.raises(UsageError, match="there is no row 'a'"):
        validate_config(Recipe, values | {"paper": {"a": {"pass@1": 1.0}}})


def test_a_file_in_place_of_the_tables_folder_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--pool", str(tmp_path / "pool"), "--out", __file__]
    assert run(["recipe", "run", "figure4", "--scale", "micro", *where]) == 2
    assert "is a file; --out names a folder" in capsys.readouterr().err
    assert not (tmp_path / "pool").exists()


def test_commands_say_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipe", "list"]) == 0
    assert "table10" in capsys.readouterr().out
    assert run(["recipe", "show", "table10", "--scale", "micro", "--pool", "nowhere"]) == 0
    shown = capsys.readouterr().out
    assert "table1/1.5b-byte" in shown and "0 of" in shown
    assert run(["recipe", "run", "table14", "--scale", "paper"]) == 0
    shown = capsys.readouterr().out
    assert "paper/table14/95-5" in shown and "100,663,296,000" in shown
    assert run(["recipe", "run", "table14", "--scale", "huge"]) == 2
    assert "no scale 'huge'; there are: micro, tiny, paper" in capsys.readouterr().err
    assert run(["recipe", "show", "table14", "--scale", "tiny", "steps=1.5"]) == 2
    assert "steps" in capsys.readouterr().err
