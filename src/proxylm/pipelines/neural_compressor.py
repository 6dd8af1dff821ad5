"""From documents to a neural compressor's folder: byte LM, automaton, thresholds, published whole.

Everything before the folder lies in a work folder beside it (``<out>.work``): a view store, the
byte LM's run, the automaton. A run that was stopped in any way goes on there, and the work folder
goes when the compressor is published.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from pydantic import PositiveInt

from proxylm.compressors.neural.byte_lm.model import ByteLM
from proxylm.compressors.neural.byte_lm.training_contexts import Contexts, LongContexts
from proxylm.compressors.neural.coder.automaton import Automaton, load_automaton, save_automaton
from proxylm.compressors.neural.coder.automaton_build import build_automaton, enumerates
from proxylm.compressors.neural.coder.settings import SMALLEST_WINDOW_BITS, CoderSettings
from proxylm.compressors.neural.compressor import (
    AUTOMATON_FILE,
    LM_FOLDER,
    NeuralCompressor,
    Provenance,
)
from proxylm.compressors.neural.settings import NeuralSettings
from proxylm.compressors.registry import save_compressor
from proxylm.config import Config, validate_config
from proxylm.corpus.config import HeldOutFraction
from proxylm.corpus.contract import Corpus
from proxylm.corpus.document import Document
from proxylm.corpus.left_out import LeftOut
from proxylm.corpus.opening import Documents, as_corpus
from proxylm.corpus.split import HELD_OUT_FRACTION, sample, split_documents
from proxylm.device import DeviceName
from proxylm.errors import UsageError
from proxylm.files import require_new
from proxylm.pipelines.byte_lm_training import RECIPES, LmRecipe, train_byte_lm
from proxylm.progress import TellCount, untold
from proxylm.training.callbacks import AnyCallback

WORK_SUFFIX = ".work"

THRESHOLD_SAMPLE_BYTES = 1 << 20
"""Thresholds are percentiles over about this many bytes of training documents, chosen by hash."""


class NewLm(Config):
    """A byte LM that is trained for the compressor.

    Attributes:
        recipe: its size and training; ``tiny`` takes some minutes on two cores.
        contexts: whole documents, or fragments that start anywhere.
    """

    recipe: LmRecipe = RECIPES["tiny"]
    contexts: Contexts = LongContexts()


def new_lm(preset: str, contexts: str, symbols: int | None) -> NewLm:
    """The LM of a preset, trained on ``long`` or ``short`` contexts, perhaps for so many symbols.

    Raises:
        UsageError: there is no such preset, no such kind of contexts, or no such training.
    """
    if preset not in RECIPES:
        raise UsageError(f"no byte LM preset '{preset}'; choose one of {', '.join(RECIPES)}")
    chosen = RECIPES[preset].model_dump() | ({} if symbols is None else {"symbols": symbols})
    values = {"recipe": chosen, "contexts": {"kind": contexts}}
    return validate_config(NewLm, values, origin="byte LM")


class ReusedLm(Config):
    """The byte LM of another neural compressor, for other settings around it."""

    folder: Path


class NeuralTraining(Config):
    """How a neural compressor comes to be; the defaults are the command's.

    Attributes:
        lm: where the byte LM comes from.
        settings: segmentation, not fitted yet, and coder.
        held_out_fraction: share of documents that neither the LM nor the thresholds see.
        threshold_sample_bytes: about how much text the thresholds are fitted on.
        device: where the byte LM is trained and evaluated.
    """

    lm: NewLm | ReusedLm = NewLm()
    settings: NeuralSettings = NeuralSettings()
    held_out_fraction: HeldOutFraction = HELD_OUT_FRACTION
    threshold_sample_bytes: PositiveInt = THRESHOLD_SAMPLE_BYTES
    device: DeviceName = "auto"


@dataclass(frozen=True, kw_only=True)
class Reports:
    """Who hears of a training: a line per stage, how far it is, the LM's steps, what is left out.

    ``left_out`` is filled while the thresholds are fitted.
    """

    say: Callable[[str], None] = lambda _: None
    progress: TellCount = untold
    callbacks: Sequence[AnyCallback] = ()
    left_out: LeftOut = field(default_factory=LeftOut)


def train_neural_compressor(
    documents: Documents,
    out: str | PathLike[str],
    *,
    training: NeuralTraining | None = None,
    reports: Reports | None = None,
) -> NeuralCompressor:
    r"""Train a byte LM, fit the segmentation, build the automaton; save all of it as a new folder.

    The same call goes on after an interruption, from the work folder beside ``out``.

    >>> import tempfile
    >>> quick = NeuralTraining(  # far too few symbols, and no automaton, which takes longer
    ...     lm=new_lm("tiny", "short", symbols=8192),
    ...     settings={"segmentation": {"kind": "lines"}, "coder": {"window_bits": None}},
    ... )
    >>> with tempfile.TemporaryDirectory() as place:
    ...     mine = train_neural_compressor([b"a line\n" * 9] * 99, f"{place}/mine", training=quick)
    >>> len(mine.compress([b"a line\na line\n"])[0]) > 0
    True

    Args:
        documents: bytes, pairs of id and bytes, a path, or an open corpus; a share of them
            (``training.held_out_fraction``) is not looked at.
        out: the new folder, which ``load_compressor`` reads.
        training: everything else; the defaults train the tiny byte LM for the entropy rule.
        reports: who hears of it.

    Raises:
        UsageError: ``out`` exists, its work folder holds another training, or the segmentation
            needs an automaton and the coder's windows do not enumerate.
        DataError: the training part is empty or too small.
        KeyboardInterrupt: the LM's training was stopped; its state is saved.
    """
    corpus, out = as_corpus(documents), Path(out)
    training, reports = training or NeuralTraining(), reports or Reports()
    require_new(out)
    work = out.with_name(out.name + WORK_SUFFIX)
    lm = _byte_lm(corpus, work, training, reports)
    work.mkdir(parents=True, exist_ok=True)
    kept = [work / AUTOMATON_FILE]
    if isinstance(training.lm, ReusedLm):
        kept.append(training.lm.folder / AUTOMATON_FILE)
    automaton = _automaton(lm, training.settings.coder, kept, reports)
    sample = _threshold_sample(corpus, training, reports)
    reports.say(f"fitting {training.settings.segmentation.kind} segmentation")
    compressor = NeuralCompressor(
        lm,
        training.settings.fitted(sample, lm, automaton, reports.progress),
        automaton=automaton,
        provenance=_provenance(corpus, training, sample),
    )
    save_compressor(compressor, out)
    shutil.rmtree(work)
    return compressor


def _byte_lm(corpus: Corpus, work: Path, training: NeuralTraining, reports: Reports) -> ByteLM:
    if isinstance(training.lm, ReusedLm):
        return ByteLM.load(training.lm.folder / LM_FOLDER, device=training.device)
    return train_byte_lm(
        corpus,
        work,
        training.lm.recipe,
        contexts=training.lm.contexts,
        held_out_fraction=training.held_out_fraction,
        device=training.device,
        say=reports.say,
        callbacks=reports.callbacks,
    )


def _automaton(
    lm: ByteLM, settings: CoderSettings, kept: Sequence[Path], reports: Reports
) -> Automaton | None:
    """The automaton of an LM and coder settings; None where the windows do not enumerate.

    Args:
        lm: the byte LM.
        settings: of the coder.
        kept: files that may hold it already; a new one is written to the first.
        reports: who hears of it.
    """
    if not enumerates(settings):
        return None
    for path in kept:
        if path.is_file():
            found = load_automaton(path)
            if (found.distribution_fingerprint, found.settings) == (lm.fingerprint, settings):
                return found
    try:
        automaton = build_automaton(lm, settings, progress=reports.progress)
    except UsageError as error:
        if settings.window_bits == SMALLEST_WINDOW_BITS:
            raise
        reports.say(f"no automaton: {error}")
        return None
    save_automaton(automaton, kept[0])
    return automaton


def _threshold_sample(corpus: Corpus, training: NeuralTraining, reports: Reports) -> list[bytes]:
    def training_part(counted: LeftOut) -> Iterator[Document]:
        return split_documents(
            corpus,
            held_out=False,
            left_out=counted,
            fraction=training.held_out_fraction,
            progress=reports.progress,
        )

    total = sum(part.num_bytes for part in corpus.parts())
    wanted = training.threshold_sample_bytes
    chosen = sample(training_part(reports.left_out), total_bytes=total, wanted_bytes=wanted)
    found = [document.raw for document in chosen]
    # In a corpus of a few long documents none may be drawn: the first one is the sample.
    return found or [next(training_part(LeftOut())).raw]


def _provenance(corpus: Corpus, training: NeuralTraining, documents: Sequence[bytes]) -> Provenance:
    return Provenance(
        corpus=corpus.name,
        corpus_fingerprint=corpus.fingerprint,
        held_out_fraction=training.held_out_fraction,
        lm=training.lm.model_dump(mode="json"),
        threshold_documents=len(documents),
        threshold_bytes=sum(map(len, documents)),
    )
