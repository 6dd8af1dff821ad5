"""The demo's numbers: one row per model, as a table and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from proxylm.training.run import TrainResult

AS_TOKENS = "as tokens"
HEADERS = [
    "model",
    "parameters",
    "symbols",
    "training FLOPs",
    "raw bytes",
    "documents",
    "bits/byte as bytes",
    AS_TOKENS,
    "seconds",
]


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

    @classmethod
    def of(cls, model: str, result: TrainResult, held_out: dict[str, float]) -> ModelRow:
        """From a finished run and its final bits per byte by format."""
        return cls(
            model=model,
            parameters=result.parameters,
            symbols=result.symbols,
            training_flops=result.training_flops,
            raw_bytes=result.raw_bytes,
            documents=result.documents,
            bits_per_byte_as_bytes=held_out.get("raw"),
            bits_per_byte_as_tokens=held_out.get("compressed"),
            seconds=result.seconds,
        )

    def cells(self) -> list[str]:
        """The row as text, in the order of ``HEADERS``."""
        return [
            self.model,
            f"{self.parameters:,}",
            f"{self.symbols:,}",
            f"{self.training_flops:.2e}",
            f"{self.raw_bytes:,}",
            f"{self.documents:,}",
            _bits(self.bits_per_byte_as_bytes),
            _bits(self.bits_per_byte_as_tokens),
            f"{self.seconds:.0f}",
        ]


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
        rows = [row.cells() for row in self.rows]
        if any(row.bits_per_byte_as_tokens is not None for row in self.rows):
            return HEADERS, rows
        column = HEADERS.index(AS_TOKENS)
        return _without(HEADERS, column), [_without(row, column) for row in rows]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as ``proxylm demo --json`` prints them."""
        return asdict(self)


def _without(cells: list[str], column: int) -> list[str]:
    return cells[:column] + cells[column + 1 :]


def _bits(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
