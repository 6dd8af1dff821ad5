"""Table 6: segmentation, windows and packing of the neural compressor (§2.3, B.2).

All rows share one byte LM (those on short contexts have their own of the same size), so that rates
ρ differ by what the row says alone. The paper's LM has 40M parameters and its corpus is another
one: compare the order of rows, not the digits. pass@1 is the paper's; it needs models that no
laptop trains. Below the paper's rows stand this project's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import PositiveInt

from proxylm.analysis.compression import measure
from proxylm.analysis.neural_facts import CorpusObserver
from proxylm.compressors.neural.coder.settings import CoderSettings, MinimalTermination
from proxylm.compressors.neural.compressor import NeuralCompressor
from proxylm.compressors.neural.segmentation.automaton import AutomatonSegmentation
from proxylm.compressors.neural.segmentation.entropy import EntropySegmentation
from proxylm.compressors.neural.segmentation.simple import FixedSegmentation, LineSegmentation
from proxylm.compressors.neural.settings import NeuralSettings
from proxylm.compressors.registry import load_compressor
from proxylm.config import Config
from proxylm.corpus.config import CorpusConfig, HeldOutFraction
from proxylm.corpus.contract import Corpus
from proxylm.corpus.document import Document
from proxylm.corpus.left_out import LeftOut
from proxylm.corpus.opening import open_corpus
from proxylm.corpus.split import HELD_OUT_FRACTION, split_documents
from proxylm.device import DeviceName
from proxylm.pipelines.neural_compressor import (
    NeuralTraining,
    NewLm,
    Reports,
    ReusedLm,
    new_lm,
    train_neural_compressor,
)

COMPRESSORS_FOLDER = "compressors"

RowResult = dict[str, Any]
"""What a row came to: plain JSON values."""

Say = Callable[[str], None]
"""Hears what is going on, a line at a time."""

LONG, SHORT = "long", "short"
"""What the byte LM is trained on (``compressors.neural.byte_lm.training_contexts``)."""


class Table6Settings(Config):
    """What is trained and measured.

    Attributes:
        corpus: the text.
        preset: size and training of the byte LM (``byte_lm_training.RECIPES``).
        symbols: of its training; None is the preset's.
        long_lm, short_lm: neural compressors whose byte LM is taken for rows on whole documents
            and for those on short contexts; None trains one.
        held_out_fraction: share of documents that no training sees.
        measured_bytes: about how much of those is compressed.
        device: where the byte LM computes.
    """

    corpus: CorpusConfig = CorpusConfig(path="stdlib")
    preset: str = "tiny"
    symbols: PositiveInt | None = None
    long_lm: Path | None = None
    short_lm: Path | None = None
    held_out_fraction: HeldOutFraction = HELD_OUT_FRACTION
    measured_bytes: PositiveInt = 1 << 18
    device: DeviceName = "auto"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A configuration.

    Attributes:
        settings: of the compressor.
        paper: ``rho`` and ``pass@1`` of the paper's table; None for this project's own rows.
        contexts: ``LONG`` or ``SHORT``.
    """

    settings: NeuralSettings
    paper: dict[str, float] | None = None
    contexts: str = LONG


def _settings(segmentation: Config, window_bits: int | None, pack_bits: int) -> NeuralSettings:
    coder = {"window_bits": window_bits, "pack_bits": pack_bits}
    values = {"segmentation": segmentation.model_dump(), "coder": coder}
    return NeuralSettings.model_validate(values)


def _papers(
    segmentation: Config, window_bits: int | None, pack_bits: int, rho: float, pass_at_1: float
) -> Row:
    settings = _settings(segmentation, window_bits, pack_bits)
    return Row(settings=settings, paper={"rho": rho, "pass@1": pass_at_1})


_ENTROPY_98 = EntropySegmentation(percentile=98.0)
_ENTROPY_95 = EntropySegmentation(percentile=95.0)
_AUTOMATON_95 = AutomatonSegmentation(percentile=95.0)

ROWS: dict[str, Row] = {
    "fixed-4-none-8": _papers(FixedSegmentation(length=4), None, 8, 1.4, 8.5),
    "fixed-8-none-8": _papers(FixedSegmentation(length=8), None, 8, 2.0, 3.7),
    "fixed-16-none-8": _papers(FixedSegmentation(length=16), None, 8, 2.9, 6.1),
    "lines-none-8": _papers(LineSegmentation(), None, 8, 5.1, 9.8),
    "lines-16-8": _papers(LineSegmentation(), 16, 8, 2.3, 11.6),
    "entropy-98-16-8": _papers(_ENTROPY_98, 16, 8, 1.8, 13.4),
    "entropy-98-16-16": _papers(_ENTROPY_98, 16, 16, 3.5, 18.9),
    "entropy-95-32-16": _papers(_ENTROPY_95, 32, 16, 4.1, 12.2),
    "entropy-95-16-16": _papers(_ENTROPY_95, 16, 16, 3.1, 18.3),
    "entropy-95-16-16-minimal": Row(
        settings=NeuralSettings(
            segmentation=_ENTROPY_95, coder=CoderSettings(termination=MinimalTermination())
        )
    ),
    "automaton-95-16-16": Row(settings=_settings(_AUTOMATON_95, 16, 16)),
    "entropy-95-16-16-short": Row(settings=_settings(_ENTROPY_95, 16, 16), contexts=SHORT),
    "automaton-95-16-16-short": Row(settings=_settings(_AUTOMATON_95, 16, 16), contexts=SHORT),
}
"""By name: segmentation, bits of a window, bits of a symbol, and what else differs."""


