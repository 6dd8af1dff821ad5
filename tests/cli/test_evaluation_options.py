"""What the evaluations' options mean before anything is loaded."""

from __future__ import annotations

import pytest

from proxylm.cli.evaluation_options import task_names


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        ("", []),
        ("arc_easy", ["arc_easy"]),
        (" arc_easy, piqa ,", ["arc_easy", "piqa"]),
        ("a,b.yaml", ["a,b.yaml"]),
        ("piqa, a,b.yaml,boolq", ["piqa", "a,b.yaml", "boolq"]),
        ("a,c.yaml", ["a", "c.yaml"]),
        (",".join(["arc_easy"] * 90), ["arc_easy"] * 90),
    ],
)
def test_commas_part_tasks_and_no_existing_file(listed, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b.yaml").touch()
    assert task_names(listed) == names
