from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import pytest
from pydantic import Field, model_validator

from proxylm.config import Config, dump_config, load_config, validate_config
from proxylm.errors import UsageError


class Inner(Config):
    rate: float = 0.9


class Outer(Config):
    steps: int
    inner: Inner = Inner()

    @model_validator(mode="after")
    def _fits(self) -> Outer:
        if self.steps > 100:
            raise ValueError("steps exceed 100")
        return self


def test_yaml_and_overrides_resolve_and_read_back(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("steps: 3\ninner: {rate: 0.5}\n")
    config = load_config(Outer, path, ["inner.rate=0.25"])
    assert config == Outer(steps=3, inner=Inner(rate=0.25))
    path.write_text(dump_config(config))
    assert load_config(Outer, path) == config


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["stepz=3"], "unknown key 'stepz'; did you mean 'steps'?"),
        (["steps=3", "inner.rat=1"], "unknown key 'inner.rat'; did you mean 'rate'?"),
        (["steps=many"], "steps: Input should be a valid integer (given: 'many')"),
        (["steps=1", "inner=3"], "inner: Input should be a valid dictionary"),
        (
            ["steps=1", "inner=[1"],
            "override 'inner=[1': line 1, column 3: '0': expected ',' or ']'",
        ),
        (["steps=1", "inner.rate=.nan"], "inner.rate: Input should be a finite number"),
        ([], "steps: Field required"),
    ],
)
def test_each_mistake_is_one_line_that_names_the_key(overrides, message):
    with pytest.raises(UsageError) as error:
        load_config(Outer, None, overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


class One(Config):
    kind: Literal["one"] = "one"
    count: int = 1


class Other(Config):
    kind: Literal["other"] = "other"
    names: tuple[str, ...] = ()


class Kinds(Config):
    type: Annotated[One | Other, Field(discriminator="kind")] = One()
    default: Annotated[One | Other, Field(discriminator="kind")] | None = None
    many: tuple[Annotated[One | Other, Field(discriminator="kind")], ...] = ()
    on: bool = False
    whole: int = 0
    power: Literal[1, 2] = 1
    metadata: float = 0.5
    text: str = ""


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("whole=1e5", 100_000),
        ("whole=1_000", 1000),
        ("whole=010", 10),
        ("whole=0x1F", 31),
        ("whole=-3.0", -3),
        ("metadata=3", 3.0),
        ("metadata=1e5", 1e5),
        ("on=true", True),
        ("power=2e0", 2),
        ("text=on", "on"),
        ("text=1:30", "1:30"),
        ("text=st #1", "st #1"),
        ("text=${x}", "${x}"),
        ('text="7e3"', "7e3"),
        ("many=[{kind: one, count: 2e0}]", (One(count=2),)),
    ],
)
def test_a_file_and_an_override_say_the_same(tmp_path, override: str, value: Any):
    key, _, text = override.partition("=")
    path = tmp_path / "run.yaml"
    path.write_text(f"{key}: {text if '#' not in text else repr(text)}\n")
    for config in (load_config(Kinds, path), load_config(Kinds, None, [override])):
        found = getattr(config, key)
        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("whole=true", "whole: Input should be a valid integer (given: True)"),
        ("whole=on", "whole: Input should be a valid integer (given: 'on')"),
        ("whole=1:30", "whole: Input should be a valid integer (given: '1:30')"),
        ("whole='3'", "whole: Input should be a valid integer (given: '3')"),
        ("whole=1.5", "whole: Input should be a valid integer (given: 1.5)"),
        ("whole=9007199254740994.0", "whole: Input should be a valid integer"),
        ("metadata=true", "metadata: Input should be a valid number (given: True)"),
        ("metadata='0.5'", "metadata: Input should be a valid number (given: '0.5')"),
        ("metadata=.inf", "metadata: Input should be a finite number"),
        ("power=true", "power: Input should be a valid integer (given: True)"),
        ("power=1.5", "power: Input should be 1 or 2 (given: 1.5)"),
        ("on=1", "on: Input should be a valid boolean (given: 1); write true or false"),
        ("on=yes", "on: Input should be a valid boolean (given: 'yes'); write true or false"),
        ("on=1.0", "on: Input should be a valid boolean (given: 1.0); write true or false"),
        ("text=7e3", "text: Input should be a valid string (given: 7000.0); put it in quotes"),
        ("text=true", "text: Input should be a valid string (given: True); put it in quotes"),
        ("many=[{kind: one, count: true}]", "many.0.count: Input should be a valid integer"),
        ("type={count: 1}", "type.kind: is missing; give one of: one, other"),
        ("type.kind=", "type.kind: is missing; give one of: one, other"),
        ("default={}", "default.kind: is missing; give one of: one, other"),
        ("many=[{names: []}]", "many.0.kind: is missing; give one of: one, other"),
        ("type.kind=othr", "there is no 'othr'; there are: one, other; did you mean 'other'?"),
        ("type={kind: [one]}", "type.kind: there is no ['one']; there are: one, other"),
        ("type={kind: 1}", "type.kind: there is no 1; there are: one, other"),
        ("type=one", "type: give fields with a 'kind' out of: one, other (given: 'one')"),
        ("many=[3]", "many.0: give fields with a 'kind' out of: one, other (given: 3)"),
    ],
)
def test_nothing_is_taken_for_something_else(override: str, message: str):
    with pytest.raises(UsageError) as caught:
        load_config(Kinds, None, [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_numbers():
    values = {"whole": np.int64(3), "metadata": np.float32(0.5)}
    assert validate_config(Kinds, values) == Kinds(whole=3, metadata=0.5)


@pytest.mark.parametrize("text", ["steps: [1", "- 1\n- 2\n", "steps: ${missing}\n"])
def test_unreadable_yaml_names_the_file(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"broken\.yaml"):
        load_config(Outer, path)


class Place(Config):
    path: str = ""

    @model_validator(mode="after")
    def _is_there(self) -> Place:
        if self.path == "gone":
            raise UsageError("path: there is none")
        return self


class Places(Config):
    first: Place = Place()


@pytest.mark.parametrize("override", ["first.path=gone", "first={path: gone}"])
def test_a_check_of_ours_says_where_the_value_comes_from(tmp_path, override: str):
    path = tmp_path / "run.yaml"
    path.write_text("")
    with pytest.raises(UsageError, match=r"run\.yaml: path: there is none$"):
        load_config(Places, path, [override])


@pytest.mark.parametrize(
    "value", ["7" * 4000, "x" * 4000, f"{{kind: {'x' * 4000}}}", f"[{'a, ' * 2000}]"]
)
def test_what_is_shown_of_a_value_is_short(value: str):
    with pytest.raises(UsageError, match="configuration: ") as caught:
        load_config(Kinds, None, [f"type={value}"])
    assert len(str(caught.value)) < 300


def test_what_has_no_keys_is_told_once():
    with pytest.raises(UsageError, match=r"^here: expected keys and values, found list$"):
        validate_config(Outer, [1], origin="here")


@pytest.mark.parametrize(
    ("values", "shown"),
    [({"setp": 1}, "Outer: unknown key 'setp'; did you mean"), ({"steps": "x"}, "Outer: steps: ")],
)
def test_calling_the_class_says_what_is_wrong_in_one_line(values, shown):
    with pytest.raises(UsageError) as caught:
        Outer(**values)
    assert str(caught.value).startswith(shown) and "\n" not in str(caught.value)


def test_a_mistake_of_the_whole_is_told_once(tmp_path):
    with pytest.raises(UsageError, match=r"^configuration: steps exceed 100$"):
        load_config(Outer, None, ["steps=101"])
    path = tmp_path / "run.yaml"
    path.write_text("steps: 101\n")
    with pytest.raises(UsageError, match=r"run\.yaml: steps exceed 100$"):
        load_config(Outer, path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nothing\.yaml: no such"):
        load_config(Outer, tmp_path / "nothing.yaml")
