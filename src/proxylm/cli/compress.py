"""``proxylm compress``: the symbols of one file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxylm.cli.output import JsonOption, bars_or_lines, emit
from proxylm.errors import UsageError
from proxylm.progress import stage

if TYPE_CHECKING:
    from proxylm.compressors.contract import Compressor


def compress(
    file: Annotated[Path, typer.Argument(help="The file; - reads standard input.")],
    compressor: Annotated[
        str,
        typer.Option(
            "--compressor", help="A folder, a tokenizer's file or a name (gzip, units:bits=4)."
        ),
    ],
    engine: Annotated[
        str | None,
        typer.Option(
            help="How a neural compressor computes its codes (naive, batched, lazy or automaton); "
            "all print the same symbols."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compress a file as one document and print its symbols, one a line.

    Example: proxylm compress --compressor units:bits=4 README.md
    """
    from proxylm.compressors.registry import load_compressor

    loaded = load_compressor(compressor)
    if engine is not None:
        loaded = _with_engine(loaded, engine)
    raw = _standard_input() if str(file) == "-" else file.read_bytes()
    with bars_or_lines() as show, stage(f"compressing {len(raw):,} bytes", show):
        symbols = loaded.compress([raw])[0].tolist()
    result = {
        "symbols": symbols,
        "num_bytes": len(raw),
        "bytes_per_symbol": len(raw) / len(symbols) if symbols else None,
        "symbol_count": loaded.symbol_count,
        "fingerprint": loaded.fingerprint,
    }
    emit(result, as_json=json, text="\n".join(map(str, symbols)))


def _standard_input() -> bytes:
    if sys.stdin is None:  # closed by whoever started us
        raise UsageError("-: standard input is closed; give a file")
    return sys.stdin.buffer.read()


def _with_engine(compressor: Compressor, engine: str) -> Compressor:
    from proxylm.compressors.neural.compressor import NeuralCompressor

    if not isinstance(compressor, NeuralCompressor):
        raise UsageError(f"--engine: a {compressor.kind} compressor has no engines to choose from")
    return compressor.with_engine(engine)
