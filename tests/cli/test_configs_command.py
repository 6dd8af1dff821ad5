"""``proxylm configs`` and ``proxylm train`` by a shipped name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxylm.cli.main import run
from proxylm.config import load_config
from proxylm.config_files import shipped_configs
from proxylm.training.config import TrainingConfig


def test_the_list_has_a_row_for_each_with_what_sets_it_apart(capsys):
    assert run(["configs", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["configs"]}
    assert list(rows) == shipped_configs()
    assert rows["paper/table2/7b-proxy-neural"] == {
        "name": "paper/table2/7b-proxy-neural",
        "about": "Table 2",
        "model": "evabyte-7b",
        "shown": "0.4 to 0.9 neural, pairs to step 10,000",
        "symbols_per_step": 4_194_304,
        "steps": 80_000,
    }
    shown = {name: row["shown"] for name, row in rows.items()}
    assert shown["paper/table1/4b-byte"] == "bytes"
    assert shown["paper/table1/4b-tokenizer"] == "tokenizer"
    assert shown["paper/table13/always-cr"] == "0.9 tokenizer, compressed first pairs throughout"
    assert shown["paper/late-raw-stage"] == "1 to 0 tokenizer"
    assert shown["paper/figure22/0.5b-without"].endswith("gzip, pairs to step 10,000, no sentinels")


def test_the_list_is_a_table(capsys):
    assert run(["configs", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(shipped_configs()) + 2
    assert "2,097,152" in lines[2]


def test_what_is_shown_is_a_configuration_that_stands_alone(capsys, tmp_path: Path):
    name = "paper/table1/7b-byte"
    assert run(["configs", "show", name, "seed=3"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"# {name}: Tables 1, 4")
    (tmp_path / "mine.yaml").write_text(text)
    config = load_config(TrainingConfig, Path(name), ["seed=3"])
    assert load_config(TrainingConfig, tmp_path / "mine.yaml") == config.resolved()
    assert run(["configs", "show", name, "seed=3", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["config"]
    assert shown["model"]["sizes"]["raw_prediction_heads"] == 7


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("paper/table14", "is a family; add one of its variants, 'paper/table14/...': 95-5, 90-10"),
        ("paper/table14/1-2", "no such file, and no shipped configuration ('proxylm configs list'"),
        ("paper", "no such file, and no shipped"),
    ],
)
def test_a_name_that_is_none_is_one_line(capsys, name: str, message: str):
    for command in (["configs", "show", name], ["train", name, "--out", "never"]):
        assert run(command) == 2
        assert f"proxylm: {name}: {message}" in capsys.readouterr().err


def test_train_takes_a_shipped_name(capsys, tmp_path: Path):
    run(["train", "paper/table1/7b-byte", "data.0.store=here", "--out", str(tmp_path / "run")])
    assert capsys.readouterr().err.startswith("proxylm: here: no finished view store")
