"""The demo's HTML report: its table, what to make of it, a completion, and the curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from proxylm.analysis.report import RunHistory, Section, escaped, html_table, write_report
from proxylm.demo.explanation import EXPLANATIONS
from proxylm.demo.results import DemoResult


def write_demo_page(result: DemoResult, runs: Sequence[Path]) -> None:
    """Write ``result.report``."""
    sections = [
        Section(title="Models of the same number of symbols", body=_numbers(result)),
        Section(title="A completion, byte by byte", body=_completion(result)),
    ]
    histories = [RunHistory.read(run) for run in runs]
    write_report(histories, Path(result.report), title="proxylm demo", sections=sections)


def _numbers(result: DemoResult) -> str:
    corpus = result.corpus
    intro = (
        f"<p>Corpus {escaped(corpus['name'])}: {corpus['documents']:,} documents, "
        f"{corpus['num_bytes']:,} bytes, fingerprint <code>{corpus['fingerprint']}</code>; "
        f"{result.bytes_per_symbol:.2f} bytes per {result.unit}. "
        f"Bits per byte over {result.held_out_bytes:,} held-out bytes; "
        f"the curves below follow a smaller part of them.</p>"
    )
    paragraphs = [
        f"<p>{escaped(' '.join(paragraph.split()))}</p>"
        for paragraph in EXPLANATIONS[result.compressor].split("\n\n")
    ]
    return "\n".join([intro, html_table(*result.table()), *paragraphs])


def _completion(result: DemoResult) -> str:
    prompt, completion = (escaped(text, "\n\t") for text in (result.prompt, result.completion))
    return f"<pre>{prompt}<b>{completion}</b></pre>"
