"""Recipes from the command to the table: killed and started again, and every name."""

from __future__ import annotations

import gzip
import json
import random
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from benchmark_data import DATA, RECODE
from proxylm.cli.main import run
from proxylm.recipes.recipe import read_recipe, recipe_names

KINDS = ("compressors", "stores", "runs", "measurements")
PROGRAM = "import sys; from proxylm.cli.main import run; sys.exit(run(sys.argv[1:]))"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests' few problems, in files of the released ones' names."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("HumanEvalPlus.jsonl", "MbppPlus.jsonl"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((DATA / name).read_bytes()))
    with tarfile.open(folder / "recode-humaneval.tar.xz", "w:xz") as archive:
        for part in RECODE.iterdir():
            archive.add(part, part.name)
    return folder


def command(name: str, pool: Path, data: Path) -> list[str]:
    where = ["--pool", str(pool), "--out", str(pool / "out"), "--data", str(data)]
    return ["recipe", "run", name, "--scale", "micro", *where, "steps=10"]


def table_of(pool: Path) -> tuple[dict[str, Any], str]:
    return json.loads((pool / "out" / "table.json").read_text()), (
        pool / "out" / "table.md"
    ).read_text()


def kill_at_random(arguments: list[str], numbers: random.Random) -> None:
    """Start a recipe and kill it while it makes one of its next artifacts, or a little later."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    wanted = numbers.randint(2, 6)
    while wanted and (line := process.stderr.readline()):
        wanted -= line.partition(":")[0] in KINDS
    time.sleep(numbers.random())
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    ("name", "kills"), [("table15", 1), pytest.param("table13", 5, marks=pytest.mark.long)]
)
@pytest.mark.timeout(1200)
def test_killed_and_started_again_it_ends_with_the_same_table(
    name: str, kills: int, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(command(name, whole, data)) == 0
    expected = table_of(whole)
    assert "Wiring only" in expected[1]
    values = [cell["value"] for row in expected[0]["rows"] for cell in row["cells"].values()]
    assert sum(value is not None for value in values) >= len(read_recipe(name).rows)

    numbers = random.Random(kills)
    for _ in range(kills):
        kill_at_random(command(name, killed, data), numbers)
        assert not (killed / "out").exists()
    capsys.readouterr()
    assert run([*command(name, killed, data), "--json"]) == 0
    found = capsys.readouterr()
    assert json.loads(found.out)["rows"] == expected[0]["rows"]
    assert table_of(killed) == expected
    assert re.search(r"^[1-9]\d* of \d+ artifacts are there already", found.err, re.M)

    # What is there is only read.
    assert run([*command(name, killed, data), "--json"]) == 0
    assert "runs:" not in capsys.readouterr().err
    assert table_of(killed) == expected


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_recipe_runs_at_micro(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in recipe_names():
        assert run(command(name, tmp_path / "pool", data)) == 0, name
        table, page = table_of(tmp_path / "pool")
        recipe = read_recipe(name)
        assert [row["row"] for row in table["rows"]] == recipe.rows
        for row in table["rows"]:
            # Everything is a number, or has its reason; something of each row is a number.
            cells = row["cells"].values()
            assert any(cell["value"] is not None for cell in cells), (name, row)
        assert page.startswith(f"# {recipe.title}")
        capsys.readouterr()
