"""The rules of configuration files: what a scalar means, and mistakes that name their place."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from proxylm.errors import UsageError
from proxylm.yaml_text import MAX_BYTES, parse_value, parse_yaml, read_yaml, scalar

MEANINGS: dict[str, Any] = {
    **{"1_000_000": 1_000_000, "-1_0": -10, "+3": 3, "010": 10, "0x1F": 31, "0o17": 15, "007": 7},
    **{"1e5": 1e5, "7e3": 7e3, "1.5e3": 1500.0, "2.0e-3": 0.002, ".5": 0.5, "5.": 5.0, "-0.0": 0.0},
    **{"true": True, "FALSE": False, "~": None, "": None, "Null": None, "-.inf": -math.inf},
    **dict.fromkeys(("on", "off", "yes", "No", "y", "tRue", "nUll", "1:30", "1:30:15"), str),
    **dict.fromkeys(("2024-05-01", "0b1", "0X1F", "1_", "_1", "1__0", "0x1_F", "1_0.5"), str),
    **dict.fromkeys(("e5", "1e", ".", "1.2.3", "<<", "=", "${x}", "inf", "nan", "１", "1 "), str),
}


@pytest.mark.parametrize(("text", "meaning"), MEANINGS.items())
def test_a_scalar_means_the_same_everywhere(text: str, meaning: Any):
    wanted = text if meaning is str else meaning
    assert scalar(text) == parse_value(text, origin="override") == wanted
    assert type(scalar(text)) is type(wanted)
    if text == text.strip():
        assert parse_yaml(f"a: {text}\nb:\n- {text}\n", origin="file") == {
            "a": wanted,
            "b": [wanted],
        }
        assert parse_yaml(f'"{text}"', origin="file") == text


def test_not_a_number_is_one():
    assert math.isnan(scalar(".NaN"))  # type: ignore[arg-type]


def test_keys_are_texts():
    assert parse_yaml("1: a\non: b\n<<: {null: c}\n", origin="file") == {
        "1": "a",
        "on": "b",
        "<<": {"null": "c"},
    }


@pytest.mark.parametrize("text", ["", "# nothing\n", "\n\n"])
def test_an_empty_file_holds_nothing(text: str):
    assert parse_yaml(text, origin="file") is None


def test_other_forms_of_yaml_are_read():
    text = (
        "%YAML 1.2\n---\na: |\n  x\n  y\nb: >-\n  x\n  y\n? c\n: {d: 'it''s', \"e\": [1, ]}\n...\n"
    )
    assert parse_yaml(text, origin="file") == {
        "a": "x\ny\n",
        "b": "x y",
        "c": {"d": "it's", "e": [1]},
    }


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
MISTAKES = {
    "seed: 1\ndata: []\nseed: 2\n": "line 3, column 1: 'seed': is given twice (first in line 1)",
    "length: {kind: steps, kind: symbols}": "line 1, column 23: 'length.kind': is given twice",
    '"a": 1\na: 2': "line 2, column 1: 'a': is given twice",
    "seed: 1\n\tx: 2\n": "line 2, column 1: 'seed': found character '\\t' that cannot start any "
    "token; write spaces, not tabs",
    "data:\n- store: a\n\t view: b": "line 3, column 1: 'data.0.store': found character '\\t'",
    "data: [1\nseed: 2\n": "line 2, column 5: 'data.0': expected ',' or ']', but got ':' (while "
    "parsing a flow sequence that begins in line 1)",
    "data:\n- {store: a, view: b\nseed: 1\n": "line 3, column 5: 'data.0.view': expected ',' or",
    "model: {kind: preset}}": "line 1, column 22: 'model.kind': expected <block end>",
    "model: 'x\ny: z": "line 2, column 5: 'model': found unexpected end of stream",
    "store: a: b": "line 1, column 9: 'store': mapping values are not allowed here; put a text",
    "store: @a": "line 1, column 8: 'store': found character '@' that cannot start any token; put",
    'a: "\\q"': "line 1, column 6: 'a': found unknown escape character 'q'",
    BOMB: "line 1, column 4: 'a': anchors and aliases (&, *) are not taken",
    "a: *b": "line 1, column 4: 'a': anchors and aliases",
    "&a b: 1": "line 1, column 1: anchors and aliases",
    "? *a\n: 1": "line 1, column 3: anchors and aliases",
    "seed: !!int '3'": "line 1, column 7: 'seed': tags (!) are not taken",
    "a: !!python/object/apply:os.system [x]": "line 1, column 4: 'a': tags (!)",
    "? [a]\n: 1": "line 1, column 3: a key must be a text",
    "--- {a: 1}\n--- {b: 2}\n": "line 2, column 1: 'a': a second document begins",
    "%YAML 1.1\n---\na: 1": "line 1, column 1: %YAML asks for another version than 1.2",
    "a: 1e999": "line 1, column 4: 'a': the number 1e999 is too large",
    "a: " + "1" * 5000: "line 1, column 4: 'a': the number 111",
    "a: 0x" + "F" * 4000: "line 1, column 4: 'a': the number 0xFFF",
    "a: 0o" + "7" * 5000: "line 1, column 4: 'a': the number 0o777",
    'a: "\\U00110000"': "line 1, column 2: 'a': an escape behind here is no character",
    'a: 1\nb: ["\\UFFFFFFFF"]': "line 2, column 5: 'b': an escape behind here",
    "a: x\x85y": "line 1, column 5: the character U+0085 cannot stand here",
    "a: 1\n# x\u2028b: 2": "line 2, column 4: the character U+2028",
    "a: 1\n\ufeffa: 2": "line 2, column 1: the character U+FEFF",
    "a: \0": "line 1, column 4: the character U+0000",
    "a: \ud800": "line 1, column 4: the character U+D800",
    "{a: " * 3000: "is nested more than 64 deep",
    "- " * 3000: "is nested more than 64 deep",
    "a: " + "[" * 100_000 + "]" * 100_000: "is nested more than 64 deep",
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_a_mistake_is_one_line_that_names_its_place(text: str, message: str):
    with pytest.raises(UsageError) as caught:
        parse_yaml(text, origin="run.yaml")
    assert str(caught.value).startswith("run.yaml: line ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_files_that_are_none_are_one_line(tmp_path: Path):
    path = tmp_path / "run.yaml"
    contents = {
        b"a: 1\nb: \xe9\n": "line 2: is not UTF-8",
        "a: 1\n".encode("utf-16"): "line 1: is not UTF-8",
        b"#" * (MAX_BYTES + 1): "is larger than",
    }
    for content, message in contents.items():
        path.write_bytes(content)
        with pytest.raises(UsageError, match=rf"run\.yaml: {message}"):
            read_yaml(path)
    path.write_bytes("\ufeffa: é\n".encode())
    assert read_yaml(path) == {"a": "é"}
    with pytest.raises(UsageError, match=r"cannot be read \(Is a directory\)"):
        read_yaml(tmp_path)
    with pytest.raises(UsageError, match=r"gone\.yaml: no such configuration file"):
        read_yaml(tmp_path / "gone.yaml")
