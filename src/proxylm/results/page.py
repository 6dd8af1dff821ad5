"""The page of results, from records alone: verdicts first, then every experiment with its tables.

No number of a result is written by hand: text says what is done, tables and verdicts what came out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from proxylm.errors import UsageError
from proxylm.files import atomic_file
from proxylm.recipes.table import Cell, markdown
from proxylm.results.experiment import (
    Experiment,
    Falls,
    Statement,
    Table,
    experiment_names,
    read_experiment,
)
from proxylm.results.grid import GridWork
from proxylm.results.points import Label
from proxylm.results.record import SUFFIX, Observation, ResultRecord, read_record
from proxylm.results.verdicts import LEAST_PAIRS, Finding, Line, Pairs, finding

HEAD = f"""# Results

What came out of experiments of our own, beside what the paper says. `proxylm results page` makes
this page from the files in [results](results/README.md), and from nothing else; `proxylm results
run NAME` makes such a file, here or on a larger machine
([recipes.md](recipes.md#experiments-of-our-own)).

A statement *agrees* or *does not at this size* where a mean difference over at least {LEAST_PAIRS}
pairs, or a slope, is further from zero than two standard errors; where it is not, it *cannot be
told*. What is said of every size or corpus has to hold of each that has so many pairs. Pairs differ
in what is compared alone: seed, size and corpus are the same. In tables, a standard deviation over
seeds stands after ±; after a mean difference, its standard error; after a slope, two of them. Where
a line meets zero is an interval of two standard errors (Fieller's).
"""

NOT_RUN = "not run here"


def write_page(folder: Path, page: Path) -> None:
    """Write the page of a folder of records.

    Raises:
        UsageError: there is no such folder.
        DataError: a record is damaged.
    """
    text = page_of(read_records(folder))
    with atomic_file(page) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_records(folder: Path) -> list[ResultRecord]:
    """All records of a folder, by their files' names.

    Raises:
        UsageError: there is no such folder.
        DamagedFileError: a file is no record.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; 'proxylm results run NAME' writes into one")
    return [read_record(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]


def page_of(records: Sequence[ResultRecord]) -> str:
    """The page as Markdown: shipped experiments in their order, run or not, then others.

    Raises:
        UsageError: the file of an experiment is not there any more.
    """
    by_name = {one.experiment: one for one in records}
    names = list(dict.fromkeys([*experiment_names(), *by_name]))
    told = [(read_experiment(name), by_name.get(name)) for name in names]
    parts = [HEAD, _overview(told)]
    parts += [_section(one, record) for one, record in told if record is not None]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _overview(told: Sequence[tuple[Experiment, ResultRecord | None]]) -> str:
    rows = [
        [statement.says, statement.source, _verdict(statement, record), experiment.title]
        for experiment, record in told
        for statement in experiment.statements
    ]
    return markdown(["statement", "source", "here", "experiment"], rows)


def _verdict(statement: Statement, record: ResultRecord | None) -> str:
    if record is None:
        return NOT_RUN
    found = finding(statement.rule, record.observations)
    return f"**{found.verdict}**" if found.pairs else NOT_RUN


def _section(experiment: Experiment, record: ResultRecord) -> str:
    parts = [f"## {experiment.title}", experiment.text, _about(experiment, record)]
    parts += [part for table in experiment.tables if (part := _table(table, record.observations))]
    parts += [_statement(one, record.observations) for one in experiment.statements]
    parts += [_sweep(experiment.work, record)] if isinstance(experiment.work, GridWork) else []
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def _about(experiment: Experiment, record: ResultRecord) -> str:
    """Where the numbers come from."""
    there, wanted = len(record.observations), record.wanted
    said = [f"`proxylm results run {record.experiment}`"]
    said.append(f"{record.core_hours:.2f} of at most {experiment.core_hours:g} core-hours")
    said.append(f"{there} observations" if record.is_complete else _so_far(there, wanted))
    seeds = {one.labels["seed"] for one in record.observations if "seed" in one.labels}
    said += [f"{len(seeds)} {'seed' if len(seeds) == 1 else 'seeds'}"] if seeds else []
    said.append(f"proxylm {', '.join(record.made_by)}")
    return "; ".join(said) + "."


def _so_far(there: int, wanted: int | None) -> str:
    of = "more to come" if wanted is None else f"of {wanted}"
    return f"{there} observations so far ({of})"


def _table(table: Table, observations: Sequence[Observation]) -> str:
    shown = [one for one in observations if one.has(table.where)]
    rows = list(
        dict.fromkeys(tuple(one.labels.get(name, "") for name in table.rows) for one in shown)
    )
    columns = list(_columns(table, shown))
    cells = [
        [*map(str, row), *(_cell(table, row, column, shown) for column in columns)] for row in rows
    ]
    if not cells:
        return ""
    headers = [*table.rows, *(str(column[0]) for column in columns)]
    return f"{table.title}:\n\n{markdown(headers, cells)}"


Column = tuple[Label, str, dict[str, Label]]
"""A heading, the number below it, and labels of what is shown there."""


def _columns(table: Table, shown: Sequence[Observation]) -> Iterator[Column]:
    if table.columns is None:
        for name in table.numbers:
            yield name, name, {}
        return
    [number] = table.numbers
    for value in dict.fromkeys(one.labels.get(table.columns, "") for one in shown):
        yield value, number, {table.columns: value}


def _cell(
    table: Table, row: tuple[Label, ...], column: Column, shown: Sequence[Observation]
) -> str:
    _, number, labels = column
    place = {**dict(zip(table.rows, row, strict=True)), **labels}
    values = [one.numbers[number] for one in shown if one.has(place) and number in one.numbers]
    return Cell(tuple(values)).text(table.numbers[number])


def _statement(statement: Statement, observations: Sequence[Observation]) -> str:
    """A statement, its verdict, and what that rests on."""
    found = finding(statement.rule, observations)
    if not found.pairs:
        return f"*{statement.says}* ({statement.source}): {NOT_RUN}."
    said = f"*{statement.says}* ({statement.source}): **{found.verdict}**. "
    return said + "; ".join(_reasons(statement, found)) + "."


def _reasons(statement: Statement, found: Finding) -> Iterator[str]:
    rule = statement.rule
    if isinstance(rule, Falls):
        yield from _of_line(rule, found)
    for pairs in found.pairs:
        yield _of_pairs(pairs, rule.over if isinstance(rule, Falls) else "")


def _of_line(rule: Falls, found: Finding) -> Iterator[str]:
    if found.line is None:
        yield "too few points for a line"
        return
    line = found.line
    yield (
        f"{line.slope:+.3f} ± {2 * line.slope_error:.3f} for ten times the {rule.over}, over "
        f"{line.count} points"
    )
    yield _crossing(line)
    if rule.paper_crossing is not None:
        yield f"the paper's crossing: {_large(rule.paper_crossing)}"


def _crossing(line: Line) -> str:
    zero = line.zero()
    if zero is None:
        return "where the line meets zero cannot be told"
    at, low, high = (_power_of_ten(one) for one in zero)
    return f"the line meets zero at {at} ({low} to {high})"


def _of_pairs(pairs: Pairs, over: str) -> str:
    where = f"{_large(float(pairs.label))} {over}: " if over else ""
    where = where or (f"{pairs.label}: " if pairs.label != "" else "")
    error = pairs.standard_error
    if error is None:
        return f"{where}{pairs.mean:+.3f} (one pair)"
    return f"{where}{pairs.mean:+.3f} ± {error:.3f} over {len(pairs.differences)} pairs"


def _sweep(work: GridWork, record: ResultRecord) -> str:
    """What the sweep of peaks found."""
    if not record.sweep:
        return ""
    table = Table(
        title=f"Peaks of the learning rate, tried at {work.swept} with one seed ({work.chosen_by})",
        rows=("arm",),
        columns="peak",
        numbers={work.chosen_by: ".3f"},
    )
    return _table(table, record.sweep)


def _power_of_ten(exponent: float) -> str:
    return f"10^{exponent:.1f}" if abs(exponent) > 15 else _large(10**exponent)


def _large(value: float) -> str:
    """A number with a word for its size.

    >>> _large(1_500_000_000.0), _large(141_312.0)
    ('1.5B', '141k')
    """
    for size, letter in ((1e15, "e15"), (1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
