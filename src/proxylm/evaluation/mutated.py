"""Choosing the right solution over a mutated one: a task with signal at any size.

Each canonical solution stands against copies of itself with one token changed: a comparison, an
operator, a constant, a word or a variable. All of them parse, and none is the same program. A model
chooses by likelihood; by chance it is right half of the time. No test is run: what is changed is
taken to be wrong, which an equivalent mutation is not, but that is the same for every model.
"""

from __future__ import annotations

import ast
import io
import keyword
import random
import tokenize
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from proxylm.config import Config
from proxylm.errors import DataError
from proxylm.evaluation.answers.writers import PromptWriter
from proxylm.evaluation.benchmarks.problem import Benchmark, Problem
from proxylm.evaluation.likelihood import Bits
from proxylm.progress import TellCount, untold

SWAPS = {
    "comparison": {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="},
    "operator": {
        **{"+": "-", "-": "+", "*": "+", "/": "*", "//": "/", "%": "//", "**": "*"},
        **{"+=": "-=", "-=": "+=", "*=": "+="},
    },
    "word": {
        **{"and": "or", "or": "and", "True": "False", "False": "True"},
        **{"min": "max", "max": "min", "any": "all", "all": "any"},
    },
}
"""What a token becomes, by kind of mutation; constants and variables follow rules."""


class MutatedSettings(Config):
    """How solutions are mutated.

    Attributes:
        mutations: most mutations of a solution, taken from all kinds in turn.
        seed: of which ones are taken.
    """

    mutations: PositiveInt = 5
    seed: NonNegativeInt = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MutatedReport:
    """What an evaluation found.

    Attributes:
        benchmark, read_as, prompt_end: as in ``CodeReport``.
        problems: that have a mutation.
        left_out: problems that have none.
        mutations: of all problems.
        accuracy: mean over problems of the share of mutations that cost more bits than the
            solution; a tie counts half.
        standard_error: of that mean, over problems.
        accuracy_per_byte, standard_error_per_byte: the same by bits per byte.
    """

    benchmark: str
    read_as: str
    prompt_end: str
    problems: int
    left_out: int
    mutations: int
    accuracy: float
    standard_error: float
    accuracy_per_byte: float
    standard_error_per_byte: float


def evaluate_mutated(
    writer: PromptWriter,
    benchmark: Benchmark,
    settings: MutatedSettings | None = None,
    *,
    progress: TellCount = untold,
) -> MutatedReport:
    """Let a model choose between solutions and their mutations.

    Args:
        writer: the model, read as bytes or as tokens.
        benchmark: whose canonical solutions are mutated.
        settings: how; None takes the defaults.
        progress: hears how much has been read.

    Raises:
        DataError: no problem has a mutation.
    """
    settings = settings or MutatedSettings()
    mutated = [(problem, mutations_of(problem, settings)) for problem in benchmark.problems]
    chosen = [(problem, found) for problem, found in mutated if found]
    if not chosen:
        raise DataError(f"{benchmark.name}: no solution can be mutated; is it Python?")
    texts = [text for problem, found in chosen for text in (problem.solution, *found)]
    prompts = [problem.prompt for problem, found in chosen for _ in range(1 + len(found))]
    bits = writer.scorer.telling(progress).bits(prompts, texts)
    per_byte = bits / np.array([len(text) for text in texts])
    sizes = [1 + len(found) for _, found in chosen]
    accuracy, error = _accuracy(bits, sizes)
    accuracy_per_byte, error_per_byte = _accuracy(per_byte, sizes)
    return MutatedReport(
        benchmark=benchmark.name,
        read_as=writer.read_as,
        prompt_end=writer.prompt_end,
        problems=len(chosen),
        left_out=len(mutated) - len(chosen),
        mutations=len(texts) - len(chosen),
        accuracy=accuracy,
        standard_error=error,
        accuracy_per_byte=accuracy_per_byte,
        standard_error_per_byte=error_per_byte,
    )


def mutations_of(problem: Problem, settings: MutatedSettings) -> list[bytes]:
    """Solutions with one token changed, the same for equal settings; none where it is no Python."""
    try:
        prompt, solution = problem.prompt.decode(), problem.solution.decode()
        original = _Program(prompt, solution)
    except (UnicodeDecodeError, SyntaxError, ValueError, tokenize.TokenError):
        return []
    numbers = random.Random(f"{settings.seed} {problem.task_id}")
    found: dict[str, None] = {}
    for edit in _in_turn(original.edits(numbers), numbers):
        if len(found) == settings.mutations:
            break
        text = solution[: edit.start] + edit.text + solution[edit.end :]
        if text not in found and original.differs(prompt + text):
            found[text] = None
    return [text.encode() for text in found]


@dataclass(frozen=True, slots=True)
class _Edit:
    """Characters of a solution and what stands there instead."""

    start: int
    end: int
    text: str


class _Program:
    """A program that parses, and its tokens."""

    def __init__(self, prompt: str, solution: str) -> None:
        program = prompt + solution
        tree = _parsed(program)
        self._dump = ast.dump(tree)
        self._variables = sorted(_variables(tree))
        self._tokens = list(tokenize.generate_tokens(io.StringIO(program).readline))
        lines = io.StringIO(program).readlines()  # as the tokens count them, by line feeds alone
        self._line_starts = np.cumsum([0, *map(len, lines)]) - len(prompt)

    def edits(self, numbers: random.Random) -> dict[str, list[_Edit]]:
        """Every change of one token of the solution, by its kind."""
        found: dict[str, list[_Edit]] = {}
        for before, token in zip(self._tokens, self._tokens[1:], strict=False):
            start, end = (int(self._line_starts[row - 1]) + column for row, column in token[2:4])
            if start >= 0:
                for kind, text in self._changes(before, token, numbers):
                    found.setdefault(kind, []).append(_Edit(start, end, text))
        return found

    def differs(self, program: str) -> bool:
        """Whether a text is a program, and another one than this."""
        try:
            tree = _parsed(program)
        except (SyntaxError, ValueError):
            return False
        return ast.dump(tree) != self._dump

    def _changes(
        self, before: tokenize.TokenInfo, token: tokenize.TokenInfo, numbers: random.Random
    ) -> Iterator[tuple[str, str]]:
        for kind, swaps in SWAPS.items():
            if token.string in swaps:
                yield kind, swaps[token.string]
        if token.type == tokenize.NUMBER and token.string.isdecimal():
            yield "constant", str(int(token.string) + 1)
        others = [name for name in self._variables if name != token.string]
        is_variable = token.type == tokenize.NAME and token.string in self._variables
        if is_variable and others and before.string != ".":
            yield "variable", numbers.choice(others)


def _parsed(program: str) -> ast.Module:
    """The tree of a program that compiles; what Python warns of (``"\\d"``) is no concern here."""
    with warnings.catch_warnings(action="ignore"):
        tree = ast.parse(program)
        compile(tree, "mutated", "exec", dont_inherit=True)  # refuses two arguments of one name
    return tree


def _variables(tree: ast.AST) -> set[str]:
    """Names that a program gives values to: its functions' arguments and what it assigns."""
    names = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    names |= {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return {name for name in names if not keyword.iskeyword(name)}


def _in_turn(edits: dict[str, list[_Edit]], numbers: random.Random) -> Iterator[_Edit]:
    """The edits of all kinds in turn, those of a kind in a drawn order."""
    left = [numbers.sample(edits[kind], len(edits[kind])) for kind in sorted(edits)]
    while left:
        for one in left:
            yield one.pop()
        left = [one for one in left if one]


def _accuracy(costs: Bits, sizes: Sequence[int]) -> tuple[float, float]:
    """Mean share of mutations above their solution, which comes first, and its standard error."""
    shares = []
    for part in np.split(costs, np.cumsum(sizes)[:-1]):
        right, wrong = part[0], part[1:]
        shares.append(float((wrong > right).mean() + (wrong == right).mean() / 2))
    deviation = float(np.std(shares, ddof=1)) if len(shares) > 1 else 0.0
    return float(np.mean(shares)), deviation / float(np.sqrt(len(shares)))
