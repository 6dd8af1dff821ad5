r"""Places where a text can be cut without changing a single token.

A tokenizer library needs up to 250 bytes of memory per byte of one text, so a long text is encoded
in stretches. Which neighbours ``x`` | ``y`` can be parted follows from the regular expression that
cuts the text into words, seen as the graph of its character classes ("x matches this one, y one
that may come next"). A cut between x and y is safe if

1. no path through the expression consumes x and then y, nor looks ahead of x: no match reaches
   over the cut, none that ends before it depends on what follows, and as nothing looks behind,
   the search beyond the cut is the search of a text that begins there;
2. the expression matches x alone: x then stands in some match, which by 1 ends at the cut, and
   never in the rest between two matches, which the cut would divide;
3. no added token holds x and y side by side (a special one is not matched in a text, but passed
   over, and another that begins in it with it).

Most expressions part a letter from a space after it, and one that keeps lines whole parts line
ends from letters. Which classes hold a character is asked of the tokenizer library.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

from proxylm.compressors.tokenizer.libraries import (
    ANYTHING,
    LONG_TEXT,
    NEIGHBOUR_FLAGS,
    PATTERN_PARTS,
    NotProvedError,
    pattern_for_both,
)
from proxylm.compressors.tokenizer.specification import TokenizerSpecification

_UNKNOWN = 0xFFFF


@dataclass(slots=True)
class _Graph:
    """A part of an expression: where it can begin and end, and whether it can match nothing."""

    optional: bool = True
    first: set[int] = field(default_factory=set)
    last: set[int] = field(default_factory=set)


class ClassGraph:
    """Glushkov's graph of an expression.

    Attributes:
        classes: the character class at each position of the expression.
        follows: pairs of positions that can match neighbouring characters.
    """

    def __init__(self, pattern: str) -> None:
        self.classes: list[str] = []
        self.follows: set[tuple[int, int]] = set()
        self._parts = [*PATTERN_PARTS.finditer(pattern)]
        self._next = 0
        self._alternatives()

    def _kind(self) -> str | None:
        if self._next == len(self._parts):
            return None
        return next(name for name, found in self._parts[self._next].groupdict().items() if found)

    def _alternatives(self) -> _Graph:
        graph = self._sequence()
        while self._kind() == "either":
            self._next += 1
            other = self._sequence()
            graph = _Graph(
                graph.optional or other.optional,
                graph.first | other.first,
                graph.last | other.last,
            )
        return graph

    def _sequence(self) -> _Graph:
        graph = _Graph()
        while self._kind() not in (None, "either", "close"):
            after = self._repeated(self._one())
            self._connect(graph.last, after.first)
            graph = _Graph(
                graph.optional and after.optional,
                graph.first | after.first if graph.optional else graph.first,
                graph.last | after.last if after.optional else after.last,
            )
        return graph

    def _one(self) -> _Graph:
        kind, part = self._kind(), self._parts[self._next]
        self._next += 1
        if kind == "class":
            return self._position(part[0], optional=False)
        before = len(self.classes)
        inner = self._alternatives()
        self._next += 1  # the closing bracket
        if kind == "open":
            return inner
        if len(self.classes) - before != 1 or inner.optional or (before, before) in self.follows:
            raise NotProvedError("its pattern looks ahead further than one character")
        # What is looked at is not consumed, and whatever it is, x must not depend on it.
        return self._position(ANYTHING, optional=True)

    def _position(self, character_class: str, *, optional: bool) -> _Graph:
        position = len(self.classes)
        self.classes.append(character_class)
        return _Graph(optional, {position}, {position})

    def _repeated(self, graph: _Graph) -> _Graph:
        # Any number of repetitions is more than some: paths that cannot be taken do no harm.
        while self._kind() == "repeat":
            part = self._parts[self._next]
            self._next += 1
            if part[0] != "?":
                self._connect(graph.last, graph.first)
            if part[0] in "?*" or part["least"] == "0":
                graph = _Graph(True, graph.first, graph.last)
        return graph

    def _connect(self, before: set[int], after: set[int]) -> None:
        self.follows |= {(one, other) for one in before for other in after}


class SafeCuts:
    """Cuts texts for one tokenizer.

    Args:
        pattern: what cuts its text into words, ``SAME_IN_BOTH`` libraries.
        kept: added tokens, which are never cut.

    Raises:
        NotProvedError: the pattern is beyond this analysis.
    """

    def __init__(self, pattern: str, kept: Collection[str]) -> None:
        self._pattern = pattern
        self._kept_pairs = {one[i : i + 2] for one in kept for i in range(len(one) - 1)}
        self._graph = ClassGraph(pattern)
        self._groups: dict[tuple[bool, ...], int] = {}
        """Characters that the expression cannot tell apart: (matched alone, in each class)."""
        self._group_of = np.full(sys.maxunicode + 1, _UNKNOWN, dtype=np.uint16)
        self._is_safe = np.empty((0, 0), dtype=np.bool_)
        """``[groups, groups]``: whether a character of one may be parted from the next."""

    def stretches(self, text: str, size: int = LONG_TEXT) -> Iterator[str]:
        """The text in stretches of at most ``size`` characters, or as long as they have to be."""
        start = 0
        while len(text) - start > size:
            stop = self._last_cut(text, start + 1, start + size)
            stop = stop or self._first_cut(text, start + size, size)
            yield text[start:stop]
            start = stop
        if start < len(text):
            yield text[start:]

    def _last_cut(self, text: str, start: int, stop: int) -> int | None:
        """The last safe place from ``start`` to ``stop``, or None."""
        cuts = self.cuts(text[start - 1 : stop + 1])
        return start + int(cuts[-1]) if len(cuts) else None

    def _first_cut(self, text: str, start: int, size: int) -> int:
        """The first safe place from ``start`` on, or the text's end."""
        for block in range(start, len(text), size):
            cuts = self.cuts(text[block - 1 : block + size])
            if len(cuts):
                return block + int(cuts[0])
        return len(text)

    def cuts(self, text: str) -> NDArray[np.intp]:
        """``i`` for each safe place between characters ``i`` and ``i + 1``."""
        code_points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        groups = self._group_of[code_points]
        if (groups == _UNKNOWN).any():
            self._learn(np.unique(code_points[groups == _UNKNOWN]).tolist())
            groups = self._group_of[code_points]
        cuts = np.flatnonzero(self._is_safe[groups[:-1], groups[1:]])
        if not self._kept_pairs:
            return cuts
        allowed = [text[i : i + 2] not in self._kept_pairs for i in cuts.tolist()]
        return cuts[np.array(allowed, dtype=np.bool_)]

    def _learn(self, code_points: Sequence[int]) -> None:
        """Look up which classes hold these characters, and part them into groups accordingly."""
        text = "".join(map(chr, code_points))
        # With letters of both cases, as the expression may ask for: more paths do no harm.
        classes = [
            _matched(one, text) | _matched(f"(?i:{one})", text) for one in self._graph.classes
        ]
        for code_point, character in zip(code_points, text, strict=True):
            is_alone = bool(_matched(self._pattern, character))
            column = (is_alone, *(character in members for members in classes))
            self._group_of[code_point] = self._groups.setdefault(column, len(self._groups))
        alone, *members = np.array([*self._groups], dtype=np.bool_).T
        self._is_safe = np.repeat(alone[:, None], len(alone), axis=1)
        for one, other in self._graph.follows:
            self._is_safe &= ~np.outer(members[one], members[other])


def safe_cuts(specification: TokenizerSpecification) -> SafeCuts | None:
    """The cuts of a tokenizer; None where no place can be shown to be safe."""
    added = specification.added_tokens
    if any(token[flag] for token in added for flag in NEIGHBOUR_FLAGS if not token["special"]):
        return None
    try:
        return SafeCuts(pattern_for_both(specification), [token["content"] for token in added])
    except NotProvedError:
        return None


@cache
def _remover(pattern: str) -> Split:
    return Split(Regex(pattern), "removed")


def _matched(pattern: str, text: str) -> set[str]:
    """The characters of a text in what a pattern matches, for the library."""
    rest = _remover(pattern).pre_tokenize_str(text)
    return set(text) - set("".join(piece for piece, _ in rest))
