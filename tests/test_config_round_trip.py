"""What is saved reads back equal: every configuration class, with texts that YAML could mistake."""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import proxylm
from proxylm.config import Config, dump_config, load_config, validate_config
from proxylm.data.open_choice import OBJECT_KIND, OpenChoice
from proxylm.data.sources import SourceConfig
from proxylm.errors import UsageError
from proxylm.generation.structured_output.guidance import Grammar
from proxylm.models.config import ModelConfig
from proxylm.models.presets import PRESETS
from proxylm.results.grid import GridWork, Size
from proxylm.training.config import TrainingConfig
from proxylm.yaml_text import dump_yaml, parse_yaml

NASTY = (
    *("7e3", "1e5", "12e4567", "1.5e3", ".5", "5.", "1_000", "0x1F", "0o17", "0b1", "010", "-0"),
    *("1_", "_1", "+1", "1:30", "1:30:15.5", "2024-05-01", "2024-05-01T10:00:00Z", ".inf", "-.INF"),
    *(".nan", "null", "Null", "~", "", "on", "off", "yes", "No", "y", "true", "FALSE", "<<", "="),
    *("${x}", "${oc.env:HOME}", "{a}", "[a]", "a: b", "a:", ":a", "- a", "-", "?", "? a", "st #1"),
    *(" st #1", "st #1 ", "#", "a#", "&a", "*a", "!a", "!!int 3", "%a", "@a", "`a", "|", ">-"),
    *("---", "...", "'", '"', "it's", '"a"', "a\\nb", "\\", "a\nb", "a\n\n b\n", "\n", "\r", "\t"),
    *("a\r\nb", "a\tb", "\x85", "a\x85b", "\u2028", "a\u2029 b", "\ufeffa", "a\ufeff", "\0"),
    *("\x7f", "\x1b[1m", "\xa0", "é", "\u0301", "😀", "\ufffe", "\U0010ffff", "wo rd" * 40),
)
TEXTS = st.sampled_from(NASTY) | st.text(max_size=12) | st.text("0123456789+-._eExo:", max_size=8)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)


def config_classes() -> Iterator[type[Config]]:
    """All that can be made, whatever module they are in."""
    sources = Path(proxylm.__file__).parent
    for path in sorted(sources.rglob("*.py")):
        if "Config)" in path.read_text(encoding="utf-8"):
            parts = path.relative_to(sources.parent).with_suffix("").parts
            importlib.import_module(".".join(parts))
    waiting = Config.__subclasses__()
    while waiting:
        one = waiting.pop()
        waiting += one.__subclasses__()
        if one.__module__.startswith("proxylm.") and not inspect.isabstract(one):
            yield one


