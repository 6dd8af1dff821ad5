"""``proxylm analyze gzip-continuation``: can a model trained on gzip go on with a stream?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from proxylm.cli.compressor import CORPUS, note_left_out, opened_corpus
from proxylm.cli.evaluation_options import about_model
from proxylm.cli.options import Flags, options
from proxylm.cli.output import JsonOption, bars_or_lines, emit, share, table
from proxylm.cli.reading import READING, DeviceOption, RunArgument, read_by
from proxylm.errors import UsageError

if TYPE_CHECKING:
    from proxylm.analysis.gzip_continuation import ContinuedTotal, GzipContinuationReport, GzipProbe
    from proxylm.compressors.gzip import GzipCompressor
    from proxylm.corpus.config import CorpusConfig
    from proxylm.corpus.left_out import LeftOut
    from proxylm.generation.byte_model import ByteModel
    from proxylm.generation.options import SymbolOptions
    from proxylm.scoring.read_as import ReadAs


@options(
    reading=Flags(READING.config, READING.names, defaults={"read_as": "tokens"}),
    probe=Flags(
        "proxylm.analysis.gzip_continuation:GzipProbe", ("documents", "document_bytes", "cut")
    ),
    symbols=Flags(
        "proxylm.generation.options:SymbolOptions",
        ("max_new_symbols", "temperature", "top_p", "seed"),
        defaults={"max_new_symbols": 256},
    ),
    corpus=CORPUS,
)
def gzip_continuation(
    model: RunArgument,
    reading: ReadAs,
    probe: GzipProbe,
    symbols: SymbolOptions,
    corpus: CorpusConfig | None = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """A partial gzip stream is given to a model that was trained on gzip's output; it goes on.

    Counted: symbols until the stream is none any more, bytes that still come out of it, and those
    of them that are the document's; beside as many random symbols. The documents are the held-out
    ones of the training data, or a --corpus.

    Example: proxylm analyze gzip-continuation runs/gzip --documents 100
    """
    from proxylm.analysis.gzip_continuation import probe_gzip_continuation
    from proxylm.corpus.left_out import LeftOut
    from proxylm.generation.loading import load

    left_out = LeftOut()
    loaded = load(model, device=device)
    compressor = _gzip_of(loaded, model, reading)
    documents = _documents(loaded, model, corpus, left_out)
    with bars_or_lines() as show:
        report = probe_gzip_continuation(
            loaded, compressor, documents, probe, symbols, progress=show
        )
    note_left_out(left_out)
    about = about_model(loaded, model) | {
        "probe": probe.model_dump(mode="json"),
        "drawing": symbols.model_dump(mode="json", exclude={"stop", "prompt_end"}),
        "corpus": None if corpus is None else corpus.path,
    }
    emit({"about": about, **asdict(report)}, as_json=json, text=_text(report))


def _gzip_of(model: ByteModel, run: Path, reading: ReadAs) -> GzipCompressor:
    from proxylm.compressors.gzip import GzipCompressor
    from proxylm.scoring.readings import CompressedReading

    found = read_by(model, run, reading)
    compressor = found.compressor if isinstance(found, CompressedReading) else None
    if not isinstance(compressor, GzipCompressor):
        kind = found.name if compressor is None else compressor.kind
        raise UsageError(f"{run}: is to be read as gzip's symbols, and not as '{kind}'")
    return compressor


def _documents(
    model: ByteModel, run: Path, corpus: CorpusConfig | None, left_out: LeftOut
) -> Iterator[bytes]:
    """The corpus's documents, or those that the run's training data holds out."""
    from proxylm.checkpoints.run_data import run_data
    from proxylm.data.store.store import ViewStore

    if corpus is not None:
        yield from (document.raw for document in opened_corpus(corpus).documents(left_out))
        return
    data = run_data(run)
    if data is None:
        raise UsageError(f"{run}: its training data is not at hand; give a --corpus")
    data.require_same(model.data_fingerprint)
    store = ViewStore.open(data.store, verify=True)
    yield from (store.raw(ordinal).tobytes() for ordinal in store.ordinals(held_out=True).tolist())


def _text(report: GzipContinuationReport) -> str:
    lines = [
        f"{report.documents} gzip streams ({report.prompt_symbols} symbols read, "
        f"{report.beyond_context} beyond the context); the model closed {report.closed} of them"
    ]
    model, random = _values(report.model), _values(report.random)
    rows = [[name, value, random[name]] for name, value in model.items()]
    return "\n".join([*lines, table(["", "model", "random symbols"], rows)])


def _values(total: ContinuedTotal) -> dict[str, str]:
    return {
        "symbols written": str(total.symbols),
        "as in the true stream": str(total.same_symbols),
        "that zlib reads": str(total.valid_symbols),
        "share %": share(total.valid_fraction),
        "streams broken": str(total.broken),
        "streams whole": str(total.whole),
        "new bytes that come out": str(total.new_bytes),
        "right ones": str(total.right_bytes),
        "share of these %": share(total.right_fraction),
    }
