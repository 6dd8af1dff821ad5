"""``proxylm sandbox check``: tiers, what to install, and the exit status."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from documents import ROOT, blocks
from proxylm.cli.main import run
from proxylm.sandbox import SandboxError, detection
from proxylm.sandbox.adversarial import suite
from proxylm.sandbox.adversarial.attack import ATTACKS, Attack

HOLE = Attack(
    name="no attack at all",
    group="none",
    program="def answer(x):\n    return 49\n",
    test="assert answer(7) == 49",
)


def use_attacks(monkeypatch, attacks):
    original = suite.run_suite
    monkeypatch.setattr(
        suite, "run_suite", lambda tier, progress: original(tier, attacks, progress=progress)
    )


def test_a_tier_that_holds(tier, monkeypatch, capsys):
    use_attacks(monkeypatch, ATTACKS[:3])
    assert run(["sandbox", "check", "--tier", tier, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["used"] == tier
    (found,) = answer["tiers"]
    assert found["works"] is True
    assert (found["programs"], found["contained"]) == (3, 3)
    assert found["passed"] == found["got_out"] == []
    assert found["verdicts"][ATTACKS[0].name]["status"] == "failed"


def test_a_hole_is_named_and_fails_the_command(tier, monkeypatch, capsys):
    use_attacks(monkeypatch, [HOLE])
    assert run(["sandbox", "check", "--tier", tier]) == 1
    printed = capsys.readouterr().out
    assert f"{tier}: judged as passed: no attack at all" in printed
    assert "0/1" in printed


def test_no_tier_says_what_to_install(monkeypatch, capsys):
    def lacking(name):
        return detection.TierState(name=name, lacking="is not there", needs=f"package {name}")

    monkeypatch.setattr(detection, "tier_state", lacking)
    assert run(["sandbox", "check"]) == 1
    printed = capsys.readouterr().out
    assert "bubblewrap: is not there; needed: package bubblewrap" in printed
    assert "generated code is not run here" in printed


@pytest.mark.parametrize("name", ["docker", ""])
def test_unknown_tiers_are_named(name, capsys):
    assert run(["sandbox", "check", "--tier", name]) == 2
    assert "expected one of bubblewrap, landlock" in capsys.readouterr().err


def test_the_example_of_the_documentation_runs(tmp_path):
    try:
        detection.usable_tier()
    except SandboxError as error:
        pytest.skip(str(error))
    (program,) = blocks("docs/sandbox.md", "python", section="Judging programs")
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.stdout.splitlines() == ["True passed ", "[True, False]"], result.stderr


def test_the_documentation_counts_the_programs():
    for path in ("docs/sandbox.md", "docs/architecture.md"):
        assert f"{len(ATTACKS)} adversarial programs" in (ROOT / path).read_text()
