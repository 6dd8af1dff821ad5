"""Reports of evaluations as readable tables; the first row is the header."""

from __future__ import annotations

from itertools import zip_longest

from proxylm.cli.output import MISSING, number, share
from proxylm.evaluation.answers.run import Passes
from proxylm.evaluation.code_generation import CodeReport, SampledPasses
from proxylm.evaluation.everything import Everything, HeldOutReport
from proxylm.evaluation.harness_report import HarnessReport
from proxylm.evaluation.prompt_boundary import BoundaryReport
from proxylm.evaluation.recode.evaluation import RecodeReport
from proxylm.evaluation.recode.likelihood import RobustBits
from proxylm.evaluation.recode.statistics import Robustness
from proxylm.evaluation.translation import TranslationReport

Rows = list[list[str]]


def code_rows(report: CodeReport) -> Rows:
    """pass@k in percent, the likelihood form, and how the samples fared."""
    rows = [[report.benchmark, f"read as {report.read_as}"], ["problems", f"{report.problems}"]]
    rows += [*_passes(report), *_statuses(report)]
    if report.sampled is not None:
        rows += [*_sampled(report.sampled), *_statuses(report.sampled)]
    return [*rows, ["solution bits per byte", number(report.solution_bits_per_byte)]]


def _passes(passes: Passes, drawn: str = "") -> Rows:
    """pass@k by all tests and, of EvalPlus's forms, by the base tests, each named."""
    if passes.base_pass_at is None:
        return [[f"pass@{k} %{drawn}", share(value)] for k, value in (passes.pass_at or {}).items()]
    return [
        [f"pass@{k} %{drawn}, {tests}", share(values[k])]
        for k in passes.base_pass_at
        for tests, values in (("base", passes.base_pass_at), ("plus", passes.pass_at or {}))
    ]


def _sampled(passes: SampledPasses) -> Rows:
    """As ``_passes``, with the draws in the names: a pass@1 of samples is not the greedy one."""
    return _passes(passes, f" of {passes.samples} samples at {passes.temperature:g}")


def _statuses(passes: Passes) -> Rows:
    drawn = "samples" if isinstance(passes, SampledPasses) else "programs"
    rows = [[f"{drawn} {name}", f"{count}"] for name, count in (passes.statuses or {}).items()]
    base = (passes.base_statuses or {}).items()
    return [*rows, *([f"{drawn} {name}, base tests", f"{count}"] for name, count in base)]


def boundary_rows(report: BoundaryReport) -> Rows:
    """One row per suffix, then mean and standard deviation."""
    bits, passed = report.solution_bits_per_byte, report.pass_at_1
    rows = [["suffix", "pass@1 %", "solution bits per byte"]]
    for suffix, value in bits.by_suffix.items():
        score = passed.by_suffix[suffix] if passed else None
        rows.append([suffix, share(score), number(value)])
    mean, deviation = _spreads(report)
    return [*rows, ["mean", *mean], ["standard deviation", *deviation]]


def _spreads(report: BoundaryReport) -> list[tuple[str, str]]:
    """pass@1 in percent and bits per byte: their means, and their standard deviations."""
    passed, bits = report.pass_at_1, report.solution_bits_per_byte
    return [
        (share(passed.mean if passed else None), number(bits.mean)),
        (share(passed.standard_deviation if passed else None), number(bits.standard_deviation)),
    ]


def recode_rows(report: RecodeReport) -> Rows:
    """One row per perturbation, two per family, two for the whole."""
    drawn = f" of {report.samples} samples" if report.temperature else ""
    measures = [f"{name}{drawn}" for name in ("pass@1 %", "RP@1 %", "RD@1 %", "RR@1 %")]
    rows = [
        [
            *("form of the prompts", "seeds", *measures),
            *("bits per byte", "robust", "drop %", "flips %"),
        ]
    ]
    for title, family in report.families.items():
        scores = family.robustness
        for name, bits in family.likelihood.perturbations.items():
            single = scores.perturbations[name] if scores else None
            rows.append(_recode_row(f"{title}: {name}", f"{family.seeds[name]}", single, bits))
        likelihood = family.likelihood
        mean, worst = (scores.mean, scores.worst) if scores else (None, None)
        rows.append(_recode_row(f"{title}, mean", "", mean, likelihood.mean))
        rows.append(_recode_row(f"{title}, worst case", "", worst, likelihood.worst))
    whole = report.overall
    rows.append(_recode_row("all, mean", "", whole.robustness_mean, whole.likelihood_mean))
    rows.append(_recode_row("all, worst case", "", whole.robustness_worst, whole.likelihood_worst))
    return rows


