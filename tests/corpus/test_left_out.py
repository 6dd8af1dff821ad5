"""Counts of what was left out, added up over parts in order."""

from __future__ import annotations

from proxylm.corpus.document import Rejection
from proxylm.corpus.left_out import LeftOut


def test_counts_add_up_and_the_first_example_of_a_reason_stays():
    parts = [LeftOut(), LeftOut()]
    for number, part in enumerate(parts):
        part.add(Rejection(id=f"part {number}", reason="empty"))
    parts[1].add(Rejection(id="late", reason="too_long", detail="11 bytes"))
    parts[0].update(parts[1])
    assert parts[0].to_json() == {"empty": 2, "too_long": 1}
    assert parts[0].examples == {"empty": "part 0", "too_long": "late: 11 bytes"}
