"""Files that build on others: what counts, what a name stands for, mistakes in one line."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from proxylm.config import Config, load_config
from proxylm.config_files import SHIPPED, read_config_file, shipped_configs
from proxylm.errors import UsageError


class Part(Config):
    x: int = 0
    y: int = 0


class Whole(Config):
    part: Part = Part()
    names: tuple[str, ...] = ()
    steps: int = 0


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


def mistake(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load_config(Whole, path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_is_laid_over_what_it_extends_and_overrides_over_both(tmp_path):
    (tmp_path / "deep").mkdir()
    write(
        tmp_path,
        ground="part: {x: 1, y: 1}\nnames: [a, b]\nsteps: 1\n",
        middle="extends: ground.yaml\npart: {x: 2}\nnames: [c]\n",
    )
    write(tmp_path / "deep", top="extends: ../middle.yaml\npart:\n  y: 3\n")
    path = tmp_path / "deep" / "top.yaml"
    assert load_config(Whole, path) == Whole(part=Part(x=2, y=3), names=("c",), steps=1)
    assert load_config(Whole, path, ["part.x=9"]).part == Part(x=9, y=3)
    assert load_config(Whole, path).part == Part(x=2, y=3)


def test_of_several_that_are_extended_the_later_counts(tmp_path):
    write(
        tmp_path,
        one="part: {x: 1, y: 1}\nsteps: 1\n",
        two="part: {x: 2}\n",
        both="extends: [one.yaml, two.yaml]\n",
    )
    assert load_config(Whole, tmp_path / "both.yaml") == Whole(part=Part(x=2, y=1), steps=1)


def test_a_variant_is_named_like_a_file_in_a_folder(tmp_path):
    write(
        tmp_path,
        sizes="part: {y: 7}\n",
        family="about: All\nsteps: 1\npart: {x: 1}\nvariants:\n"
        "  0.5b: {part: {x: 5}}\n  big: {extends: sizes.yaml, about: Big}\n",
        child="extends: family.yaml/big\n",
    )
    family = tmp_path / "family.yaml"
    assert load_config(Whole, family / "0.5b") == Whole(steps=1, part=Part(x=5))
    assert load_config(Whole, family / "big").part == Part(x=1, y=7)
    assert load_config(Whole, tmp_path / "child.yaml").part == Part(x=1, y=7)
    abouts = [read_config_file(family / name).about for name in ("0.5b", "big")]
    assert abouts == ["All", "Big"]
    assert mistake(family).endswith(": 0.5b, big")
    assert "is a family" in mistake(family)
    assert "no such" in mistake(family / "small")


def test_a_shipped_name_counts_where_there_is_no_such_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()  # a folder is no configuration
    shipped = read_config_file(Path("tiny")).values
    assert shipped["model"]["name"] == "demo"
    write(tmp_path, mine="extends: tiny\nsymbols_per_step: 1\n")
    assert read_config_file(Path("mine.yaml")).values == shipped | {"symbols_per_step": 1}
    (tmp_path / "tiny").rmdir()
    (tmp_path / "tiny").write_text("steps: 3\n")
    assert read_config_file(Path("tiny")).values == {"steps": 3}


def test_shipped_names_are_runs_in_the_order_of_their_numbers():
    names = shipped_configs()
    assert len(names) == len(set(names)) > 80
    assert not [name for name in names if "parts" in name]
    assert names.index("paper/table2/7b-byte") < names.index("paper/table13/none")
    assert all(read_config_file(Path(name)).about for name in names)
    files = {path for path in SHIPPED.rglob("*") if path.is_file()}
    assert {path.suffix for path in files} == {".yaml"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: gone.yaml\n", "there is no file 'gone.yaml' beside it, and no shipped"),
        ("extends: ''\n", "extends: '' is no name"),
        ("extends: [3]\n", "extends: 3 is no name"),
        ("extends: broken.yaml\n", "broken.yaml: line 2, column 1: "),
        ("extends: list.yaml\n", "list.yaml: expected keys and values, found list"),
        ("extends: file.yaml\n", "file.yaml -> "),
        ("extends: round.yaml\n", "extends: goes in a circle: "),
        ("extends: ground.yaml\nstepz: 1\n", "did you mean 'steps'?"),
        ("variants: [1]\n", "variants: expected names and their values"),
        ("variants: {a: 1}\n", "variants.a: expected keys and values"),
    ],
)
def test_mistakes_name_the_file(tmp_path, text, message):
    write(
        tmp_path,
        file=text,
        broken="steps: 1\n]\n",
        list="- 1\n",
        round="extends: file.yaml\n",
        ground="steps: 1\n",
    )
    line = mistake(tmp_path / "file.yaml")
    assert message in line
    assert str(tmp_path) in line


def test_a_mistake_in_what_is_extended_names_both_files(tmp_path):
    write(tmp_path, ground="steps: many\n", top="extends: ground.yaml\n")
    line = mistake(tmp_path / "top.yaml")
    assert line.startswith(f"{tmp_path / 'top.yaml'} (with {tmp_path / 'ground.yaml'}): steps: ")


def test_a_pipe_is_read_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("steps: 4\n",))
    writer.start()
    assert load_config(Whole, pipe).steps == 4
    writer.join()
