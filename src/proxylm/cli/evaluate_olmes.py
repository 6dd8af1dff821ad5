"""``proxylm evaluate olmes``: the natural-language tasks of the paper's Table 16, from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxylm.cli.evaluation_options import about_model, report_object
from proxylm.cli.options import Flags, options
from proxylm.cli.output import JsonOption, bars_or_lines, emit, table
from proxylm.cli.reading import READING, DeviceOption, RunArgument, read_by

if TYPE_CHECKING:
    from proxylm.evaluation.olmes.data import OlmesSettings
    from proxylm.evaluation.olmes.evaluation import OlmesReport
    from proxylm.scoring.read_as import ReadAs

SETTINGS = Flags(
    "proxylm.evaluation.olmes.data:OlmesSettings", ("data", "task=tasks", "shots", "limit")
)


@options(reading=READING, settings=SETTINGS)
def olmes(
    run: RunArgument,
    reading: ReadAs,
    settings: OlmesSettings,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Multiple-choice questions as OLMES asks them: as a cloze and by letter, the better counts.

    Example: proxylm evaluate olmes runs/demo/proxy --data olmes --task piqa --limit 100
    """
    from proxylm.evaluation.likelihood import Scorer
    from proxylm.evaluation.olmes.data import read_tasks
    from proxylm.evaluation.olmes.evaluation import evaluate_olmes
    from proxylm.generation.loading import load

    found = read_tasks(settings)
    model = load(run, device=device)
    scorer = Scorer(model.module, read_by(model, run, reading))
    with bars_or_lines() as show:
        report = evaluate_olmes(scorer.telling(show), found, progress=show)
    about = {
        **about_model(model, run),
        **settings.model_dump(mode="json"),
        "questions": {one.task.name: one.fingerprint for one in found},
    }
    emit(report_object(report, about), as_json=json, text=table(_HEADERS, _rows(report)))


_HEADERS = ["task", "questions", "cloze %", "normalized by", "letters %", "score %", "form"]


def _rows(report: OlmesReport) -> list[list[str]]:
    rows = [
        [
            name,
            f"{task.questions}",
            f"{100 * task.cloze[task.normalization]:.1f}",
            task.normalization,
            f"{100 * task.multiple_choice:.1f}",
            f"{100 * task.score:.1f}",
            task.form,
        ]
        for name, task in report.tasks.items()
    ]
    average = ["average", "", "", "", "", f"{100 * report.average:.1f}"]
    return [*rows, [*average, f"read as {report.read_as}"]]
