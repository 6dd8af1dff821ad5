"""What was left out on the way, counted by reason, with a first example and what helps.

Whoever reads a corpus passes one ``LeftOut`` down and reports it at the end, so that no reason is
lost between the reader that finds it and the person who can do something about it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from proxylm.corpus.document import Rejection
from proxylm.corpus.reasons import REMEDIES
from proxylm.errors import DataError
from proxylm.printable import printable


@dataclass(slots=True)
class LeftOut:
    """Documents that were left out.

    Attributes:
        counts: how many, by reason.
        examples: the first one of each reason: its id, perhaps with a detail.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, rejection: Rejection) -> None:
        """Count one document."""
        self.counts[str(rejection.reason)] += 1
        example = f"{rejection.id}: {rejection.detail}" if rejection.detail else rejection.id
        self.examples.setdefault(str(rejection.reason), example)

    def update(self, later: LeftOut) -> None:
        """Add what was left out of documents that follow."""
        self.counts.update(later.counts)
        self.examples = later.examples | self.examples

    def __bool__(self) -> bool:
        return bool(self.counts)

    def to_json(self) -> dict[str, int]:
        """The counts in a fixed order."""
        return dict(sorted(self.counts.items()))

    def lines(self) -> list[str]:
        """One line per reason, in a fixed order.

        >>> found = LeftOut()
        >>> found.add(Rejection(id="a.txt", reason="empty"))
        >>> found.lines()
        ['1 empty (first: a.txt)']
        """
        return [
            f"{count} {reason} (first: {printable(self.examples[reason])})"
            + (f": {REMEDIES[reason]}" if reason in REMEDIES else "")
            for reason, count in self.to_json().items()
        ]

    def __str__(self) -> str:
        return "; ".join(self.lines())


def nothing_left(what: str, left_out: LeftOut, otherwise: str) -> DataError:
    """The error of a command that was left with nothing to do.

    Args:
        what: what there is none of, with its place.
        left_out: what was there and was left out.
        otherwise: what helps where nothing was left out.
    """
    return DataError(f"{what}; {f'left out: {left_out}' if left_out else otherwise}")
