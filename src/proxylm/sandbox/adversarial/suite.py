"""Runs the adversarial programs in a tier, between witnesses, and says what did not hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proxylm.progress import TellCount, told, untold
from proxylm.sandbox.adversarial.attack import ATTACKS, ENTRY_POINT, TIMEOUT_S, Attack
from proxylm.sandbox.adversarial.witnesses import witnesses
from proxylm.sandbox.pool import check_many
from proxylm.sandbox.verdict import Submission, Verdict


@dataclass(frozen=True, kw_only=True)
class SuiteResult:
    """What a tier did with the adversarial programs."""

    verdicts: dict[str, Verdict]
    findings: list[str]

    @property
    def passed(self) -> list[str]:
        """Programs that were judged as passed; each is a hole."""
        return [name for name, verdict in self.verdicts.items() if verdict.passed]

    @property
    def holds(self) -> bool:
        """Whether no program passed and nothing got out."""
        return not self.passed and not self.findings


def run_suite(
    tier: str, attacks: Sequence[Attack] = ATTACKS, *, progress: TellCount = untold
) -> SuiteResult:
    """Run the programs in a tier; about half a minute for all of them.

    ``progress`` hears how many have been judged.

    Raises:
        SandboxError: the tier does not work here.
    """
    with witnesses() as around:
        submissions = [
            Submission(
                program=around.prepared(attack),
                test=attack.test,
                entry_point=ENTRY_POINT,
                timeout_s=TIMEOUT_S,
            )
            for attack in attacks
        ]
        judged = check_many(submissions, tier=tier)
        counted = told(submissions, f"{tier}: programs", progress)
        verdicts = [verdict for _, verdict in zip(counted, judged, strict=True)]
        findings = around.findings()
    names = [attack.name for attack in attacks]
    return SuiteResult(verdicts=dict(zip(names, verdicts, strict=True)), findings=findings)
