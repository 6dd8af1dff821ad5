"""The benchmark of the sandbox runs and measures each tier that works here."""

from __future__ import annotations

from benchmark_data import need_sandbox
from proxylm.bench.sandbox import KILL_LIMIT_S, run_sandbox_benchmark
from proxylm.sandbox.detection import tier_state
from proxylm.sandbox.tiers import TIERS


def test_every_tier_that_works_is_measured():
    need_sandbox()
    rows = run_sandbox_benchmark(repeats=1)
    tiers = [name for name in TIERS if tier_state(name).lacking is None]
    assert [row.case for row in rows] == [
        f"sandbox/{tier}/{case}" for tier in tiers for case in ("program", "kill")
    ]
    for row in rows:
        assert (row.unit, row.lower_is_better) == ("s", True)
        assert row.value > 0
        assert row.yardstick > 0
        assert row.case.endswith("program") or row.yardstick == KILL_LIMIT_S
