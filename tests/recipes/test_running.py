"""Recipes run row by row: what is done is never done again, and folders are not mixed up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxylm.config import Config
from proxylm.errors import UsageError
from proxylm.recipes.running import RECIPES, named_recipe, run_recipe


class Factor(Config):
    factor: int = 2


class Counting:
    """Three rows; which ones were computed is kept outside."""

    name = "counting"
    title = "Table 0: counting"
    settings_class = Factor
    rows = ("one", "two", "three")

    def __init__(self, settings: Factor, stop_at: str = "") -> None:
        self.settings = settings
        self.computed: list[str] = []
        self.stop_at = stop_at

    def run_row(self, row, out, say):
        if row == self.stop_at:
            raise KeyboardInterrupt
        self.computed.append(row)
        return {"value": self.settings.factor * (1 + self.rows.index(row))}

    def table(self, results):
        return ["row", "value"], [[one["row"], str(one["value"])] for one in results]


def test_rows_become_one_table_in_their_order(tmp_path):
    heard: list[str] = []
    result = run_recipe(Counting(Factor()), tmp_path / "out", heard.append)
    assert [(one["row"], one["value"]) for one in result["rows"]] == [
        ("one", 2),
        ("two", 4),
        ("three", 6),
    ]
    assert result["settings"] == {"factor": 2}
    assert json.loads((tmp_path / "out" / "table.json").read_text()) == result
    markdown = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert markdown == [
        "| row | value |",
        "|---|---|",
        "| one | 2 |",
        "| two | 4 |",
        "| three | 6 |",
    ]
    assert heard[1] == "counting: row 2 of 3, two"


def test_a_stopped_run_goes_on_with_the_next_row(tmp_path):
    first = Counting(Factor(), stop_at="two")
    with pytest.raises(KeyboardInterrupt):
        run_recipe(first, tmp_path)
    assert first.computed == ["one"]
    assert not (tmp_path / "table.json").exists()
    second = Counting(Factor())
    run_recipe(second, tmp_path)
    assert second.computed == ["two", "three"]
    third = Counting(Factor())
    assert len(run_recipe(third, tmp_path)["rows"]) == 3
    assert third.computed == []


def test_a_folder_from_before_a_setting_was_added_goes_on_with_its_default(tmp_path):
    run_recipe(Counting(Factor()), tmp_path)
    description = json.loads((tmp_path / "recipe.json").read_text())
    for settings, goes_on in (({}, True), ({"factor": 3}, False), ({"removed": 1}, False)):
        (tmp_path / "recipe.json").write_text(json.dumps(description | {"settings": settings}))
        if goes_on:
            assert len(run_recipe(Counting(Factor()), tmp_path)["rows"]) == 3
        else:
            with pytest.raises(UsageError, match="other settings"):
                run_recipe(Counting(Factor()), tmp_path)


def test_a_folder_belongs_to_one_recipe_and_its_settings(tmp_path):
    run_recipe(Counting(Factor()), tmp_path / "out")
    with pytest.raises(UsageError, match="other settings"):
        run_recipe(Counting(Factor(factor=3)), tmp_path / "out")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("kept")
    with pytest.raises(UsageError, match="not empty"):
        run_recipe(Counting(Factor()), foreign)
    assert [path.name for path in foreign.iterdir()] == ["mine.txt"]


def test_recipes_are_found_by_name():
    assert named_recipe("table6", ["measured_bytes=1000"]).settings.measured_bytes == 1000
    with pytest.raises(UsageError, match="no recipe 'table7'"):
        named_recipe("table7")
    with pytest.raises(UsageError, match="did you mean 'measured_bytes'"):
        named_recipe("table6", ["measured_byte=1"])
    for name, recipe in RECIPES.items():
        assert recipe.name == name and recipe.title.startswith(("Table", "Figure"))


def test_recipe_commands(tmp_path, capsys, monkeypatch):
    from proxylm.cli.main import run

    monkeypatch.setitem(RECIPES, "counting", Counting)
    assert run(["recipe", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["recipes"]
    assert {"name": "counting", "title": Counting.title} in listed
    command = ["recipe", "run", "counting", "--out", str(tmp_path / "out"), "factor=5"]
    assert run([*command, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["rows"][2]["value"] == 15
    assert "row 3 of 3, three" in captured.err
    assert run(command) == 0
    assert "three     15" in capsys.readouterr().out
    assert run(["recipe", "run", "nothing", "--out", str(tmp_path / "other")]) == 2
    assert not (tmp_path / "other").exists()
    assert Path(tmp_path / "out" / "table.md").exists()
