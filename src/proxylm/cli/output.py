"""What all commands share: results on stdout, everything else on stderr, one-line errors."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from proxylm.json_lines import one_line

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")
]


def emit(result: dict[str, Any], *, as_json: bool, text: str) -> None:
    """Print a command's result: one JSON object, or its readable form."""
    if as_json:
        sys.stdout.write(one_line(result) + "\n")
    else:
        sys.stdout.write(text.rstrip("\n") + "\n")
    sys.stdout.flush()


def note(message: str) -> None:
    """Tell the user something that is not the result (progress, a warning): stderr."""
    sys.stderr.write(message.rstrip("\n") + "\n")
    sys.stderr.flush()


def counts_text(counts: Mapping[str, int]) -> str:
    """Counts by reason, for reading.

    >>> counts_text({"unmatched": 2, "hidden": 1})
    '1 hidden, 2 unmatched'
    """
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))


def table(headers: list[str], rows: list[list[str]]) -> str:
    """Plain aligned columns; numbers (all but the first column) to the right."""
    columns = list(zip(headers, *rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    lines = [headers, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
