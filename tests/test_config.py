from __future__ import annotations

import pytest
from pydantic import model_validator

from proxylm.config import Config, dump_config, load_config
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
        (["steps=many"], "steps: Input should be a valid integer"),
        (["steps=1", "inner.rate=.nan"], "inner.rate: Input should be a finite number"),
        ([], "steps: Field required"),
    ],
)
def test_each_mistake_is_one_line_that_names_the_key(overrides, message):
    with pytest.raises(UsageError) as error:
        load_config(Outer, None, overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["steps: [1", "- 1\n- 2\n", "steps: ${missing}\n"])
def test_unreadable_yaml_names_the_file(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"broken\.yaml"):
        load_config(Outer, path)


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
