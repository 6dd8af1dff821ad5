"""Draws the pictures of docs/concepts.md with the project's own code.

    python docs/pictures/draw.py

The same texts, seeds and code give the same files; tests/test_docs_site.py holds them to it.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

import proxylm as px
from proxylm.analysis.charts import Curve, line_chart
from proxylm.compressors.contract import Compressor
from proxylm.symbols import COMPRESSED_OFFSET, RAW_OFFSET

FOLDER = Path(__file__).parent
TEXT = b"def area(radius):\n    return 3.14159 * radius ** 2\n"
CHARACTER, ROW, GAP = 9.6, 26, 12
INK, SOFT = "#1b1f24", "#57606a"
FILLS = ("#cfe3f7", "#f3e3c3")
FORMATS = {"special": "#57606a", "bytes": "#4a90c2", "symbols": "#e0a030", "padding": "#e6e8eb"}
FUNCTIONS = [f"def add_{n}(x):\n    return x + {n}\n".encode() for n in range(4000)]
DOCUMENTS = [b"".join(FUNCTIONS[start : start + 20]) for start in range(0, 4000, 20)]
CONTEXT, SCALE = 512, 1.5


def main(folder: Path = FOLDER) -> None:
    """Draws all of them."""
    tokens = px.train_tokenizer([*DOCUMENTS, *[TEXT] * 40], vocabulary_size=400)
    pictures = {
        "segments.svg": segments_picture(tokens),
        "contexts.svg": contexts_picture(tokens),
        "rates.svg": rates_picture(),
    }
    for name, picture in pictures.items():
        (folder / name).write_text(picture, encoding="utf-8")


def segments_picture(tokens: Compressor) -> str:
    """One text as four views divide it."""
    views = {
        "bytes": [bytes([value]) for value in TEXT],
        "tokens": pieces(tokens),
        "units of 16 bits": pieces(px.load_compressor("units:bits=16")),
        "gzip": pieces(px.load_compressor("gzip")),
    }
    rows = []
    for number, (name, parts) in enumerate(views.items()):
        y = number * (ROW + GAP + 14) + 16
        rows.append(label(0, y, f"{name}: {len(parts)} pieces"))
        rows += boxes(parts, y + 6)
    width = CHARACTER * len(shown(TEXT)) + 2
    return svg(width, len(views) * (ROW + GAP + 14) + 4, rows, "One text as four views divide it")


def pieces(compressor: Compressor) -> list[bytes]:
    """The runs of bytes that have symbols of their own."""
    spans = px.segments(compressor, TEXT).spans.tolist()
    return [TEXT[start:stop] for start, stop in spans]


def shown(piece: bytes) -> str:
    """Bytes in characters of equal width."""
    return piece.decode().replace("\n", "⏎").replace(" ", "·")


def boxes(parts: Sequence[bytes], y: float) -> Iterator[str]:
    """A row of pieces, coloured in turn."""
    x = 0.0
    for number, piece in enumerate(parts):
        text = shown(piece)
        width = CHARACTER * len(text)
        fill = FILLS[number % 2]
        yield f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW}" fill="{fill}"/>'
        yield (
            f'<text x="{x:.1f}" y="{y + 18}" font-family="monospace" font-size="16" fill="{INK}" '
            f'textLength="{width:.1f}">{html.escape(text)}</text>'
        )
        x += width


def contexts_picture(tokens: Compressor) -> str:
    """Packed contexts of two mixtures, a stripe for each symbol."""
    store = px.prepare(DOCUMENTS, {"tokens": tokens}, held_out_fraction=0.05)
    mixtures = {
        "the paper's: whole documents, pairs at first": px.Mixture.paper(),
        "pieces inside documents, half of them tokens": px.Mixture.pieces(rate=0.5, max_symbols=80),
    }
    rows = [*legend()]
    y = 40
    for name, mixture in mixtures.items():
        batches = px.batches(store, mixture, context=CONTEXT, contexts_per_step=3, steps=20)
        rows.append(label(0, y, name))
        for number, (ids, segments) in enumerate(
            zip(batches[1].inputs, batches[1].segment_ids, strict=True)
        ):
            rows += stripes(ids, segments, y + 8 + number * (ROW + 4))
        y += 8 + 3 * (ROW + 4) + 30
    return svg(CONTEXT * SCALE, y - 20, rows, "Packed training contexts of two mixtures")


def legend() -> Iterator[str]:
    """What the colours are."""
    for number, (name, fill) in enumerate(FORMATS.items()):
        x = number * 120
        yield f'<rect x="{x}" y="2" width="14" height="14" fill="{fill}"/>'
        yield label(x + 20, 14, name)


def stripes(ids: np.ndarray, segments: np.ndarray, y: float) -> Iterator[str]:
    """One context; runs of one format are one box, and a line stands where attention ends."""
    kinds = [ids == 0, ids < RAW_OFFSET, ids < COMPRESSED_OFFSET]
    formats = np.select(kinds, ["padding", "special", "bytes"], "symbols")
    cuts = [0, *(np.flatnonzero(formats[1:] != formats[:-1]) + 1).tolist(), len(ids)]
    for start, stop in pairwise(cuts):
        fill = FORMATS[str(formats[start])]
        x, width = SCALE * start, SCALE * (stop - start)
        yield f'<rect x="{x:g}" y="{y}" width="{width:g}" height="{ROW}" fill="{fill}"/>'
    for place in np.flatnonzero(segments[1:] != segments[:-1]) + 1:
        x, height = SCALE * place - 1, ROW + 6
        yield f'<rect x="{x:g}" y="{y - 3}" width="2" height="{height}" fill="{INK}"/>'


def rates_picture() -> str:
    """Which share of views is shown compressed over a run, for three schedules."""
    steps = 1000
    late = px.Mixture.model_validate(
        {"rate": {"kind": "points", "points": [[0, 0.85], [0.6, 0.85], [0.6, 0.0]]}}
    )
    schedules = {
        "the paper's warm-up": px.Mixture.paper(),
        "constant, in pieces": px.Mixture.pieces(rate=0.85),
        "with a late stage of bytes": late,
    }
    curves = [
        Curve(label=name, x=range(steps), y=mixture.rate.rates(steps).tolist(), colour=number)
        for number, (name, mixture) in enumerate(schedules.items())
    ]
    return line_chart(
        curves, title="Share shown compressed", x_label="step of 1000", y_label="share of views"
    )


def label(x: float, y: float, text: str) -> str:
    """Small text."""
    return (
        f'<text x="{x}" y="{y}" font-family="sans-serif" font-size="13" fill="{SOFT}">'
        f"{html.escape(text)}</text>"
    )


def svg(width: float, height: float, rows: Sequence[str], title: str) -> str:
    """A picture on a white ground, so that it can be read in dark pages, too."""
    x, y, wide, high = -8, -6, round(width) + 16, round(height) + 12
    ground = f'<rect x="{x}" y="{y}" width="{wide}" height="{high}" fill="#fff"/>'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{x} {y} {wide} {high}" role="img">',
            f"<title>{html.escape(title)}</title>",
            ground,
            *rows,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
