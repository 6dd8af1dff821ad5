"""Runs a test in the trusted process against a candidate that is somewhere else.

The test's source comes with the benchmark and is trusted; the candidate is reached through remote
objects only. A name that the test uses but neither defines nor imports (a class whose objects it
passes) is looked up in the program. Built-in names and the standard library's modules never are,
except the entry point itself: ``math`` is ours, imported or not. What a prompt defines for its test
is part of the test by then (``source_names.with_helpers``).
"""

from __future__ import annotations

import ast
import random
import sys
import traceback
from importlib import import_module
from typing import Any

from proxylm.sandbox.confined_worker import ConfinedWorker, EndOfRun
from proxylm.sandbox.inside import tagged
from proxylm.sandbox.remote import Candidate
from proxylm.sandbox.source_names import unresolved_names
from proxylm.sandbox.verdict import Status, Verdict, verdict_of

TEST_FILE = "<test>"
HUMANEVAL_CHECK, HUMANEVAL_ARGUMENT = "check", "candidate"
RANDOM_SEED = 0


def run_test(worker: ConfinedWorker, source: str, test: str, entry_point: str) -> Verdict:
    """Define the program ``source`` in a fresh worker, run the test of its ``entry_point`` here.

    A ``check(candidate)`` that the test defines and does not call itself is called.
    """
    candidate = Candidate(worker)
    try:
        candidate.define(source)
        function = candidate.named(entry_point)
        _run(candidate, function, test, entry_point)
    except EndOfRun as end:
        return verdict_of(end.status, end.reason)
    except Exception as error:
        verdict = verdict_of(Status.FAILED, _describe(error, test))
    except SystemExit as error:
        verdict = verdict_of(Status.FAILED, f"the test ended itself: {error}")
    else:
        verdict = Verdict(status=Status.PASSED)
        if not candidate.was_called(function):
            verdict = verdict_of(Status.FAILED, f"the test never called '{entry_point}'")
    if worker.ended is not None:  # a test may have swallowed the end
        return verdict_of(worker.ended.status, worker.ended.reason)
    return verdict


def _run(candidate: Candidate, function: Any, test: str, entry_point: str) -> None:
    random.seed(RANDOM_SEED)  # some tests draw their inputs
    namespace: dict[str, Any] = {"__name__": "test", entry_point: function}
    for name in sorted(unresolved_names(test) - {entry_point}):
        try:
            in_library = name in sys.stdlib_module_names
            namespace[name] = import_module(name) if in_library else candidate.named(name)
        except (NameError, ImportError):
            continue  # nobody has it: the test will say so if it gets there
    tree = ast.parse(test, TEST_FILE)
    # optimize=0: asserts stay, whatever PYTHONOPTIMIZE says.
    exec(compile(tree, TEST_FILE, "exec", dont_inherit=True, optimize=0), namespace)
    if _defines_check_without_calling(tree):
        namespace[HUMANEVAL_CHECK](function)  # not by name: it may be `check`, too


def _defines_check_without_calling(tree: ast.Module) -> bool:
    defined = any(
        isinstance(node, ast.FunctionDef)
        and node.name == HUMANEVAL_CHECK
        and [argument.arg for argument in node.args.args] == [HUMANEVAL_ARGUMENT]
        for node in tree.body
    )
    called = any(
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == HUMANEVAL_CHECK
        for node in tree.body
        if not isinstance(node, ast.FunctionDef)
        for call in ast.walk(node)
    )
    return defined and not called


def _describe(error: Exception, test: str) -> str:
    """The error and the line of the test where it came up."""
    kind = "" if isinstance(error, tagged.CannotCross) else f"{type(error).__name__}: "
    lines = test.splitlines()
    places = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == TEST_FILE and frame.lineno
    ]
    if not places or places[-1] > len(lines):
        return f"{kind}{error}"
    return f"{kind}{error} (line {places[-1]} of the test: {lines[places[-1] - 1].strip()})"
