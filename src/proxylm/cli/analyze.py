"""``proxylm analyze``: what compressors do to text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli import analyze_gzip
from proxylm.cli.compressor import (
    CORPUS,
    DEFAULT_HELD_OUT,
    DEFAULT_SHOWN,
    HeldOutOption,
    note_left_out,
    opened_corpus,
)
from proxylm.cli.options import Flags, options
from proxylm.cli.output import (
    JsonOption,
    bars_or_lines,
    byte_progress,
    emit,
    note,
    number,
    table,
)
from proxylm.errors import UsageError

if TYPE_CHECKING:
    from proxylm.analysis.collisions import Cluster, CollisionReport
    from proxylm.analysis.stability import StabilityReport, StabilitySettings
    from proxylm.corpus.config import CorpusConfig

SHOWN_SIZES = 10

app = typer.Typer(no_args_is_help=True)


app.command("gzip-continuation")(analyze_gzip.gzip_continuation)


@app.command()
@options(corpus=CORPUS)
def collisions(
    compressor: Annotated[str, typer.Argument(help="A neural compressor's folder.")],
    corpus: CorpusConfig | None = None,
    held_out: HeldOutOption = DEFAULT_HELD_OUT,
    shown: Annotated[
        int,
        typer.Option(
            help="How many clusters are listed: most variants, lowest and highest LCP ratios.",
            min=0,
        ),
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
        with bars_or_lines() as show:
            reports.append(window_collisions(loaded.automaton, shown=shown, progress=show))
    if corpus is not None:
        segments, left_out = SegmentCollisions(), LeftOut()
        opened = opened_corpus(corpus)
        with byte_progress() as show:
            result["corpus"] = measure_held_out(
                loaded, opened, held_out, left_out, segments.add_all, show
            )
        note_left_out(left_out)
        reports.append(segments.report(shown=shown))
    if not reports:
        raise UsageError(f"{compressor}: its windows are not enumerated; give a --corpus")
    result |= {report.kind: report.as_json() for report in reports}
    emit(result, as_json=json, text="\n\n".join(map(_text, reports)))


def _text(report: CollisionReport) -> str:
    from proxylm.analysis.collisions import HIGH_LCP_RATIO, PAPER

    kept = "" if report.share_kept == 1 else f" (a sample: {report.share_kept:.3g} of all codes)"
    lines = [
        f"{report.kind}: {report.strings:,} strings, {report.codes:,} codes{kept}",
        f"{report.clusters:,} codes stand for several strings, {report.strings_in_clusters:,} of "
        "them in all",
        f"share of these codes with an LCP ratio of at least {HIGH_LCP_RATIO}: "
        f"{number(report.high_lcp_share, 3)} "
        f"(paper, {PAPER['strings']}: {PAPER['share_of_clusters']})",
    ]
    if report.clusters:
        lines += _spread_lines(report)
    tables = {
        "most variants": report.largest,
        "lowest LCP ratios": report.lowest,
        "highest LCP ratios": report.highest,
    }
    return "\n\n".join(["\n".join(lines), *starmap(_cluster_table, tables.items())])


def _spread_lines(report: CollisionReport) -> list[str]:
    names = {"variants": "variants", "lcp_ratio": "LCP ratio", "mean_length": "mean length"}
    spreads = [
        f"{names[name]} {spread.mean:.2f} ± {spread.standard_deviation:.2f}"
        for name, spread in report.spreads.items()
    ]
    shown = list(report.variants_histogram.items())[:SHOWN_SIZES]
    sizes = [f"{size}: {count:,}" for size, count in shown]
    if more := report.clusters - sum(count for _, count in shown):
        sizes.append(f"more: {more:,}")
    return [
        f"mean and standard deviation over these codes: {', '.join(spreads)}",
        f"codes by their number of variants: {', '.join(sizes)}",
    ]


def _cluster_table(title: str, clusters: Sequence[Cluster]) -> str:
    rows = [
        [
            " ".join(cluster.shown_strings(3)),
            str(len(cluster.strings)),
            f"{cluster.lcp_ratio:.2f}",
            f"{cluster.mean_length:.1f} ± {cluster.length_deviation:.1f}",
        ]
        for cluster in clusters
    ]
    return table([title, "variants", "LCP ratio", "mean length"], rows)


@app.command()
@options(
    corpus=CORPUS,
    settings=Flags(
        "proxylm.analysis.stability:StabilitySettings",
        ("samples", "deleted", "slice_bytes", "seed"),
    ),
)
def stability(
    compressors: Annotated[
        list[str],
        typer.Argument(help="Folders, tokenizer.json files or names (gzip, units:bits=4)."),
    ],
    corpus: CorpusConfig,
    settings: StabilitySettings,
    held_out: HeldOutOption = 1.0,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw the histograms into this SVG file.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """How far symbols move when a tenth of a text's characters is deleted at random.

    The figure is the normalized Levenshtein distance between the symbols before and after. All
    documents are read unless --held-out chooses some.

    Example: proxylm analyze stability compressors/bpe gzip --corpus stdlib --samples 8000
    """
    from proxylm.analysis.charts import require_charts
    from proxylm.analysis.stability import corpus_slices, measure_stability, stability_chart
    from proxylm.compressors.registry import load_compressor
    from proxylm.corpus.left_out import LeftOut
    from proxylm.files import atomic_file

    if picture is not None:
        require_charts()  # before the work, not after it
    loaded = [(name, load_compressor(name)) for name in compressors]
    opened, left_out = opened_corpus(corpus), LeftOut()
    with byte_progress() as show:
        slices = corpus_slices(
            opened, settings.slice_bytes, held_out=held_out, left_out=left_out, progress=show
        )
    note_left_out(left_out)
    note(f"{settings.samples:,} samples of {len(slices):,} slices of {opened.name}")
    with bars_or_lines() as show:
        reports = measure_stability(loaded, slices, settings, show)
    if picture is not None:
        with atomic_file(picture) as temporary:
            temporary.write_text(stability_chart(reports, settings.deleted), encoding="utf-8")
    result = {
        "corpus": {"name": opened.name, "left_out": left_out.to_json()},
        "slices": len(slices),
        "settings": settings.model_dump(mode="json"),
        "compressors": [report.as_json() for report in reports],
    }
    emit(result, as_json=json, text=_stability_table(reports))


def _stability_table(reports: Sequence[StabilityReport]) -> str:
    shares = [f"{100 * share:.0f} %" for share in reports[0].quantiles]
    rows = []
    for report in reports:
        figures = (report.mean, report.standard_deviation, *report.quantiles.values())
        shown = [number(figure, 3) for figure in figures]
        rows.append([report.name, *shown, f"{len(report.distances):,}", f"{report.rejected:,}"])
    return table(["distance", "mean", "std", *shares, "samples", "rejected"], rows)
