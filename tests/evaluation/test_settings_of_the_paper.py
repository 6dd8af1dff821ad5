"""What the paper fixes and what the method states, written down once more."""

from __future__ import annotations

import pytest
import typer

from proxylm.cli import main as cli
from proxylm.evaluation.answers.options import Budget
from proxylm.evaluation.answers.run import DEFAULT_KS
from proxylm.evaluation.benchmarks import plus, stop_rules
from proxylm.evaluation.prompt_boundary import SUFFIXES
from proxylm.evaluation.recode.folder import DEFAULT_SEEDS

COMMANDS = ["humaneval", "mbpp", "recode", "prompt-boundary", "translation", "all"]


def parameters(name: str) -> dict[str, object]:
    """The options of ``proxylm evaluate NAME``."""
    command = typer.main.get_command(cli.app).commands["evaluate"].commands[name]
    return {one.name: one for one in command.get_params(command.make_context(name, ["RUN"]))}


@pytest.mark.parametrize("name", COMMANDS)
def test_budgets(name: str) -> None:
    told = parameters(name)
    assert told["max_new_bytes"].help.endswith("(default: 2048)")
    if name != "translation":  # it writes bytes alone
        assert told["max_new_tokens"].help.endswith("(default: 512)")
    assert Budget() == Budget(max_symbols=512, max_bytes=2048)


def test_recode_has_five_seeds() -> None:
    assert DEFAULT_SEEDS == 5
    assert {parameters(name)["seeds"].default for name in ("recode", "all")} == {5}


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