def plain(annotation: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    """Plain values for a field of that type, within its limits."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    limits = limits_of(metadata)
    open_choices = [one for one in metadata if isinstance(one, OpenChoice)]
    if open_choices:
        recorded = {"kind": st.just(OBJECT_KIND), "class": TEXTS, "fingerprint": TEXTS}
        kinds = [fields(kind) for kind in open_choices[0].kinds]
        return st.one_of([*kinds, st.fixed_dictionaries(recorded)])
    if origin is Annotated:
        return plain(arguments[0], [*metadata, *arguments[1:]])
    if origin in (Union, types.UnionType):
        return st.one_of([plain(one, metadata) for one in arguments])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple and arguments[-1] is not Ellipsis:
        return st.tuples(*(plain(one, []) for one in arguments)).map(list)
    if origin in (tuple, list):
        return st.lists(plain(arguments[0], []), min_size=limits.get("min_length", 0), max_size=2)
    if origin is dict:
        return st.dictionaries(TEXTS, plain(arguments[1], []), max_size=2)
    if annotation is int:
        return st.integers(
            limits.get("ge", limits.get("gt", -(2**70)) + 1),
            limits.get("le", limits.get("lt", 2**70) - 1),
        )
    if annotation is float:
        ends = (limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt")))
        return st.floats(
            *ends, exclude_min="gt" in limits, exclude_max="lt" in limits, allow_infinity=False
        ).filter(lambda number: number == number)
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return fields(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return st.sampled_from([one.value for one in annotation])
    others = {bool: st.booleans(), type(None): st.none(), Any: PLAIN}
    others |= dict.fromkeys((str, bytes, Path), TEXTS)
    return others[annotation]


def limits_of(metadata: list[Any]) -> dict[str, Any]:
    flat = [one for item in metadata for one in getattr(item, "metadata", [item])]
    names = ("ge", "gt", "le", "lt", "min_length")
    return {name: getattr(one, name) for one in flat for name in names if hasattr(one, name)}


def fields(config_class: type[Config]) -> st.SearchStrategy[dict[str, Any]]:
    """Values for all that must be given and for some of the rest."""
    required, optional = {}, {}
    for name, field in config_class.model_fields.items():
        is_kind = get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
        group = required if field.is_required() or is_kind else optional
        group[name] = plain(field.annotation, field.metadata)
    for name, strategy in FITTING.get(config_class, {}).items():
        optional.pop(name, None)
        required[name] = strategy
    return st.fixed_dictionaries(required, optional=optional)


# Fields that must fit each other, which chance does not find.
FITTING: dict[type[Config], dict[str, st.SearchStrategy[Any]]] = {
    GridWork: {
        "sizes": st.fixed_dictionaries({"small": st.deferred(lambda: fields(Size))}),
        "measures": st.just({"held_out": {"kind": "held-out"}}),
        "arms": st.fixed_dictionaries({"bytes": st.just({}), "late": st.just({"start": "bytes"})}),
        "numbers": st.just({"bits": "held_out.bits"}),
        "swept": st.just("small"),
        "chosen_by": st.just("bits"),
    },
    Size: {"arms": st.just(["late"]), "corpora": st.just([])},
    Grammar: {"text": st.just('start: "7e3"')},
    ModelConfig: {
        name: st.just(value) for name, value in (PRESETS["demo"] | {"vocabulary_size": 320}).items()
    },
    TrainingConfig: {
        "data": st.lists(st.fixed_dictionaries({"store": TEXTS, "view": TEXTS}), min_size=1),
        "model": st.just({"kind": "preset", "name": "demo"}),
        "symbols_per_step": st.just(8192),
        "length": st.just({"kind": "steps", "steps": 20_000}),
        "learning_rate": st.just({"kind": "cosine", "peak": 1e-5, "warmup_steps": 1}),
    },
}


@pytest.mark.parametrize("config_class", list(config_classes()), ids=lambda one: one.__name__)
@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_configuration_survives_being_saved(config_class, data):
    values = data.draw(fields(config_class))
    try:
        config = config_class.model_validate(values)
    except (ValidationError, UsageError):
        assume(False)
    again = parse_yaml(dump_config(config), origin="saved")
    assert validate_config(config_class, again) == config


@pytest.mark.parametrize("text", NASTY)
def test_a_text_is_the_same_wherever_it_stands(text: str):
    values = {text: [text, {text: text}], "sizes": {"x": text}}
    saved = dump_yaml(values)
    assert parse_yaml(saved, origin="saved") == values
    assert yaml.safe_load(saved) == values  # other programs read it, too


def test_nasty_texts_survive_a_file(tmp_path: Path):
    path = tmp_path / "run.yaml"
    for text in NASTY:
        config = SourceConfig(store=text, view=text)
        path.write_text(dump_config(config), encoding="utf-8")
        assert load_config(SourceConfig, path) == config


@settings(max_examples=40)
@given(PLAIN)
def test_plain_values_keep_value_and_type(value: Any):
    assert repr(parse_yaml(dump_yaml([value]), origin="saved")) == repr([value])
