"""``key.sub=value``: the whole of the value, at a place that exists."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxylm.errors import UsageError
from proxylm.overrides import apply_override
from proxylm.yaml_text import scalar


def values() -> dict[str, Any]:
    return {"seed": 0, "data": [{"store": "v", "view": None}, None], "none": [], "rate": {"a": 1}}


def overridden(*overrides: str) -> dict[str, Any]:
    changed = values()
    for override in overrides:
        apply_override(changed, override)
    return changed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("st #1", "st #1"),
        (" st #1 ", " st #1 "),
        ("a: b", "a: b"),
        ("*a", "*a"),
        ("!x", "!x"),
        ("- a", "- a"),
        ("${x}", "${x}"),
        ("a=b", "a=b"),
        ("a\nb", "a\nb"),
        ("x\u2028y\x85", "x\u2028y\x85"),
        (" 3", " 3"),
        ("", None),
        ("1e5", 1e5),
        ("1_000", 1000),
        ('"7e3"', "7e3"),
        ('"st #1 \\u2028" ', "st #1 \u2028"),
        ("'it''s'", "it's"),
        ("{kind: steps, steps: 1_0}", {"kind": "steps", "steps": 10}),
        ("[{store: 'a #1'}, 1e5]", [{"store": "a #1"}, 1e5]),
    ],
)
def test_the_value_is_all_that_follows(text: str, value: Any):
    assert overridden(f"data.0.store={text}")["data"][0] == {"store": value, "view": None}


@given(st.text(st.characters(exclude_categories=())))
def test_what_is_no_word_number_or_bracket_is_a_text(text: str):
    if not text.startswith(("[", "{", '"', "'")) and isinstance(scalar(text), str):
        assert overridden(f"seed={text}")["seed"] == text


def test_sections_are_made_and_replaced_whole():
    assert overridden("new.sub.key=1")["new"] == {"sub": {"key": 1}}
    assert overridden("data.1.store=x")["data"][1] == {"store": "x"}
    assert overridden("data.0.view.x=1")["data"][0]["view"] == {"x": 1}
    assert overridden("rate={b: 2}")["rate"] == {"b": 2}
    assert overridden("data=[]")["data"] == []
    assert overridden("seed=1", "seed=2")["seed"] == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "expected key.sub=value"),
        ("=1", "expected key.sub=value"),
        ("a..b=1", "expected key.sub=value"),
        (".a=1", "expected key.sub=value"),
        ("data.2.store=x", "'data' has the positions 0 to 1, not '2'"),
        ("data.-1.store=x", "'data' has the positions 0 to 1, not '-1'"),
        ("data.x=1", "'data' has the positions 0 to 1, not 'x'"),
        ("data.1_0=1", "'data' has the positions 0 to 1, not '1_0'"),
        (f"data.{'9' * 5000}=1", "'data' has the positions 0 to 1"),
        ("none.0=1", "'none' is an empty list; give it whole"),
        ("seed.x=1", "'seed' is 0, which has no 'x'"),
        ("data.0.store.x.y=1", "'data.0.store' is 'v', which has no 'x'"),
        ("seed=[1", "line 1, column 3: '0': expected ',' or ']'"),
        ("seed=[1]2", "line 1, column 4: '0': goes on behind its end"),
        ("seed=[1] # x", "goes on behind its end"),
        ("seed={a: 1}: 2", "a key must be a text"),
        ("seed='a': 1", "goes on behind its end"),
        ("seed='tis", "unexpected end of stream"),
        ('seed="a" b', "goes on behind its end"),
        ("seed={a: 1, a: 2}", "'a': is given twice"),
        ("seed=1e999", "the number 1e999 is too large"),
        ("seed=0x" + "F" * 5000, "the number 0xFFF"),
        ('seed="\\U00110000"', "an escape behind here is no character"),
        ("seed=" + "[" * 3000, "nested more than 64 deep"),
    ],
)
def test_a_mistake_names_the_override(override: str, message: str):
    with pytest.raises(UsageError) as caught:
        overridden(override)
    assert str(caught.value).startswith("override '")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 350
