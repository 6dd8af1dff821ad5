"""The adversarial programs: all judged failed, nothing gets out; and proof that they would."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys

import pytest

from proxylm.fingerprint import fingerprint_of
from proxylm.sandbox.adversarial.attack import ATTACKS, ENTRY_POINT, escape_program
from proxylm.sandbox.adversarial.suite import run_suite
from proxylm.sandbox.adversarial.witnesses import descendants, witnesses
from proxylm.sandbox.detection import tier_state
from proxylm.sandbox.verdict import Status

BY_NAME = {attack.name: attack for attack in ATTACKS}
FILES, TIME, SPACE = (
    [attack for attack in ATTACKS if attack.group == group] for group in ("files", "time", "space")
)
# What runs into its time limit: the default suite has a few of these, the long one all.
TAKE_TIME = {
    *(attack.name for attack in (*TIME, *SPACE)),
    "shared structure that unfolds without end",
    "a string of 64 MB",
    "a list of ten million",
    "integers that collide as keys",
}
SOME_OF_THEM = {"swallowed timeouts", "endless print", "fork bomb", "disk bomb of many files"}
WRITTEN = "32a788d483093ae69456d26b335ea3e0"
DEFAULT = [attack for attack in ATTACKS if attack.name not in TAKE_TIME - SOME_OF_THEM]


def test_there_are_many_programs_each_once():
    assert len(BY_NAME) == len(ATTACKS) >= 140
    assert len(DEFAULT) >= 110
    assert set(BY_NAME) >= TAKE_TIME > SOME_OF_THEM


def test_the_programs_are_those_that_were_written():
    # One that an edit has broken fails as well as one that is contained: nothing else would tell.
    # Who changes a program on purpose writes the new fingerprint here.
    parts = ((each.group, each.name, each.program, each.test) for each in ATTACKS)
    assert fingerprint_of(*itertools.chain(*parts)) == WRITTEN


def test_programs_are_python_with_every_fact_in_its_place():
    with witnesses() as around:
        for attack in ATTACKS:
            if attack.group != "sources":
                program = around.prepared(attack)
                assert not re.search("@[A-Z_]+@", program), attack.name
                compile(program, attack.name, "exec")
            compile(attack.test, attack.name, "exec")


def test_programs_fail_and_nothing_gets_out(tier):
    result = run_suite(tier, DEFAULT)
    assert result.passed == []
    assert result.findings == []
    assert len(result.verdicts) == len(DEFAULT)
    invalid = {name for name, v in result.verdicts.items() if v.status is Status.INVALID}
    assert invalid == {
        "NUL in the source",
        "lone surrogate in the source",
        "invalid UTF-8 in the source",
    }


@pytest.mark.long
def test_all_programs_fail_three_times_over(tier):
    for _ in range(3):
        result = run_suite(tier)
        assert result.holds, (result.passed, result.findings)
        for attack in TIME:
            assert result.verdicts[attack.name].status in (Status.TIMED_OUT, Status.FAILED)


# What each does without a sandbox, so that its failure inside one says something.
SUCCEED_UNCONFINED = (
    "reading a host file",
    "reading /etc/passwd",
    "listing host folders",
    "the environment of the host",
    "other processes' command lines",
    "installed packages, which may hold the answers",
    "a listening socket",
    "a file in memory to execute",
    "surviving its parent",
)
LEAVE_TRACES_UNCONFINED = (
    "writing where everybody may",
    "removing a host file",
    "leaving a link",
    "opening permissions",
    "touching a host file's times",
    "a shell",
    "os.system",
    "multiprocessing",
    "killing a process of the host",
    "a socket to loopback",
    "a datagram to loopback",
    "an abstract Unix socket",
    "a Unix socket among the host's files",
    "a daemon",
)


def run_unconfined(program: str) -> bool:
    """Whether plain Python, with no sandbox, gives the right answer."""
    ask = f"\nimport os, sys\nos._exit(0 if {ENTRY_POINT}(7) == 49 else 1)\n"
    return subprocess.run([sys.executable, "-S", "-c", program + ask], timeout=30).returncode == 0


@pytest.mark.parametrize("name", SUCCEED_UNCONFINED)
def test_an_escape_succeeds_where_nothing_holds_it(name):
    with witnesses() as around:
        assert run_unconfined(around.prepared(BY_NAME[name]))


@pytest.mark.parametrize("name", LEAVE_TRACES_UNCONFINED)
def test_the_witnesses_see_an_escape_where_nothing_holds_it(name):
    with witnesses() as around:
        assert around.findings() == []
        assert run_unconfined(around.prepared(BY_NAME[name]))
        assert around.findings() != []
        end_descendants(around)


def end_descendants(around) -> None:
    """End what an unconfined program left running."""
    for process in descendants():
        if process.pid not in (around.victim.pid, *around.relatives):
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    "name",
    [
        "sys.exit(0) at import",
        "sys.exit(0) in the call",
        "os._exit(0) at import",
        "os._exit(0) in the call",
        "int subclass that equals everything",
        "object that equals everything",
        "object that equals everything, in a list",
        "object that is never unequal",
        "object whose difference is always small",
        "spoofed __class__",
    ],
)
def test_a_forgery_passes_where_the_test_runs_beside_it(name):
    attack = BY_NAME[name]
    beside = f"{attack.program}\n{attack.test}"
    assert subprocess.run([sys.executable, "-S", "-c", beside], timeout=30).returncode == 0


def test_an_attempt_counts_only_where_it_succeeds():
    assert run_unconfined(escape_program("pass\n"))
    assert not run_unconfined(escape_program("raise OSError\n"))
    assert not run_unconfined(escape_program("escaped = False\n"))


def test_namespaces_hold_without_seccomp(monkeypatch, tmp_path):
    # As on a processor whose system calls are not listed: forks, sockets and signals are allowed
    # there, and stay inside.
    if tier_state("bubblewrap").lacking:
        pytest.skip(f"bubblewrap: {tier_state('bubblewrap').lacking}")
    script = tmp_path / "sitecustomize.py"
    script.write_text(
        "import platform\nplatform.machine = lambda: 'unlisted'\n"  # what the judging process sees
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    attacks = [
        *FILES,
        *(attack for attack in SPACE if attack.name in ("fork bomb", "disk bomb of many files")),
        *(BY_NAME[name] for name in ("a daemon", "a shell", "os.system", "kill(-1)")),
        *(BY_NAME[name] for name in ("killing its parent", "killing its group")),
        *(BY_NAME[name] for name in ("killing a process of the host", "SIGSTOP of itself")),
        *(BY_NAME[name] for name in ("a socket to loopback", "an abstract Unix socket")),
    ]
    result = run_suite("bubblewrap", attacks)
    assert result.findings == []
    stays_inside = {"shared memory that stays", "System V memory that stays"}
    assert set(result.passed) <= stays_inside
    assert "System V memory that stays" in result.passed, "seccomp was not left out"