def _recode_row(name: str, seeds: str, scores: Robustness | None, bits: RobustBits) -> list[str]:
    passed = [MISSING] * 4
    if scores is not None:
        values = (scores.nominal, scores.robust_pass, scores.robust_drop, scores.robust_relative)
        passed = [share(value) for value in values]
    likelihood = [
        number(bits.nominal),
        number(bits.robust),
        share(bits.drop),
        share(bits.flip_rate),
    ]
    return [name, seeds, *passed, *likelihood]


def translation_rows(report: TranslationReport) -> Rows:
    """What came back, and what seeing it compressed is worth in bits."""
    bits = report.likelihood
    return [
        [f"translation, {report.benchmark}", f"{report.compressor}, {report.compressed}"],
        ["problems", f"{report.problems}"],
        ["prompts beyond the context", f"{report.beyond_context}"],
        *_came_back(report),
        ["problems that fit the context", f"{bits.problems}"],
        ["solution bits per byte, given the prompt", number(bits.bits_per_byte)],
        ["solution bits per byte, given it compressed", number(bits.translated_bits_per_byte)],
        ["translation gain %", share(bits.gain)],
    ]


def _came_back(report: TranslationReport) -> Rows:
    back = report.recovery
    return [
        ["pass@1 %", share(report.pass_at_1)],
        ["exact match %", share(back.exact_match if back else None)],
        ["edit similarity %", share(back.edit_similarity if back else None)],
    ]


def everything_rows(everything: Everything) -> Rows:
    """One row per evaluation and reading: what was run, and the likelihood form."""
    rows = [["evaluation", "read as", "measure", "value", "likelihood form", "its value"]]
    for name, readings in everything.reports.items():
        for read_as, report in readings.items():
            pairs = zip_longest(*_named_values(report), fillvalue=["", ""])
            rows += [[name, read_as, *measured, *bits] for measured, bits in pairs]
    return rows


def _named_values(report: object) -> tuple[Rows, Rows]:
    """What was measured and the likelihood form, each as names with their values."""
    if isinstance(report, HeldOutReport):
        bits = ["bits per byte, held-out", number(report.bits_per_byte)]
        return [[f"{report.documents} documents", ""]], [bits]
    if isinstance(report, CodeReport):
        bits = ["bits per byte, solution", number(report.solution_bits_per_byte)]
        passed = [*_passes(report), *(_sampled(report.sampled) if report.sampled else [])]
        return passed or [["pass@1 %", MISSING]], [bits]
    if isinstance(report, BoundaryReport):
        spreads = list(zip(("mean", "deviation"), _spreads(report), strict=True))
        passed = [[f"pass@1 %, {name}", score] for name, (score, _) in spreads]
        return passed, [[f"bits per byte, {name}", bits] for name, (_, bits) in spreads]
    if isinstance(report, RecodeReport):
        whole = report.overall
        mean = _overall("mean", whole.robustness_mean, whole.likelihood_mean)
        worst = _overall("worst case", whole.robustness_worst, whole.likelihood_worst)
        return mean[0] + worst[0], mean[1] + worst[1]
    if isinstance(report, HarnessReport):
        return [["average", number(report.average)]], []
    assert isinstance(report, TranslationReport), type(report)
    gain = report.likelihood
    return _came_back(report), [
        ["bits per byte, given prompt", number(gain.bits_per_byte)],
        ["bits per byte, given it compressed", number(gain.translated_bits_per_byte)],
        ["gain %", share(gain.gain)],
    ]


def _overall(aggregation: str, scores: Robustness | None, bits: RobustBits) -> tuple[Rows, Rows]:
    return [
        [f"RP@1 %, {aggregation}", share(scores.robust_pass if scores else None)],
        [f"RD@1 %, {aggregation}", share(scores.robust_drop if scores else None)],
        [f"RR@1 %, {aggregation}", share(scores.robust_relative if scores else None)],
    ], [
        [f"bits per byte, robust, {aggregation}", number(bits.robust)],
        [f"drop %, {aggregation}", share(bits.drop)],
        [f"flips %, {aggregation}", share(bits.flip_rate)],
    ]
