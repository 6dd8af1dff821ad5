"""What the paper fixes and what the method states, written down once more."""

from __future__ import annotations

import inspect

import pytest

from proxylm.cli import evaluate_all, evaluate_code
from proxylm.evaluation.answers.options import Budget
from proxylm.evaluation.answers.run import DEFAULT_KS
from proxylm.evaluation.benchmarks import plus, stop_rules
from proxylm.evaluation.prompt_boundary import SUFFIXES
from proxylm.evaluation.recode.folder import DEFAULT_SEEDS

COMMANDS = [
    evaluate_code.humaneval,
    evaluate_code.mbpp,
    evaluate_code.recode,
    evaluate_code.prompt_boundary,
    evaluate_code.translation,
    evaluate_all.evaluate_all,
]


def default(command: object, name: str) -> object:
    return inspect.signature(command).parameters[name].default  # type: ignore[arg-type]


@pytest.mark.parametrize("command", COMMANDS)
def test_budgets(command: object) -> None:
    assert default(command, "max_new_bytes") == 2048
    if command is not evaluate_code.translation:  # it writes bytes alone
        assert default(command, "max_new_tokens") == 512
    assert Budget() == Budget(max_symbols=512, max_bytes=2048)


def test_recode_has_five_seeds() -> None:
    assert DEFAULT_SEEDS == 5
    assert {default(command, "seeds") for command in (COMMANDS[2], COMMANDS[-1])} == {5}


def test_pass_at_1_and_10() -> None:
    assert DEFAULT_KS == (1, 10)


def test_nine_suffixes() -> None:
    blanks = ["", " \n", "\n", "\n ", "\n  ", "\n   ", "\n    ", "\n\n", "\n\t"]
    assert [suffix.decode() for suffix in SUFFIXES] == blanks


def test_stop_strings() -> None:
    both = {b"\nif __name__", b"\ndef main(", b"\nprint("}
    inside = {b"\ndef ", b"\nclass ", b"\nimport ", b"\nfrom ", b"\nassert "}
    assert set(stop_rules.FUNCTION_BODY) == both | inside
    assert set(stop_rules.WHOLE_PROGRAM) == both | {b'\n"""', b"\nassert"}


def test_limits_of_the_plus_forms() -> None:
    assert plus.TIMEOUT_S == 120
    assert plus.SLOW_TASKS_TIMEOUT_S == {"Mbpp/599": 480}
    assert set(plus.UNJUDGED_CALLS) == {"Mbpp/255"}
    is_unjudged = plus.UNJUDGED_CALLS["Mbpp/255"]
    assert (is_unjudged([[], 70]), is_unjudged([[], 71])) == (False, True)
