"""Pieces of HTML, with every text escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence

from proxylm.printable import printable


def escaped(text: str, keep: str = "") -> str:
    """``text`` as HTML text; what no page may hold becomes an escape (but for ``keep``)."""
    return html.escape(printable(text, keep))


def paragraph(text: str) -> str:
    """A paragraph of plain text, however it was broken into lines."""
    return f"<p>{escaped(' '.join(text.split()))}</p>"


def html_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, about: str) -> str:
    """A table that scrolls where it is wider than the page; every cell is escaped.

    ``about`` names it for those who do not see it.
    """
    head = "".join(f'<th scope="col">{escaped(cell)}</th>' for cell in headers)
    body = "\n".join(
        "<tr>"
        + f'<th scope="row">{escaped(row[0])}</th>'
        + "".join(f"<td>{escaped(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escaped(about)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
