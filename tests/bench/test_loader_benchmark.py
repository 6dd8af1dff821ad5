from __future__ import annotations

from proxylm.bench.loader import run_loader_benchmark


def test_every_case_has_a_value_and_its_yardstick():
    rows = run_loader_benchmark(steps=2, repeats=1, planned_documents=20_000)
    assert [row.case for row in rows] == [
        "loader/4096",
        "loader/4096/bytes",
        "loader/4096/pieces",
        "loader/4096/heads-8",
        "loader/plan",
    ]
    for row in rows:
        assert row.unit == ("documents/s" if row.case == "loader/plan" else "symbols/s")
        assert row.value > 0 and row.yardstick > 0
        # Two steps time nothing reliably: what the ratio is made of is checked, not its size.
        assert row.to_json()["ratio"] == row.value / row.yardstick
