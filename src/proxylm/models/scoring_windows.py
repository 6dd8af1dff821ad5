"""Which part of a long document each forward pass sees, and which part of that it scores.

A pass has room for ``context`` input symbols. Each window starts again with the prefix
(``<bos>`` and the opening sentinel) and then holds a slice of the content; the last content
symbol is only predicted, never an input. So a window spans ``context - prefix + 1`` symbols. The
first window scores all of it; each next one starts ``stride`` later and scores what the one
before has not: every content symbol is scored exactly once, with at least ``context - stride``
symbols (prefix included) before it once the document is longer than a context.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxylm.errors import UsageError


@dataclass(frozen=True, slots=True)
class ScoringWindow:
    """Content symbols ``[start, end)`` are in view; those from ``first_scored`` on are scored."""

    start: int
    first_scored: int
    end: int


def window_span(context: int, prefix_length: int) -> int:
    """Content symbols that one window spans.

    Raises:
        UsageError: the context has no room for the prefix.
    """
    if context < prefix_length:
        raise UsageError(f"context: {context} symbols cannot hold a prefix of {prefix_length}")
    return context - prefix_length + 1


def default_stride(context: int, prefix_length: int) -> int:
    """Half of the context, as far as a window spans that much."""
    return min(max(1, context // 2), window_span(context, prefix_length))


def scoring_windows(
    content_length: int, *, context: int, stride: int, prefix_length: int
) -> list[ScoringWindow]:
    """The windows of one document of ``content_length`` symbols, in order.

    >>> for window in scoring_windows(10, context=7, stride=3, prefix_length=2):
    ...     print(window.start, window.first_scored, window.end)
    0 0 6
    3 6 9
    6 9 10

    Raises:
        UsageError: the stride is not between 1 and the symbols a window spans.
    """
    span = window_span(context, prefix_length)
    if not 1 <= stride <= span:
        raise UsageError(
            f"stride: must be between 1 and {span} (a context of {context} spans that many), "
            f"not {stride}"
        )
    windows = []
    start = scored = 0
    while scored < content_length:
        end = min(start + span, content_length)
        windows.append(ScoringWindow(start=start, first_scored=scored, end=end))
        start, scored = start + stride, end
    return windows
