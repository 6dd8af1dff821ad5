"""An experiment as commands of ``proxylm``: what each says in JSON is kept.

So models and runs that were made elsewhere are measured, by the same commands as anybody would
type. A command's key follows from its words, and from the content of what these name.

In a command, ``<label>`` stands for a label's value, and ``{name}`` for the path of an input, of
what another command has made, or (``{out}``) of what this one makes.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from proxylm.checkpoints.checkpoint import MANIFEST
from proxylm.config import Config
from proxylm.errors import DataNotAtHandError, ProxylmError, UsageError
from proxylm.files import sha256_of
from proxylm.fingerprint import fingerprint_of
from proxylm.recipes.artifacts import REASON, Artifact, Record, Say
from proxylm.recipes.engine import CPU_SECONDS
from proxylm.recipes.measures import EvaluationData
from proxylm.recipes.plan import RESULT
from proxylm.results.points import Inputs, Label, Number, Point, Points

OUT = "out"
_PATH = re.compile(r"\{([\w-]+)\}(.*)")
"""In a word: an input or a step, and what stands below it."""

_LABEL = re.compile(r"<(\w+)(?::(\w+))?>")

Values = tuple[Label, ...] | dict[str, str]


class CommandTemplate(Config):
    """One command, or one for every combination of labels.

    Attributes:
        each: values of the labels in its words; of a mapping, the text that stands for a value; a
            name stands for one of the work's ``lists``.
        command: its words behind ``proxylm``.
        minutes: about what it takes on one core.
    """

    each: dict[str, str | Values] = Field(default_factory=dict)
    command: str
    minutes: PositiveFloat = 1.0

    def variants(
        self, lists: Mapping[str, Values]
    ) -> Iterator[tuple[dict[str, Label], dict[str, Label]]]:
        """For every combination, its labels, and what stands for each in the words."""
        named = [lists[one] if isinstance(one, str) else one for one in self.each.values()]
        values = [
            [*one.items()] if isinstance(one, Mapping) else [(each, each) for each in one]
            for one in named
        ]
        for chosen in itertools.product(*values):
            pairs = list(zip(self.each, chosen, strict=True))
            yield (
                {name: label for name, (label, _) in pairs},
                {name: text for name, (_, text) in pairs},
            )


class PointTemplate(CommandTemplate):
    """Points whose numbers a command gives.

    Attributes:
        labels: that all of them have.
        numbers: by name, the place in what the command says, labels in it as in the words.
    """

    labels: dict[str, Label] = Field(default_factory=dict)
    numbers: dict[str, str]


class CommandsWork(Config):
    """All commands.

    Attributes:
        lists: values that several templates have, by name.
        steps: commands that make something in ``{out}``, by name.
        points_of: what is measured.
    """

    kind: Literal["commands"] = "commands"
    lists: dict[str, Values] = Field(default_factory=dict)
    steps: dict[str, CommandTemplate] = Field(default_factory=dict)
    points_of: tuple[PointTemplate, ...]

    @model_validator(mode="after")
    def _lists_are_known(self) -> Self:
        for template in (*self.steps.values(), *self.points_of):
            named = {one for one in template.each.values() if isinstance(one, str)}
            if missing := named - set(self.lists):
                raise ValueError(f"'{template.command}': there is no list {missing.pop()!r}")
        return self

    def points(self, inputs: Inputs, data: EvaluationData, pool: Path) -> Points:
        """What there is to make; what needs an input that is not there says so.

        Raises:
            UsageError: a command names what there is not.
        """
        steps = dict(self._steps())
        found = []
        for template in self.points_of:
            for labels, texts in template.variants(self.lists):
                words = filled(template.command, texts)
                places = {name: filled(at, texts) for name, at in template.numbers.items()}
                point = _point(words, places, template.minutes, _Names(inputs, steps))
                found.append(replace(point, labels={**template.labels, **labels}))
        return Points(points=tuple(found))

    def seconds(self, artifact: Artifact) -> float:
        """About how long a command takes on one core."""
        return 60.0 * artifact.minutes if isinstance(artifact, Command) else 0.0

    def _steps(self) -> Iterator[tuple[str, tuple[str, float]]]:
        for name, template in self.steps.items():
            for labels, texts in template.variants(self.lists):
                yield filled(name, labels), (filled(template.command, texts), template.minutes)


@dataclass(frozen=True)
class Command(Artifact):
    """What one command says.

    Attributes:
        words: of the command; in braces, what stands in ``paths`` and ``made``.
        paths: inputs by what stands in braces.
        made: other commands' folders, likewise.
        minutes: an estimate.
    """

    words: str
    paths: dict[str, Path]
    made: dict[str, Command]
    minutes: float

    kind: ClassVar[str] = "commands"

    @property
    def needs(self) -> tuple[Artifact, ...]:
        """Commands that make what it names."""
        return tuple(self.made.values())

    def identity(self) -> dict[str, Any]:
        """See the base class; a path counts by its content."""
        return {"words": [self._replaced(word, self._content) for word in shlex.split(self.words)]}

    def is_settled(self, pool: Path) -> bool:
        """See the base class; what failed is tried again."""
        return RESULT in (self.record(pool) or {})

    def make(self, pool: Path, say: Say) -> Record:
        """See the base class; it runs in a process of its own, with one thread.

        A command that fails has its own words as the reason.
        """
        for name, one in self.made.items():
            if not one.is_settled(pool):
                return {REASON: f"{name} could not be made"}
        words = [
            self._replaced(word, lambda name, below: f"{self._path(name, pool)}{below}")
            for word in shlex.split(self.words)
        ]
        try:
            with self._beside(pool, ".{}.process").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # until one that outlived its engine has ended
                return {"command": self.words, RESULT: said([*words, "--json"], lock.fileno())}
        except ProxylmError as error:
            return {REASON: str(error)}

    def _path(self, name: str, pool: Path) -> Path:
        if name == OUT:
            return self.folder(pool)
        return self.paths[name] if name in self.paths else self.made[name].folder(pool)

    def _content(self, name: str, below: str) -> str:
        if name in self.paths:
            return content_of(Path(f"{self.paths[name]}{below}"))
        return (OUT if name == OUT else self.made[name].key) + below

    @staticmethod
    def _replaced(word: str, by: Any) -> str:
        found = _PATH.search(word)
        return word if found is None else word[: found.start()] + by(found[1], found[2])


@dataclass(frozen=True)
class _Names:
    """What the braces of commands name."""

    inputs: Inputs
    steps: dict[str, tuple[str, float]]

    def command(self, name: str, words: str, minutes: float) -> Command:
        """The command of some words.

        Raises:
            UsageError: a name stands for nothing, or a quotation does not end.
            DataNotAtHandError: an input is not given, or has no such part yet.
        """
        paths, made = {}, {}
        try:
            split = shlex.split(words)
        except ValueError as error:
            raise UsageError(f"'{words}': {error}") from None
        for word in split:
            if (found := _PATH.search(word)) is None or found[1] == OUT:
                continue
            if found[1] in self.steps:
                made[found[1]] = self.command(found[1], *self.steps[found[1]])
                continue
            if found[1] not in self.inputs.described:
                raise UsageError(f"'{words}': there is no step or input '{found[1]}'")
            paths[found[1]] = self.inputs.path(found[1])
            if not (whole := Path(f"{paths[found[1]]}{found[2]}")).exists():
                raise DataNotAtHandError(f"{whole}: is not there (yet)")
        return Command(name, words=words, paths=paths, made=made, minutes=minutes)


def filled(text: str, values: Mapping[str, Label]) -> str:
    """A text with labels in place.

    >>> filled("step-<step:04d> as <how>", {"step": 12, "how": "bytes"})
    'step-0012 as bytes'

    Raises:
        UsageError: there is no such label, or its value does not have that form.
    """
    try:
        return _LABEL.sub(lambda found: format(values[found[1]], found[2] or ""), text)
    except (KeyError, ValueError):
        known = ", ".join(values) or "there are none"
        raise UsageError(f"'{text}': a label that is not known ({known}), or its form") from None


@cache  # a program names the same folders for many commands
def content_of(path: Path) -> str:
    """Names the content of a file or a folder; of what has a manifest of sums, that one alone."""
    manifest = path / MANIFEST
    if path.is_file() or manifest.is_file():
        return sha256_of(manifest if manifest.is_file() else path)
    files = sorted(one for one in path.rglob("*") if one.is_file())
    return fingerprint_of(*(f"{one.relative_to(path)} {sha256_of(one)}" for one in files))


def said(words: list[str], *kept_open: int) -> dict[str, Any]:
    """What ``proxylm`` prints as JSON, and the CPU seconds that it took.

    Args:
        words: the command.
        kept_open: descriptors that its process holds as long as it runs.

    Raises:
        ProxylmError: it failed, in its own words.
    """
    command = [sys.executable, "-m", "proxylm", *words]
    before = sum(os.times()[2:4])
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        pass_fds=kept_open,
        start_new_session=True,  # what stops this process stops that one through it, and once
    ) as process:
        try:
            output, errors = process.communicate()
        except BaseException:  # a training saves before it ends
            process.send_signal(signal.SIGTERM)
            process.communicate()
            raise
    if process.returncode:
        last = errors.strip().splitlines()[-1:] or [f"status {process.returncode}"]
        raise ProxylmError(f"proxylm {' '.join(words)}: {last[0]}")
    spent = sum(os.times()[2:4]) - before  # of children that have ended
    return {**json.loads(output), CPU_SECONDS: round(spent, 3)}


def _point(words: str, places: Mapping[str, str], minutes: float, names: _Names) -> Point:
    """A point without labels."""
    try:
        command = names.command(words, words, minutes)
    except DataNotAtHandError as error:
        return Point(labels={}, lacking=str(error))
    numbers = {name: Number(command, tuple(place.split("."))) for name, place in places.items()}
    return Point(labels={}, numbers=numbers)
