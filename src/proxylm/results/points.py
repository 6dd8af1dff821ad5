"""What experiments consist of: points, each with labels and with numbers that artifacts give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from proxylm.errors import DataNotAtHandError, UsageError
from proxylm.recipes.artifacts import Artifact, with_needs
from proxylm.recipes.plan import value_at

Label = str | int | float


@dataclass(frozen=True)
class Number:
    """Where a number stands.

    Attributes:
        artifact: in whose record.
        place: names inside its result.
    """

    artifact: Artifact
    place: tuple[str, ...]

    def value(self, pool: Path) -> tuple[float | None, str]:
        """The number, and why there is none: one of both is empty."""
        return value_at(self.artifact, pool, self.place)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One observation, made or not.

    Attributes:
        labels: what tells it apart.
        numbers: by name.
        constants: numbers that are known before, a learning rate for instance.
        lacking: why it cannot be made yet; then it has no numbers.
    """

    labels: dict[str, Label]
    numbers: dict[str, Number] = field(default_factory=dict)
    constants: dict[str, float] = field(default_factory=dict)
    lacking: str = ""

    @property
    def artifacts(self) -> list[Artifact]:
        """What its numbers stand in, each once."""
        return list({one.artifact.key: one.artifact for one in self.numbers.values()}.values())


@dataclass(frozen=True, kw_only=True)
class Points:
    """What an experiment wants, as far as it is known.

    Attributes:
        points: its observations.
        sweep: those that only choose something for the others.
        chosen: what the sweep has chosen.
        is_all: whether more points will be known once these are made.
    """

    points: tuple[Point, ...]
    sweep: tuple[Point, ...] = ()
    chosen: dict[str, float] = field(default_factory=dict)
    is_all: bool = True

    def artifacts(self) -> list[Artifact]:
        """Everything, what others need before them, each once."""
        return with_needs(one for point in (*self.sweep, *self.points) for one in point.artifacts)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Files and folders that come from the user.

    Attributes:
        described: what an experiment asks for, by name.
        given: the paths.
    """

    described: Mapping[str, str]
    given: Mapping[str, Path]

    def path(self, name: str) -> Path:
        """The path of an input.

        Raises:
            UsageError: an experiment does not ask for it.
            DataNotAtHandError: it is not given.
        """
        if name not in self.described:
            raise UsageError(f"{{{name}}}: is none of the experiment's inputs")
        if name not in self.given:
            raise DataNotAtHandError(f"needs --input {name}=PATH: {self.described[name]}")
        return self.given[name]


def inputs_from(described: Mapping[str, str], words: Iterable[str]) -> Inputs:
    """Inputs from ``NAME=PATH``.

    Raises:
        UsageError: a word is no such, names none that is asked for, or its path is not there.
    """
    given: dict[str, Path] = {}
    for word in words:
        name, is_path, path = word.partition("=")
        if not is_path or name not in described:
            known = ", ".join(described) or "there are none"
            raise UsageError(f"--input {word}: expected NAME=PATH; names: {known}")
        if not Path(path).exists():
            raise UsageError(f"--input {word}: is not there")
        given[name] = Path(path).resolve()
    return Inputs(described=described, given=given)
