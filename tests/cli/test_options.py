"""Options that are derived from configurations: what the parser, the help and the errors say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from pydantic import Field, PositiveInt, model_validator

from proxylm.cli import main as cli
from proxylm.cli.options import Flags, defer_options, options
from proxylm.config import Config


class Fast(Config):
    """Quick.

    Attributes:
        speed: how quick.
    """

    kind: Literal["fast"] = "fast"
    speed: Annotated[float, Field(gt=0, lt=1)] = 0.5


class Slow(Config):
    """Not quick."""

    kind: Literal["slow"] = "slow"


class Settings(Config):
    """A configuration with a field of every sort.

    Attributes:
        name: whose it is.
        place: where it is.
        count: how many, of things
            that can be counted.
        wide: so many bits; none has no bound.
        words: what is said.
        raw: bytes as they are.
        bits: of a symbol.
        way: how it goes.
        loud: say it loudly.
        kept: keep what was said.
    """

    name: str
    place: Path | None = None
    count: PositiveInt = 3
    wide: int | None = Field(default=16, le=48)
    words: tuple[str, ...] = ()
    raw: tuple[bytes, ...] = ()
    bits: Literal[8, 16] = 8
    way: Annotated[Fast | Slow, Field(discriminator="kind")] = Fast()
    loud: bool = False
    kept: bool = True

    @model_validator(mode="after")
    def _check(self) -> Settings:
        if self.name == self.place:
            raise ValueError("a name is no place")
        return self


NAMES = (
    *("whose=name", "place", "count", "wide", "words", "raw", "bits", "way=way.kind"),
    *("speed=way.speed", "loud", "kept"),
)
SETTINGS = Flags(f"{__name__}:Settings", NAMES, {"way.kind": "fast"})


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Settings | None]:
    """What the commands ``must`` and ``may`` are given."""
    app, seen = typer.Typer(), []

    @app.command()
    @options(settings=SETTINGS)
    def must(settings: Settings) -> None:
        seen.append(settings)

    @app.command()
    @options(settings=SETTINGS)
    def may(settings: Settings | None = None) -> None:
        seen.append(settings)

    defer_options(app)
    monkeypatch.setattr(cli, "app", app)
    return seen


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ([], {}),
        (["--place", "010"], {"place": Path("010")}),
        (["--count", "1_000"], {"count": 1000}),
        (["--count", "1e3"], {"count": 1000}),
        (["--wide", "none"], {"wide": None}),
        (["--words", "1", "--words", "none"], {"words": ("1", "none")}),
        (["--raw", "a\udcff"], {"raw": (b"a\xff",)}),
        (["--bits", "16"], {"bits": 16}),
        (["--speed", "0.25"], {"way": Fast(speed=0.25)}),
        (["--way", "slow"], {"way": Slow()}),
        (["--loud", "--no-kept"], {"loud": True, "kept": False}),
    ],
)
def test_values_are_read_as_in_a_file(
    made: list[Settings | None], arguments: list[str], values: dict[str, object]
) -> None:
    assert cli.run(["must", "--whose", "7", *arguments]) == 0
    assert made == [Settings.model_validate({"name": "7", **values})]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "0"], "must: --count: Input should be greater than 0 (given: 0)"),
        (["--count", "many"], "must: --count: Input should be a valid integer (given: 'many')"),
        (["--count", "1" * 5000], "--count: the number 1"),
        (["--words", ""], None),
        (["--bits", "9"], "must: --bits: Input should be 8 or 16 (given: 9)"),
        (["--way", "sloe"], "must: --way: there is no 'sloe'; there are: fast, slow; did you mean"),
        (["--speed", "1"], "must: --speed: Input should be less than 1"),
        (["--way", "slow", "--speed", "0.5"], "must: unknown key '--speed'"),
        (["--loud", "--loud"], None),
        (["--count", "1", "--count", "2"], "--count: given twice"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_option(
    made: list[Settings | None],
    arguments: list[str],
    message: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = cli.run(["must", "--whose", "me", *arguments])
    error = capsys.readouterr().err
    assert (status, error.count("\n"), len(made)) == ((0, 0, 1) if message is None else (2, 1, 0))
    assert error.startswith(f"proxylm: {message}" if message else "")


def test_what_has_no_default_must_be_given_unless_the_whole_may_be_missing(
    made: list[Settings | None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["must"]) == 2
    assert "Missing option '--whose'" in capsys.readouterr().err
    assert cli.run(["may"]) == 0
    assert made == [None]
    assert cli.run(["may", "--count", "2"]) == 2
    assert capsys.readouterr().err == "proxylm: --count: goes with --whose; give both\n"


def test_the_help_is_what_the_class_says() -> None:
    fields = SETTINGS.fields
    shown = {n: (None if one.is_flag else one.metavar, one.help) for n, one in fields.items()}
    assert shown == {
        "whose": ("<str>", "Whose it is."),
        "place": ("<path>", "Where it is."),
        "count": ("<int 1..>", "How many, of things that can be counted. (default: 3)"),
        "wide": ("<int ..48>", "So many bits; none has no bound. (default: 16)"),
        "words": ("<str>", "What is said. May be given repeatedly."),
        "raw": ("<str>", "Bytes as they are. May be given repeatedly."),
        "bits": ("<8|16>", "Of a symbol. (default: 8)"),
        "way": ("<fast|slow>", "How it goes. (default: fast)"),
        "speed": ("<float 0..1>", "How quick. (default: 0.5)"),
        "loud": (None, "Say it loudly."),
        "kept": (None, "Keep what was said."),
    }