class Table6:
    """All rows with one byte LM: named, computed one by one, and set in one table."""

    name = "table6"
    title = "Table 6: segmentation, windows and packing of the neural compressor"
    settings_class = Table6Settings
    rows = tuple(ROWS)
    """The paper's, then the project's own, in the order in which they are computed."""

    def __init__(self, settings: Table6Settings) -> None:
        self.settings = settings

    def run_row(self, row: str, out: Path, say: Say) -> RowResult:
        """Build the row's compressor and measure it on held-out documents.

        Args:
            row: its name.
            out: the run's folder, where rows find what earlier ones left, and a row that was
                stopped what it left itself.
            say: hears about progress.
        """
        chosen = ROWS[row]
        corpus = open_corpus(self.settings.corpus)
        compressor = self._compressor(row, corpus, out / COMPRESSORS_FOLDER, say)
        observer = CorpusObserver(compressor)
        left_out = LeftOut()
        documents = self._documents(corpus, left_out)
        measured = measure(compressor, documents, left_out, observer.add)
        if left_out:
            say(f"documents left out: {left_out}")
        return {
            "settings": chosen.settings.model_dump(mode="json"),
            "contexts": chosen.contexts,
            "fingerprint": compressor.fingerprint,
            "symbol_count": compressor.symbol_count,
            "nodes": None if compressor.automaton is None else len(compressor.automaton),
            "rho": measured["bytes_per_symbol"],
            "paper": chosen.paper,
            **measured,
            "left_out": left_out.to_json(),
            **observer.facts(),
        }

    def table(self, results: Sequence[RowResult]) -> tuple[list[str], list[list[str]]]:
        """Rates beside the paper's."""
        headers = ["row", "ρ", "paper's ρ", "paper's pass@1", "bytes per segment"]
        headers += ["bits per byte of the LM", "nodes", "clusters with LCP ≥ 0.8"]
        return headers, [_cells(result) for result in results]

    def _documents(self, corpus: Corpus, left_out: LeftOut) -> Iterator[Document]:
        fraction = self.settings.held_out_fraction
        num_bytes = 0
        held_out = split_documents(corpus, held_out=True, left_out=left_out, fraction=fraction)
        for document in held_out:
            if num_bytes >= self.settings.measured_bytes:
                return
            num_bytes += len(document.raw)
            yield document

    def _compressor(self, row: str, corpus: Corpus, folder: Path, say: Say) -> NeuralCompressor:
        if not (folder / row).exists():
            lm = self._lm(ROWS[row], corpus, folder, say)
            if lm.folder != folder / row:
                self._build(row, lm, corpus, folder, say)
        loaded = load_compressor(folder / row)
        assert isinstance(loaded, NeuralCompressor)
        return loaded

    def _lm(self, chosen: Row, corpus: Corpus, folder: Path, say: Say) -> ReusedLm:
        """The LM of a compressor that is there, at best one whose automaton fits as well."""
        same_lm = [name for name, row in ROWS.items() if row.contexts == chosen.contexts]
        built = [name for name in same_lm if (folder / name).exists()]
        fitting = [name for name in built if ROWS[name].settings.coder == chosen.settings.coder]
        given = {LONG: self.settings.long_lm, SHORT: self.settings.short_lm}[chosen.contexts]
        if given is not None and not fitting:
            return ReusedLm(folder=given)
        if built:
            return ReusedLm(folder=folder / (fitting or built)[0])
        # The first row of these contexts that needs an automaton is where the LM is trained.
        first = next(name for name in same_lm if ROWS[name].settings.coder == CoderSettings())
        lm = new_lm(self.settings.preset, chosen.contexts, self.settings.symbols)
        self._build(first, lm, corpus, folder, say)
        return ReusedLm(folder=folder / first)

    def _build(
        self, row: str, lm: NewLm | ReusedLm, corpus: Corpus, folder: Path, say: Say
    ) -> None:
        training = NeuralTraining(
            lm=lm,
            settings=ROWS[row].settings,
            held_out_fraction=self.settings.held_out_fraction,
            device=self.settings.device,
        )
        train_neural_compressor(corpus, folder / row, training=training, reports=Reports(say=say))


def _cells(result: RowResult) -> list[str]:
    paper = result["paper"] or {}
    share = result["collisions"]["high_lcp"]["share_of_clusters"]
    return [
        result["row"],
        f"{result['rho']:.2f}",
        _or_dash(paper.get("rho"), ".1f"),
        _or_dash(paper.get("pass@1"), ".1f"),
        f"{result['bytes_per_segment']:.1f}",
        f"{result['bits_per_byte']:.2f}",
        _or_dash(result["nodes"], ","),
        _or_dash(share, ".2f"),
    ]


def _or_dash(value: Any, form: str) -> str:
    return "–" if value is None else format(value, form)
