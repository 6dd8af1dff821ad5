"""``proxylm analyze``: what compressors do to text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli.compressor import (
    CORPUS,
    DEFAULT_HELD_OUT,
    DEFAULT_SHOWN,
    HeldOutOption,
    note_left_out,
    opened_corpus,
)
from proxylm.cli.options import options
from proxylm.cli.output import JsonOption, emit, table
from proxylm.errors import UsageError

if TYPE_CHECKING:
    from proxylm.analysis.collisions import CollisionReport
    from proxylm.corpus.config import CorpusConfig

app = typer.Typer(no_args_is_help=True, help=__doc__)


@app.command()
@options(corpus=CORPUS)
def collisions(
    compressor: Annotated[str, typer.Argument(help="A neural compressor's folder.")],
    corpus: CorpusConfig | None = None,
    held_out: HeldOutOption = DEFAULT_HELD_OUT,
    shown: Annotated[
        int, typer.Option(help="How many clusters are listed, those with most variants.", min=0)
    ] = DEFAULT_SHOWN,
    json: JsonOption = False,
) -> None:
    """Different strings with the same symbols: windows by enumeration, segments of a corpus.

    The corpus's held-out documents are read; --held-out 1 reads all of them.

    Example: proxylm analyze collisions compressors/neural --corpus stdlib --held-out 0.1
    """
    from proxylm.analysis.collisions import SegmentCollisions, window_collisions
    from proxylm.analysis.compression import measure_held_out
    from proxylm.compressors.neural.compressor import NeuralCompressor
    from proxylm.compressors.registry import load_compressor
    from proxylm.corpus.left_out import LeftOut

    loaded = load_compressor(compressor)
    if not isinstance(loaded, NeuralCompressor):
        raise UsageError(f"{compressor}: a {loaded.kind} compressor has no windows or segments")
    result: dict[str, Any] = {"compressor": compressor, "fingerprint": loaded.fingerprint}
    reports = []
    if loaded.automaton is not None:
        reports.append(window_collisions(loaded.automaton, shown=shown))
    if corpus is not None:
        segments, left_out = SegmentCollisions(), LeftOut()
        opened = opened_corpus(corpus)
        result["corpus"] = measure_held_out(loaded, opened, held_out, left_out, segments.add_all)
        note_left_out(left_out)
        reports.append(segments.report(shown=shown))
    if not reports:
        raise UsageError(f"{compressor}: its windows are not enumerated; give a --corpus")
    result |= {report.kind: report.as_json() for report in reports}
    emit(result, as_json=json, text="\n\n".join(map(_text, reports)))


def _text(report: CollisionReport) -> str:
    from proxylm.analysis.collisions import HIGH_LCP_RATIO, PAPER

    share = report.high_lcp_share
    shown_share = "-" if share is None else f"{share:.3f}"
    kept = "" if report.share_kept == 1 else f" (a sample: {report.share_kept:.3g} of all codes)"
    lines = [
        f"{report.kind}: {report.strings:,} strings, {report.codes:,} codes{kept}",
        f"{report.clusters:,} codes stand for several strings, {report.strings_in_clusters:,} of "
        "them in all",
        f"share of these codes with an LCP ratio of at least {HIGH_LCP_RATIO}: {shown_share} "
        f"(paper, {PAPER['strings']}: {PAPER['share_of_clusters']})",
    ]
    rows = [
        [
            " ".join(map(repr, cluster.strings[:3])),
            str(len(cluster.strings)),
            f"{cluster.lcp_ratio:.2f}",
            f"{cluster.mean_length:.1f}",
        ]
        for cluster in report.largest
    ]
    return "\n".join([*lines, table(["strings", "variants", "LCP ratio", "mean length"], rows)])
