"""The demo's stages: corpus, compressor, views, models, scores, a completion, a report.

Every stage keeps its result in the demo's folder and is skipped when it is there; training goes
on where it was stopped.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable
from pathlib import Path

from proxylm.compressors.contract import Compressor
from proxylm.compressors.registry import load_compressor
from proxylm.corpus.contract import Corpus
from proxylm.corpus.left_out import LeftOut
from proxylm.corpus.opening import open_corpus
from proxylm.corpus.split import split_documents
from proxylm.data.store.prepare import prepare_store
from proxylm.data.store.store import ViewStore
from proxylm.data.store.summary import PrepareSummary
from proxylm.demo.compressors import PAPER_PROXY, DemoCompressor
from proxylm.demo.results import DemoResult, ModelRow, write_demo_page
from proxylm.demo.settings import DESCRIPTIONS, DemoSettings
from proxylm.files import read_json, require_utf8, write_json
from proxylm.generation.loading import load
from proxylm.pipelines.neural_compressor import Reports
from proxylm.training.config import HeldOutConfig, TrainingConfig
from proxylm.training.device import place_for
from proxylm.training.held_out import choose_held_out
from proxylm.training.run import TrainResult, train

PROMPT_LINES = 6
COMPLETION_BYTES = 200
ALL_BYTES = 1 << 40


def run_demo(
    out: Path, settings: DemoSettings, reports: Reports, write: Callable[[str], None]
) -> DemoResult:
    """Run every stage that is not done yet, in ``out``.

    Args:
        out: the demo's folder.
        settings: how large it is.
        reports: hears of its stages and trainings.
        write: hears the completion, piece by piece.

    Raises:
        ProxylmError: ``out`` holds something else, or a demo with other settings; the corpus has
            no documents that can be held out.
    """
    started = time.perf_counter()
    require_utf8(out)
    corpus = open_corpus(settings.corpus)
    # Before the work: what is trained is scored on held-out documents and completes one.
    next(split_documents(corpus, held_out=True, left_out=LeftOut()))
    chosen = settings.compressor
    trained = out / "compressors" / chosen.kind
    if not trained.exists():
        chosen.train(corpus, trained, settings.minutes, reports)
    compressor = load_compressor(trained)
    summary = _views(corpus, chosen, compressor, out / "store", reports)
    rows = [
        _row(name, settings.training(mixture, out / "store"), out, reports)
        for name, mixture in chosen.mixtures.items()
    ]
    prompt, completion = _complete(out, reports.say, write)
    rate = summary.views[chosen.kind].bytes_per_symbol
    assert rate is not None, "the models were trained on something"
    result = DemoResult(
        folder=str(out),
        corpus={
            "name": corpus.name,
            "fingerprint": corpus.fingerprint,
            "documents": summary.documents_written,
            "num_bytes": summary.num_bytes,
            "left_out": summary.rejected,
        },
        compressor=chosen.kind,
        unit=chosen.unit,
        bytes_per_symbol=rate,
        rows=rows,
        held_out_bytes=summary.held_out_bytes,
        prompt=prompt,
        completion=completion,
        report=str(out / "report.html"),
        seconds=time.perf_counter() - started,
    )
    write_demo_page(result, [out / name for name in chosen.mixtures])
    write_json(out / "demo.json", result.to_json())
    return result


def _views(
    corpus: Corpus, chosen: DemoCompressor, compressor: Compressor, store: Path, reports: Reports
) -> PrepareSummary:
    reports.say(f"preparing the views: every document as bytes and as {chosen.unit}s")
    summary = prepare_store(corpus, {chosen.kind: compressor}, store)
    reports.say(
        f"{summary.documents_written} documents, {summary.num_bytes / 1e6:.1f} MB, "
        f"{summary.views[chosen.kind].bytes_per_symbol:.2f} bytes per {chosen.unit}; "
        f"{summary.held_out_documents} documents are held out"
    )
    if summary.left_out:
        reports.say(f"documents left out: {summary.left_out}")
    return summary


def _row(name: str, config: TrainingConfig, out: Path, reports: Reports) -> ModelRow:
    reports.say(f"training '{name}': {DESCRIPTIONS[name]}")
    result = train(config, out / name, reports.callbacks)
    held_out = _held_out(name, config, result, out)
    return ModelRow(
        model=name,
        parameters=result.parameters,
        symbols=result.symbols,
        training_flops=result.training_flops,
        raw_bytes=result.raw_bytes,
        documents=result.documents,
        bits_per_byte_as_bytes=held_out.get("raw"),
        bits_per_byte_as_tokens=held_out.get("compressed"),
        seconds=result.seconds,
    )


def _held_out(
    name: str, config: TrainingConfig, result: TrainResult, out: Path
) -> dict[str, float]:
    """Bits per byte over all held-out documents, kept beside the runs for the next call."""
    path = out / "held-out" / f"{name}.json"
    key = {"configuration": config.hash(), "steps": result.steps}
    if path.exists() and (kept := read_json(path))["of"] == key:
        return kept["bits_per_byte"]
    documents = choose_held_out(
        config.model_copy(update={"held_out": HeldOutConfig(max_bytes=ALL_BYTES)})
    )
    assert documents is not None
    model = load(out / name)
    scores = documents.bits_per_byte(model.module, place_for(config))
    path.parent.mkdir(exist_ok=True)
    write_json(path, {"of": key, "bits_per_byte": scores})
    return scores


def _complete(
    out: Path, say: Callable[[str], None], write: Callable[[str], None]
) -> tuple[str, str]:
    """Let the paper's proxy model go on with the start of a held-out document, byte by byte."""
    store = ViewStore.open(out / "store")
    ordinal = int(store.ordinals(held_out=True)[0])
    document = store.raw(ordinal).tobytes()
    prompt = b"".join(document.splitlines(keepends=True)[:PROMPT_LINES])
    say(f"completing {store.document_id(ordinal)} with '{PAPER_PROXY}', byte by byte:")
    shown = prompt.decode(errors="replace")
    write(shown)
    # Greedy decoding of a model this small repeats itself (blanks, mostly): draw instead.
    pieces = load(out / PAPER_PROXY).stream(
        prompt, max_new_bytes=COMPLETION_BYTES, temperature=0.7, top_p=0.95
    )
    text = codecs.getincrementaldecoder("utf-8")(errors="replace")
    completion = []
    for piece in pieces:
        completion.append(text.decode(piece))
        write(completion[-1])
    completion.append(text.decode(b"", final=True))
    write(completion[-1] + "\n")
    return shown, "".join(completion)
