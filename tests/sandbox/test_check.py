"""Verdicts: right programs pass, wrong ones fail for the right reason, in each tier."""

from __future__ import annotations

import pytest

from proxylm.errors import UsageError
from proxylm.sandbox import Status, Submission, check, check_many
from proxylm.sandbox.adversarial.witnesses import witnesses

ECHO = "def f(x):\n    return x\n"


def submission(program, test, timeout_s=60.0, **fields):
    return Submission(program=program, test=test, entry_point="f", timeout_s=timeout_s, **fields)


RIGHT = {
    "an int against a float": ("def f():\n    return 2\n", "assert f() == 2.0"),
    "a float against an int": ("def f():\n    return 2.0\n", "assert f() == 2"),
    "a bool against an int": ("def f():\n    return True\n", "assert f() == 1 and f() is True"),
    "nan": ("def f():\n    return float('nan')\n", "assert f() != f()"),
    "infinity": ("def f():\n    return -float('inf')\n", "assert f() == -float('inf')"),
    "complex": ("def f():\n    return 1 - 2j\n", "assert f() == complex(1, -2)"),
    "tuple": ("def f():\n    return (1, [2])\n", "assert f() == (1, [2]) and f() != [1, [2]]"),
    "set": ("def f():\n    return {1, (2, 3)}\n", "assert f() == {(2, 3), 1}"),
    "frozenset in a set": (
        "def f():\n    return {frozenset({1})}\n",
        "assert f() == {frozenset({1})}",
    ),
    "bytes": ("def f(x):\n    return x + b'\\xff'\n", "assert f(b'\\0') == b'\\0\\xff'"),
    "bytearray": ("def f(x):\n    x += b'1'\n", "x = bytearray()\nf(x)\nassert x == b'1'"),
    "range": (
        "def f(n):\n    return range(n)\n",
        "assert f(3) == range(3) and list(f(2)) == [0, 1]",
    ),
    "dict with int keys": ("def f():\n    return {1: {2: 3}}\n", "assert f() == {1: {2: 3}}"),
    "a deque": (
        "from collections import deque\ndef f(x):\n    x.popleft()\n    return deque(x)\n",
        "from collections import deque\nx = deque([1, 2])\nresult = f(x)\n"
        "assert result == deque([2]) == x and result[0] == 2 and len(result) == 1",
    ),
    "views of a dictionary": (
        "def f(x):\n    return x.keys(), x.values(), x.items()\n",
        "keys, values, items = f({1: 2, 3: 4})\n"
        "assert keys == {3, 1} and list(values) == [2, 4] and len(items) == 2 and (1, 2) in items",
    ),
    "a fraction": (
        "from fractions import Fraction\ndef f(x):\n    return x + Fraction(1, 4)\n",
        "from fractions import Fraction\n"
        "assert f(Fraction(1, 4)) == 0.5 and f(1) == Fraction(5, 4) and f(1).numerator == 5",
    ),
    "a decimal number": (
        "from decimal import Decimal\ndef f(x):\n    return Decimal(x) + Decimal('0.1')\n",
        "from decimal import Decimal\nassert f('1.0') == Decimal('1.1') and f('0.4') == 0.5",
    ),
    "an iterator": ("def f(n):\n    yield from range(n)\n", "assert list(f(3)) == [0, 1, 2]"),
    "map": ("def f(x):\n    return map(abs, x)\n", "assert tuple(f([-1, 2])) == (1, 2)"),
    "None": ("def f():\n    pass\n", "assert f() is None"),
    "a large int": ("def f():\n    return 7 ** 20000\n", "assert f() == 7 ** 20000"),
    "a list changed in place": (
        "def f(x):\n    x.sort()\n",
        "x = [2, 1]\nf(x)\nassert x == [1, 2]",
    ),
    "nested lists changed in place": (
        "def f(grid):\n    grid[0][0] = 1\n    grid.append([])\n    return grid\n",
        "row = [0]\ngrid = [row, row]\nresult = f(grid)\n"
        "assert result is grid and grid == [[1], [1], []] and grid[0] is row is grid[1]",
    ),
    "an item changed in place into an equal one of another type": (
        "def f(x, d):\n    x[0], x[1], x[2], d[1] = True, 2.0, -0.0, False\n",
        "x, d = [1, 2, 0.0], {1: 0}\nf(x, d)\n"
        "assert repr((x, d)) == '([True, 2.0, -0.0], {1: False})', (x, d)",
    ),
    "dict and set changed in place": (
        "def f(d, s):\n    d.pop(1)\n    s.add(3)\n",
        "d, s = {1: 2, 3: [4]}, {5}\nf(d, s=s)\nassert d == {3: [4]} and s == {3, 5}",
    ),
    "arguments that stay": (
        "def f(x):\n    return sorted(x)\n",
        "x = [2, 1]\nf(x)\nassert x == [2, 1]",
    ),
    "much printing": (
        "import sys\ndef f():\n    for stream in (sys.stdout, sys.stderr):\n"
        "        print('x' * 30_000_000, file=stream)\n    return 1\n",
        "assert f() == 1",
    ),
    "an exit that is never reached": (
        "import sys\ndef f(x):\n    if x < 0:\n        sys.exit(1)\n    return x\n",
        "assert f(1) == 1",
    ),
    "an expected exception": (
        "def f(x):\n    raise KeyError(x)\n",
        "try:\n    f('a')\nexcept LookupError:\n    pass\nelse:\n    raise AssertionError",
    ),
    "an exception of its own kind": (
        "class Mine(ValueError):\n    pass\ndef f():\n    raise Mine('told')\n",
        "try:\n    f()\nexcept ValueError as error:\n    assert str(error) == 'told'",
    ),
    "state between calls": (
        "seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)\n",
        "assert f(1) == 1 and f(1) == 2",
    ),
    "the standard library": (
        "import bisect, collections, decimal, hashlib, heapq, itertools, json, math, re\n"
        "from dataclasses import dataclass\nfrom typing import List\n"
        "@dataclass\nclass Point:\n    x: int\n"
        "def f():\n    import sqlite3, ssl, zoneinfo\n    return Point(3).x\n",
        "assert f() == 3",
    ),
    "a thread": (
        "import threading\ndef f():\n    found = []\n"
        "    thread = threading.Thread(target=found.append, args=(1,))\n"
        "    thread.start()\n    thread.join()\n    return found\n",
        "assert f() == [1]",
    ),
    "a type as argument": (
        "def f(x, kind):\n    return [i for i in x if not isinstance(i, kind)]\n",
        "assert f([1, 'a'], int) == ['a']",
    ),
    "main guard": (
        ECHO + "if __name__ == '__main__':\n    raise SystemExit(1)\n",
        "assert f(1) == 1",
    ),
    "text with any characters": (ECHO, "assert f('\\ud800\\0é😀') == '\\ud800\\0é😀'"),
    "a byte order mark and Windows lines": (b"def f(x):\r\n    return x\r\n", "assert f(1) == 1"),
    "the null device": ("import os\ndef f():\n    open(os.devnull, 'r+').close()\n", "f()"),
}

