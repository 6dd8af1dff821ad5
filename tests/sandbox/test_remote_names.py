"""Names that a test leaves open, and objects of the candidate that a test handles."""

from __future__ import annotations

from proxylm.sandbox.source_names import unresolved_names, with_helpers


def test_open_names_are_those_nothing_in_the_test_binds():
    test = """
import math as m
from os import path
limit = 3
def check(candidate):
    global counted
    counted = 0
    local = [helper(i) for i in range(limit)]
    def inner():
        return local, outer_helper(m.pi, path)
    class Own:
        field = another
    assert candidate(1) == sort_third(local), counted
    return lambda x: x + y
for loop in names:
    print(loop, __name__)
"""
    found = {"helper", "outer_helper", "another", "sort_third", "y", "names"}
    assert unresolved_names(test) == found


PROMPT = """
import math
from typing import List
STEP = 1
STEP += 1
def shifted(c):
    return chr(ord(c) + STEP)
def encode(s):
    return "".join(map(shifted, s))
def unused(s):
    return math.inf
def f(s: List[str]):
    '''Decodes.
"""


def test_a_prompts_helpers_that_a_test_names_go_before_it():
    test = "def check(candidate):\n    assert candidate(encode('abc')) == 'abc'\n"
    helped = with_helpers(PROMPT, test, "f")
    assert helped.endswith(test)
    assert unresolved_names(helped) == set()
    for part in ("STEP = 1", "STEP += 1", "def shifted", "def encode"):
        assert part in helped
    for part in ("math", "List", "unused", "def f"):
        assert part not in helped
    assert with_helpers(PROMPT, "assert f(1) == 2", "f") == "assert f(1) == 2"
    assert with_helpers("no (Python", "assert g(1) == f(2)", "f") == "assert g(1) == f(2)"


def test_a_rebound_helper_does_not_judge(judged):
    test = "def check(candidate):\n    assert candidate(encode('abc')) == 'abc'\n"
    start = PROMPT + "    '''\n"
    right = start + "    return ''.join(chr(ord(c) - STEP) for c in s)\n"
    wrong = start + "    return s\nencode = f\n"
    helped = with_helpers(PROMPT, test, "f")
    assert judged(right, helped).passed
    assert not judged(wrong, helped).passed


def test_helpers_of_the_program_are_called_there(judged):
    # Where no prompt is at hand (it would define them), a test may still name them.
    program = """
def encode(s):
    return "".join(chr(ord(c) + 1) for c in s)
def f(s):
    return "".join(chr(ord(c) - 1) for c in s)
"""
    test = "def check(candidate):\n    assert candidate(encode('abc')) == 'abc'\n"
    assert judged(program, test).passed
    assert not judged(program.replace("- 1", "- 2"), test).passed


def test_a_test_that_calls_a_helper_only_has_not_tested_the_program(judged):
    program = "def g(x):\n    return x\ndef f(x):\n    return x\n"
    verdict = judged(program, "assert g(1) == 1")
    assert verdict.reason == "the test never called 'f'"
    assert judged(program, "assert g(f(1)) == 1").passed
    assert judged(program, "assert [*map(f, [1, 2])] == [1, 2]").passed


def test_the_entry_point_can_be_called_by_name(judged):
    # HumanEval/33: the expectation is worded with the function's own name.
    program = "def sort_third(l):\n    return sorted(l)\n"
    test = (
        "def check(candidate):\n    assert tuple(candidate([2, 1])) == tuple(sort_third([1, 2]))\n"
    )
    assert judged(program, test, "sort_third").passed


def test_an_entry_point_called_check_or_like_a_built_in(judged):
    program = "def check(x):\n    return x + 1\n"
    assert judged(program, "assert check(1) == 2", "check").passed
    test = "def check(candidate):\n    assert candidate(1) == 2\n"
    assert judged(program, test, "check").passed
    assert not judged(program.replace("+ 1", ""), test, "check").passed
    # A reference solution of that name in the test is no test to be called.
    test = "_candidate = check\ndef check(n):\n    return n + 1\nassert _candidate(1) == check(1)\n"
    assert judged(program, test, "check").passed
    assert judged("def sum(a, b):\n    return a + b\n", "assert sum(1, 2) == 3", "sum").passed


def test_built_in_names_stay_the_tests_own(judged):
    program = "def len(x):\n    return 1\ndef f(x):\n    return [x]\n"
    assert not judged(program, "assert len(f(1)) == 2").passed
    assert judged(program, "assert len(f([1, 2])[0]) == 2").passed


def test_modules_of_the_standard_library_are_the_tests_own(judged):
    program = "class math:\n    isclose = lambda *all: True\ndef f(x):\n    return x\n"
    assert not judged(program, "assert math.isclose(f(1), 2)").passed
    assert judged(program, "assert math.isclose(f(1), 1)").passed
    assert judged("def f(x):\n    return x\n", "assert os.path.basename(f('a/b')) == 'b'").passed
    # Unless it is the function under test that has the name.
    assert judged("def bisect(x):\n    return x + 1\n", "assert bisect(1) == 2", "bisect").passed


def test_objects_of_a_candidates_class_are_passed_back(judged):
    # MBPP/601: the test makes objects of the program's class and hands them in.
    program = """
class Pair:
    def __init__(self, a, b):
        self.a, self.b = a, b
def f(pairs, n):
    return max(pair.b - pair.a for pair in pairs[:n])
"""
    assert judged(program, "assert f([Pair(5, 24), Pair(b=25, a=15)], 2) == 19").passed
    assert not judged(program, "assert f([Pair(5, 24)], 1) == 20").passed


def test_attributes_can_be_set_and_used(judged):
    # MBPP/367: a tree is built from the program's nodes before the function is called.
    program = """
class Node:
    def __init__(self, data):
        self.data, self.left, self.right = data, None, None
    def size(self):
        return 1 + sum(child.size() for child in (self.left, self.right) if child)
def f(root):
    return root.size()
"""
    test = "root = Node(1)\nroot.left = Node(2)\nroot.left.right = Node(3)\nassert f(root) == 3\n"
    assert judged(program, test).passed
    assert judged(program, "n = Node(7)\nassert n.data == 7 and n.size() == f(n) == 1").passed
    verdict = judged(program, "n = Node(1)\nf(n)\nn.missing")
    assert "AttributeError" in verdict.reason


def test_an_object_passed_through_stays_the_same_object(judged):
    program = """
class Own:
    pass
kept = Own()
def f(x=None):
    return kept if x is None else x is kept
"""
    assert judged(program, "assert f(f()) is True\nassert f() is f()").passed


def test_comparing_and_trusting_a_candidates_object_fails(judged):
    program = """
class Own:
    __eq__ = __lt__ = __bool__ = lambda self, *other: True
    __hash__ = object.__hash__
def f(x):
    return Own()
"""
    for test in ("f(1) == 1", "1 == f(1)", "f(1) < 2", "f(1) in [2]", "not f(1)", "[f(1)] == [3]"):
        assert not judged(program, f"assert ({test}) or True").passed, test


def test_what_does_not_cross_into_the_sandbox_is_named(judged):
    verdict = judged("def f(x):\n    return x\n", "f(lambda: 1)")
    assert "the test passes a function, which does not cross" in verdict.reason


def test_a_test_that_draws_inputs_draws_the_same_ones(judged):
    test = "import random\nraise ValueError(f(random.random()))\n"
    program = "def f(x):\n    return x\n"
    assert judged(program, test) == judged(program, test)
