"""Which names a test's source leaves open, and which of them its prompt defines.

Some tests use what the prompt defines beside the function under test: HumanEval/32, 38 and 50
check a decoder by the prompt's encoder. Taken from the program, such a helper could be rebound to
whatever makes a wrong answer pass; so it is taken from the prompt, and belongs to the test.
"""

from __future__ import annotations

import ast
import builtins
import functools
import symtable
from collections.abc import Iterator


def unresolved_names(test: str) -> set[str]:
    """Global names that a source reads but never binds, built-in ones left out."""
    bound, read = _global_names(test)
    return read - bound - set(dir(builtins)) - {"__name__"}


def bound_names(source: str) -> set[str]:
    """Global names that a source defines, assigns or imports."""
    return _global_names(source)[0]


@functools.lru_cache(maxsize=1024)  # one problem has many samples
def with_helpers(prompt: str, test: str, entry_point: str) -> str:
    """The test behind the prompt's own definitions of what it leaves open.

    Functions, classes, constants and imports count, also those that only a needed one needs; the
    entry point, which is under test, does not. The prompt, trusted like the test, may end
    anywhere, inside of a function say.
    """
    statements = []
    for statement in _statements(prompt):
        text = ast.unparse(statement)
        statements.append((text, _global_names(text)[0] - {entry_point}, unresolved_names(text)))
    needed: set[str] = set()
    more = unresolved_names(test) - {entry_point}
    while more:
        needed |= more
        read = (names for _, bound, names in statements if bound & needed)
        more = set().union(*read) - needed
    helpers = [text for text, bound, _ in statements if bound & needed]
    return "\n".join([*helpers, test])


def _statements(source: str) -> list[ast.stmt]:
    """The statements of the longest part, in lines from the beginning, that is Python."""
    lines = source.splitlines(keepends=True)
    for count in range(len(lines), 0, -1):
        try:
            return ast.parse("".join(lines[:count])).body
        except (SyntaxError, ValueError):  # ValueError: a NUL
            continue
    return []


def _global_names(source: str) -> tuple[set[str], set[str]]:
    """Global names that a source binds, and those that it reads."""
    bound: set[str] = set()
    read: set[str] = set()
    for scope in _scopes(symtable.symtable(source, "<source>", "exec")):
        for symbol in scope.get_symbols():
            in_module = scope.get_type() == "module" or symbol.is_declared_global()
            if in_module and (symbol.is_assigned() or symbol.is_imported()):
                bound.add(symbol.get_name())
            elif symbol.is_global() or in_module:
                read.add(symbol.get_name())
    return bound, read


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _scopes(child)