WRONG = {
    "a wrong value": (ECHO, "assert f(1) == 2", Status.FAILED, "AssertionError"),
    "a message of the test": (ECHO, "assert f(1) == 2, 'told'", Status.FAILED, "told (line 1"),
    "an exception": (
        "def f(x):\n    return 1 / x\n",
        "f(0)",
        Status.FAILED,
        "ZeroDivisionError: division by zero (line 1 of the test: f(0))",
    ),
    "an end of iteration in the test's loop": (
        "def f(x):\n    raise StopIteration\n",
        "assert all(map(f, [1, 2]))",
        Status.FAILED,
        "RuntimeError: the program raised StopIteration",
    ),
    "an end of iteration without end": (
        "def f():\n    raise StopAsyncIteration\n",
        "try:\n    f()\nexcept StopAsyncIteration:\n    pass",
        Status.FAILED,
        "RuntimeError: the program raised StopAsyncIteration",
    ),
    "an end of a generator": (
        "def f():\n    raise GeneratorExit\n",
        "try:\n    f()\nexcept GeneratorExit:\n    pass",
        Status.FAILED,
        "GeneratorExit",
    ),
    "a syntax error": ("def f(:", "f()", Status.FAILED, "SyntaxError"),
    "an exception at import": ("1 / 0", "f()", Status.FAILED, "ZeroDivisionError"),
    "nothing of that name": ("def g():\n    pass", "f()", Status.FAILED, "'f' is not defined"),
    "a vacuous test": (ECHO, "assert True", Status.FAILED, "the test never called 'f'"),
    "an exit": ("def f():\n    exit(0)", "f()", Status.FAILED, "NameError"),
    "a dead process": ("import os\ndef f():\n    os._exit(0)", "f()", Status.CRASHED, "ended its"),
    "a late answer": ("def f():\n    while True: pass", "f()", Status.TIMED_OUT, "within 1 s"),
    "a late definition": ("while True: pass", "f()", Status.TIMED_OUT, "within 1 s"),
    "invalid bytes": (b"def f(): pass # \xff", "f()", Status.INVALID, "not valid UTF-8"),
    "a lone surrogate": ("def f(): pass # \ud800", "f()", Status.INVALID, "not valid UTF-8"),
    "a NUL": ("def f(): pass # \0", "f()", Status.INVALID, "NUL"),
    "a value that does not cross": (
        "def f():\n    return 'x' * (1 << 20)",
        "f()",
        Status.FAILED,
        "more than 1048576 bytes",
    ),
    "an iterator that gives too much": (
        "def f():\n    while True:\n        yield 'x' * 300_000",
        "for text in f():\n    assert len(text) == 300_000",
        Status.FAILED,
        "an iterator gives more than 1048576 bytes",
    ),
    "a result that unfolds in the test": (
        "def f():\n    return range(10**9)",
        "sorted(f())",
        Status.FAILED,
        "MemoryError",
    ),
    "a swallowed end": (
        "import os\ndef f(x):\n    os._exit(0)",
        "try:\n    f(1)\nexcept BaseException:\n    pass",
        Status.CRASHED,
        "ended its process",
    ),
    "a swallowed comparison": (
        "class Mine:\n    pass\ndef f(x):\n    return Mine()",
        "try:\n    f(1) == 1\nexcept:\n    pass",
        Status.FAILED,
        "compares an object",
    ),
    "a test that hangs": (ECHO, "f(1)\nwhile True: pass", Status.TIMED_OUT, "within 1 s"),
    "a test that ends its process": (ECHO, "import os; os._exit(0)", Status.FAILED, "own process"),
    "a test that exits": (ECHO, "f(1)\nraise SystemExit(0)", Status.FAILED, "ended itself"),
    "a file of the host": (
        "def f():\n    return open('/etc/passwd').read()",
        "f()",
        Status.FAILED,
        "Error",
    ),
}


