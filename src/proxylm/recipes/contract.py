"""The contract of recipes: named rows that are computed one by one, and a table of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from proxylm.config import Config

RowResult = dict[str, Any]
"""What a row came to: plain JSON values."""

Say = Callable[[str], None]
"""Hears what is going on, a line at a time."""


class Recipe(ABC):
    """One table or figure of the paper.

    Attributes:
        name: on the command line.
        title: which table or figure, and what it compares.
        settings_class: what can be chosen; the defaults run on a laptop.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    settings_class: ClassVar[type[Config]]

    def __init__(self, settings: Config) -> None:
        self.settings = settings

    @property
    @abstractmethod
    def rows(self) -> Sequence[str]:
        """Names of the rows, in the order in which they are computed and shown."""

    @abstractmethod
    def run_row(self, row: str, out: Path, say: Say) -> RowResult:
        """Compute a row.

        Args:
            row: its name.
            out: the run's folder, where rows find what earlier ones left. A row that was
                stopped is asked for again and goes on with what it left there itself.
            say: hears about progress.
        """

    @abstractmethod
    def table(self, results: Sequence[RowResult]) -> tuple[list[str], list[list[str]]]:
        """Headers and cells of the rows that are done."""
