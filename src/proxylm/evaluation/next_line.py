"""The next line: greedy completion of a line of held-out documents, right to the last byte.

A line is asked for after the text before it, and counts where what a model writes up to the line's
end is the line. Bytes and tokens are asked for the same lines after the same text, so that all
representations answer the same questions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from proxylm.config import Config
from proxylm.errors import DataError
from proxylm.evaluation.answers.options import Budget, SamplingPlan
from proxylm.evaluation.answers.writers import Draws, PromptWriter
from proxylm.generation.decoding_row import Finish
from proxylm.progress import TellCount, untold

LINE_END = b"\n"
BATCH_LINES = 64


class NextLineSettings(Config):
    """Which lines are asked for.

    Attributes:
        lines: how many, at most.
        min_bytes: least bytes of a line that are no white space.
        max_bytes: most bytes of a line.
        prompt_bytes: most text before a line that is read, in whole lines.
        seed: of which lines are taken.
    """

    lines: PositiveInt = 500
    min_bytes: PositiveInt = 8
    max_bytes: PositiveInt = 80
    prompt_bytes: PositiveInt = 512
    seed: NonNegativeInt = 0


@dataclass(frozen=True, slots=True)
class NextLine:
    """A line without its end, and the text before it."""

    prompt: bytes
    line: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NextLineReport:
    """What an evaluation found.

    Attributes:
        read_as, prompt_end: as in ``CodeReport``.
        lines: that were asked for.
        exact_match: share of them that came back.
        standard_error: of that share.
        begun: mean share of a line's bytes, its indentation left out, that came back from its
            start up to the first mistake; has signal before whole lines do.
    """

    read_as: str
    prompt_end: str
    lines: int
    exact_match: float
    standard_error: float
    begun: float


def next_lines(documents: Iterable[bytes], settings: NextLineSettings) -> list[NextLine]:
    """Lines of documents and the text before them, in order, spread over all documents.

    Raises:
        DataError: no line is long enough.
    """
    found = [one for document in documents for one in _lines_of(document, settings)]
    if not found:
        raise DataError(
            f"no line has {settings.min_bytes} to {settings.max_bytes} bytes and text before it"
        )
    generator = np.random.default_rng(settings.seed)
    count = min(settings.lines, len(found))
    return [found[index] for index in sorted(generator.choice(len(found), count, replace=False))]


def evaluate_next_line(
    writer: PromptWriter, lines: list[NextLine], *, progress: TellCount = untold
) -> NextLineReport:
    """Ask a model for each line, greedily.

    Args:
        writer: the model, read as bytes or as tokens.
        lines: of ``next_lines``, at least one.
        progress: hears how many lines were asked for.
    """
    # White space that was not read at a prompt's end is written again, so there is room for it.
    ends = [len(one.prompt) - len(one.prompt.rstrip()) for one in lines]
    longest = max(ends) + max(len(one.line) for one in lines) + len(LINE_END)
    budget = Budget(max_bytes=longest, max_symbols=longest)
    right, begun = 0, 0.0
    for start in range(0, len(lines), BATCH_LINES):
        progress("lines", start, len(lines))
        part = lines[start : start + BATCH_LINES]
        draws = Draws(plan=SamplingPlan(budget=budget), stop=(LINE_END,), samples=[0] * len(part))
        written = writer.complete([one.prompt for one in part], draws)
        right += sum(
            answer.data == one.line and answer.finish is Finish.STOP
            for answer, one in zip(written, part, strict=True)
        )
        begun += sum(
            _begun(answer.data, one.line) for answer, one in zip(written, part, strict=True)
        )
    progress("lines", len(lines), len(lines))
    share = right / len(lines)
    return NextLineReport(
        read_as=writer.read_as,
        prompt_end=writer.prompt_end,
        lines=len(lines),
        exact_match=share,
        standard_error=math.sqrt(share * (1 - share) / len(lines)),
        begun=begun / len(lines),
    )


def _begun(answer: bytes, line: bytes) -> float:
    """The share of a line that an answer begins with, indentation left out."""
    indentation = len(line) - len(line.lstrip())
    pairs = zip(answer, line, strict=False)
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return max(0, common - indentation) / (len(line) - indentation)


def _lines_of(document: bytes, settings: NextLineSettings) -> Iterator[NextLine]:
    lines = document.split(LINE_END)
    start = 0
    for number, line in enumerate(lines[:-1]):  # what follows the last line feed has no end
        fits = settings.min_bytes <= len(b"".join(line.split())) and len(line) <= settings.max_bytes
        if number and fits:
            yield NextLine(_text_before(document, start, settings.prompt_bytes), line)
        start += len(line) + len(LINE_END)


def _text_before(document: bytes, end: int, most: int) -> bytes:
    """The last ``most`` bytes before ``end``, from the beginning of a line where there is one."""
    text = document[max(0, end - most) : end]
    if end <= most:
        return text
    _, line_end, rest = text.partition(LINE_END)
    return rest if line_end and rest else text