def test_right_programs_pass(tier):
    verdicts = check_many([submission(*case) for case in RIGHT.values()], tier=tier)
    failed = {name: v for name, v in zip(RIGHT, verdicts, strict=True) if not v.passed}
    assert failed == {}


def test_wrong_programs_fail_and_say_why(tier):
    submissions = [
        submission(program, test, timeout_s=1.0 if status is Status.TIMED_OUT else 60.0)
        for program, test, status, _ in WRONG.values()
    ]
    verdicts = dict(zip(WRONG, check_many(submissions, tier=tier), strict=True))
    for name, (_, _, status, reason) in WRONG.items():
        assert verdicts[name].status is status, (name, verdicts[name])
        assert reason in verdicts[name].reason, (name, verdicts[name])
        assert not verdicts[name].passed


def test_asserts_count_where_python_leaves_them_out(tier, monkeypatch):
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    assert check(ECHO, "assert f(1) == 1", "f", 10.0, tier=tier).passed
    assert not check(ECHO, "assert f(1) == 2", "f", 10.0, tier=tier).passed


def test_large_results_cross_where_the_submission_says_so(tier):
    program = "def f():\n    return [0.5] * 400_000\n"
    large = submission(program, "assert f() == [0.5] * 400_000", max_result_bytes=16 << 20)
    usual = submission(program, "assert f() == [0.5] * 400_000")
    assert [v.passed for v in check_many([large, usual], tier=tier)] == [True, False]


def test_what_an_iterator_gives_counts_as_one_result(tier):
    program = "def f():\n    for _ in range(4):\n        yield 'x' * 300_000\n"
    test = "assert [len(text) for text in f()] == [300_000] * 4"
    submissions = [submission(program, test, max_result_bytes=2 << 20), submission(program, test)]
    assert [v.passed for v in check_many(submissions, tier=tier)] == [True, False]


def test_a_test_has_memory_to_spare_but_not_all_there_is(judged):
    for gib, passes in ((2, True), (4, False)):
        test = f"f(1)\nlarge = bytearray({gib} << 30)  # not touched, so nothing is taken"
        assert judged(ECHO, test).passed is passes


def test_sets_come_in_the_same_order_in_every_run(tier):
    program = "def f():\n    return list({str(i) for i in range(50)})\n"
    test = "assert list({str(i) for i in range(50)}) == f()\nraise ValueError(' '.join(f()))"
    first, second = check_many([submission(program, test)] * 2, tier=tier)
    assert first == second
    assert first.reason.startswith("ValueError")


def test_programs_that_draw_draw_the_same_in_every_run(tier):
    program = (
        "import random\nfirst = random.random()\ndef f():\n    return first, random.random()\n"
    )
    first, second = check_many([submission(program, "raise ValueError(f())")] * 2, tier=tier)
    assert first == second
    assert "ValueError" in first.reason


def test_a_run_that_nobody_waits_for_is_ended(tier):
    slow = submission("import time\ndef f():\n    time.sleep(600)\n", "f()", timeout_s=600.0)
    verdicts = check_many([submission(ECHO, "assert f(1) == 1"), *[slow] * 5], workers=2, tier=tier)
    with witnesses() as around:
        assert next(verdicts).passed
        verdicts.close()  # would wait 600 s, were the running submission not ended
        assert around.findings() == []


def test_verdicts_keep_the_order_and_submissions_are_taken_as_needed(tier):
    taken = []

    def submissions():
        for number in range(12):
            taken.append(number)
            program = f"import time\ndef f():\n    time.sleep({(number % 3) * 0.05})\n"
            yield submission(program, f"f()\nassert {number} % 2", timeout_s=20.0)

    verdicts = check_many(submissions(), workers=2, tier=tier)
    assert not next(verdicts).passed
    assert len(taken) < 12
    assert [v.passed for v in verdicts] == [number % 2 == 1 for number in range(1, 12)]


def test_wrong_use_is_named():
    for timeout_s in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="timeout_s"):
            submission(ECHO, "f(1)", timeout_s=timeout_s)
        with pytest.raises(UsageError, match="timeout_s"):
            check(ECHO, "f(1)", "f", timeout_s)
    with pytest.raises(UsageError, match="expected one of bubblewrap, landlock"):
        check_many([], tier="docker")
