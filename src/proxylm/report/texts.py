"""What the models of runs make of a text: bits byte by byte, segments, completions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proxylm.analysis.stability import character_starts
from proxylm.checkpoints.run_data import compressor_of
from proxylm.compressors.contract import Compressor
from proxylm.compressors.segments import segments
from proxylm.generation.loading import load
from proxylm.progress import TellCount, told, untold
from proxylm.report.html import escaped, paragraph
from proxylm.scoring.score import score

LONGEST_TEXT = 4096
"""Bytes of a text that are shown."""

COMPLETION_BYTES = 200
TEMPERATURE = 0.8

STEPS_OF_COLOUR = 8
"""Bits of a byte from which on it has the strongest colour."""


def surprisal_section(runs: Sequence[Path], text: bytes, progress: TellCount = untold) -> str:
    """A text under each model, read as bytes, each byte coloured by its bits."""
    shown = text[:LONGEST_TEXT]
    parts = [paragraph("The redder, the more bits; pointing at a character says how many.")]
    for run in told(runs, "surprisal: runs", progress):
        bits = score(load(run), [shown]).per_byte[0]
        heading = f"<h3>{escaped(run.name)}: {bits.mean():.3f} bits per byte</h3>"
        parts.append(f'{heading}<pre class="surprisal" tabindex="0">{_coloured(shown, bits)}</pre>')
    return "\n".join(parts)


def _coloured(text: bytes, bits: NDArray[np.float64]) -> str:
    """Spans of characters: a character's bits are those of its bytes together."""
    starts = character_starts(text).tolist()
    spans = []
    for start, stop in zip(starts, [*starts[1:], len(text)], strict=True):
        shown = escaped(text[start:stop].decode(errors="backslashreplace"), "\n\t")
        total = float(bits[start:stop].sum())
        level = min(STEPS_OF_COLOUR, round(total))
        spans.append(f'<span class="b{level}" title="{total:.2f} bits">{shown}</span>')
    return "".join(spans)


def segments_section(runs: Sequence[Path], text: bytes) -> str:
    """A text as the compressors of the runs divide it, each compressor once."""
    compressors: dict[str, tuple[str, Compressor]] = {}
    for run in runs:
        found = compressor_of(run)
        if found is not None:
            compressors.setdefault(found.fingerprint, (run.name, found))
    parts = []
    for name, compressor in compressors.values():
        divided = segments(compressor, text[:LONGEST_TEXT])
        heading = f"<h3>{escaped(compressor.kind)} of {escaped(name)}</h3>"
        parts.append(f'{heading}<div class="segments">{divided._repr_html_()}</div>')
    return "\n".join(parts) or paragraph("These runs have no compressor.")


def completions_section(
    runs: Sequence[Path], prompt: bytes, seeds: Sequence[int], progress: TellCount = untold
) -> str:
    """What each model writes after a prompt, once for each seed."""
    settings = f"temperature {TEMPERATURE}, {COMPLETION_BYTES} bytes, read as bytes"
    parts = [paragraph(f"Drawn at {settings}; the same seed gives the same bytes again.")]
    for run in told(runs, "completions: runs", progress):
        model = load(run)
        parts.append(f"<h3>{escaped(run.name)}</h3>")
        for seed in seeds:
            written = model.generate(
                prompt, max_new_bytes=COMPLETION_BYTES, temperature=TEMPERATURE, seed=seed
            )
            read, new = (one.decode(errors="replace") for one in (prompt, written))
            parts.append(completion(read, new, f"seed {seed}"))
    return "\n".join(parts)


def completion(prompt: str, written: str, label: str) -> str:
    """A prompt, and marked what was written after it."""
    shown, new = (escaped(text, "\n\t") for text in (prompt, written))
    return (
        f"<figure><figcaption>{escaped(label)}</figcaption>"
        f"<pre><span>{shown}</span><mark>{new}</mark></pre></figure>"
    )
