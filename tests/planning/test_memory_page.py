"""The table of docs/cluster.md: as the code has it, and within a tenth of the trace."""

from __future__ import annotations

import shlex

import pytest
from memory_table import HEADER, cases, row, traced

from documents import ROOT, blocks
from proxylm.cli.main import run
from proxylm.models.presets import preset

SECTION = "A plan before spending"
TRACED = 3
"""Column of what was traced."""


def shown_rows() -> list[list[str]]:
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    _, table = page.split(HEADER + "\n")
    lines = table.split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_planned_columns_are_the_codes() -> None:
    shown = shown_rows()
    assert [(name, int(gpus)) for name, gpus, *_ in shown] == list(cases())
    for cells in shown:
        name, gpus, traced_gb = cells[0], int(cells[1]), float(cells[TRACED])
        assert f"| {' | '.join(cells)} |" == row(name, gpus, traced_gb)
        assert 0.9 < float(cells[2]) / traced_gb < 1.1


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_traced_column_is_the_traces() -> None:
    for cells in shown_rows():
        assert f"{traced(preset(cells[0]), int(cells[1])):.2f}" == cells[TRACED]


@pytest.mark.long
def test_the_commands_work_word_for_word(capsys: pytest.CaptureFixture[str]) -> None:
    (commands,) = blocks("docs/cluster.md", "sh", section=SECTION)
    for command in commands.splitlines():
        program, *arguments = shlex.split(command)
        assert program == "proxylm"
        assert run(arguments) == 0
        assert "days of training" in capsys.readouterr().out
