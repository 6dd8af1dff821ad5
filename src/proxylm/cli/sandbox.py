"""``proxylm sandbox``: whether generated code can be run here, and how well it is held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli.output import JsonOption, bars_or_lines, emit, note, table

if TYPE_CHECKING:
    from proxylm.sandbox.adversarial.suite import SuiteResult
    from proxylm.sandbox.detection import TierState

app = typer.Typer(no_args_is_help=True)


@app.command()
def check(
    tier: Annotated[
        str | None, typer.Option(help="Try this tier only: bubblewrap or landlock.")
    ] = None,
    json: JsonOption = False,
) -> int:
    """Which isolation tiers work here, what to install, and the adversarial programs in each.

    The first tier that works is the one that evaluations use. Exit status 1 if none works, or if
    one does not hold every adversarial program; takes about half a minute for a tier.

    Example: proxylm sandbox check --json
    """
    from proxylm.errors import UsageError
    from proxylm.sandbox.adversarial.attack import ATTACKS
    from proxylm.sandbox.adversarial.suite import run_suite
    from proxylm.sandbox.detection import tier_state
    from proxylm.sandbox.tiers import TIERS

    if tier is not None and tier not in TIERS:
        raise UsageError(f"sandbox tier '{tier}': expected one of {', '.join(TIERS)}")
    states = [tier_state(name) for name in TIERS if tier in (None, name)]
    results = {}
    with bars_or_lines() as show:
        for state in states:
            if state.lacking is None:
                note(f"{state.name}: running {len(ATTACKS)} adversarial programs")
                results[state.name] = run_suite(state.name, progress=show)
    used = next(iter(results), None)
    emit(
        {"used": used, "tiers": [_as_json(state, results.get(state.name)) for state in states]},
        as_json=json,
        text=_as_text(states, results),
    )
    return 0 if results and all(result.holds for result in results.values()) else 1


def _as_json(state: TierState, result: SuiteResult | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"tier": state.name, "works": state.lacking is None}
    if result is None:
        return {**answer, "lacking": state.lacking, "needs": state.needs}
    programs = {
        name: {"status": verdict.status.value, "reason": verdict.reason}
        for name, verdict in result.verdicts.items()
    }
    return {
        **answer,
        "programs": len(programs),
        "contained": len(programs) - len(result.passed),
        "passed": result.passed,
        "got_out": result.findings,
        "verdicts": programs,
    }


def _as_text(states: list[TierState], results: dict[str, SuiteResult]) -> str:
    rows, remarks = [], []
    for state in states:
        result = results.get(state.name)
        if result is None:
            rows.append([state.name, "no", "-", "-"])
            remarks.append(f"{state.name}: {state.lacking}; needed: {state.needs}")
            continue
        contained = f"{len(result.verdicts) - len(result.passed)}/{len(result.verdicts)}"
        rows.append([state.name, "yes", contained, "yes" if result.findings else "nothing"])
        remarks += [f"{state.name}: judged as passed: {name}" for name in result.passed]
        remarks += [f"{state.name}: {finding}" for finding in result.findings]
    used = next(iter(results), None)
    remarks.append(
        f"evaluations use {used}" if used else "generated code is not run here: no tier works"
    )
    return "\n".join([table(["tier", "works", "failed as they must", "got out"], rows), *remarks])
