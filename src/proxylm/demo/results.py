"""The demo's numbers, one row per model: as a table, as plain values, and on an HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from proxylm.report.history import RunHistory
from proxylm.report.html import escaped, html_table, paragraph
from proxylm.report.page import write_report
from proxylm.report.texts import completion

AS_TOKENS = "as tokens"

TOKENS = """\
All four models have the same body and saw the same number of symbols. A token stands for several
bytes, so the tokens model saw more text for the same work; the byte model saw the least. The proxy
models saw mostly tokens and some bytes, and are meant to be used on bytes alone.

What to expect at this size: read as tokens, the proxies come close to the tokens model; read as
bytes, they stay behind the byte model, because little of what was learned on tokens carries over
to bytes yet. That is what the paper reports for small models, too ("Proxy Compression for Language
Modeling", arXiv 2602.04289, Table 1): the transfer grows with scale, and from 7B parameters on the
proxy models match or beat the tokenizer models. Completions are noise at this size."""

NEURAL = """\
All models have the same body and saw the same number of symbols. The proxies saw mostly codes of a
neural compressor: a small byte model and arithmetic coding, in windows of 16 bits that are written
as two symbols. The codes cannot be read back, so there is no reading as symbols: what counts is how
well the proxies predict bytes.

What to expect at this size: the byte model is ahead, because little of what was learned on codes
carries over to bytes yet. That is what the paper reports for small models ("Proxy Compression for
Language Modeling", arXiv 2602.04289, Table 1); the transfer grows with scale. The paper packs 16
bits into one symbol and cuts segments by the byte model's entropy; here, symbols of 8 bits keep the
vocabulary small and the compressor's own table finds the segments. Completions are noise."""

EXPLANATIONS = {"bpe": TOKENS, "neural": NEURAL}
"""What a newcomer should make of the numbers, by kind of the demo's compressor."""


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """One model: what it cost, what it consumed, how well it predicts held-out documents.

    ``raw_bytes`` counts the bytes that the shown views stand for. Bits per byte are None where
    the model was not trained on that format.
    """

    model: str
    parameters: int
    symbols: int
    training_flops: float
    raw_bytes: int
    documents: int
    bits_per_byte_as_bytes: float | None
    bits_per_byte_as_tokens: float | None
    seconds: float

    def cells(self) -> dict[str, str]:
        """The row as text, by the table's columns."""
        return {
            "model": self.model,
            "parameters": f"{self.parameters:,}",
            "symbols": f"{self.symbols:,}",
            "training FLOPs": f"{self.training_flops:.2e}",
            "raw bytes": f"{self.raw_bytes:,}",
            "documents": f"{self.documents:,}",
            "bits/byte as bytes": _bits(self.bits_per_byte_as_bytes),
            AS_TOKENS: _bits(self.bits_per_byte_as_tokens),
            "seconds": f"{self.seconds:.0f}",
        }


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """Everything the demo found out.

    Attributes:
        folder: where its files are.
        corpus: name, fingerprint, documents, bytes.
        compressor: its kind.
        unit: what one of its symbols is called.
        bytes_per_symbol: rate of the compressor on the corpus (rho).
        rows: one per model.
        held_out_bytes: raw bytes that the bits per byte were measured on.
        prompt: what the proxy model was asked to continue, and its continuation, as text.
        report: the HTML report.
        seconds: of this call, set-up of the environment not included.
    """

    folder: str
    corpus: dict[str, Any]
    compressor: str
    unit: str
    bytes_per_symbol: float
    rows: Sequence[ModelRow]
    held_out_bytes: int
    prompt: str
    completion: str
    report: str
    seconds: float

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headers and rows as text; the reading as tokens is left out where no model has one."""
        as_tokens = any(row.bits_per_byte_as_tokens is not None for row in self.rows)
        rows = [row.cells() for row in self.rows]
        headers = [column for column in rows[0] if as_tokens or column != AS_TOKENS]
        return headers, [[row[column] for column in headers] for row in rows]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as ``proxylm demo --json`` prints them."""
        return asdict(self)


def _bits(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def write_demo_page(result: DemoResult, runs: Sequence[Path]) -> None:
    """Write ``result.report``: the table, what to make of it, a completion, and the curves."""
    sections = {
        "Models of the same number of symbols": _numbers(result),
        "A completion, byte by byte": completion(result.prompt, result.completion, "drawn"),
    }
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
    paragraphs = map(paragraph, EXPLANATIONS[result.compressor].split("\n\n"))
    return "\n".join([intro, html_table(*result.table(), about="models"), *paragraphs])
