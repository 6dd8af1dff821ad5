"""What recipes are made of: compressors, stores, runs; each made once, and found again by its key.

An artifact's key is a fingerprint of all that determines its content: its own configuration and the
keys of what it is made from. Recipes that need the same run so share it, and a run of another
configuration never takes its place. In the pool an artifact is a folder, and beside it a record in
JSON that is written last: it is there where the artifact is finished.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from proxylm.checkpoints.checkpoint import CHECKPOINTS_FOLDER, checkpoint_name
from proxylm.compressors.contract import Compressor
from proxylm.compressors.registry import load_compressor, save_compressor
from proxylm.compressors.token_bytes import TokenBytesCompressor, count_tokens
from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.compressors.tokenizer.training import train_on_corpus
from proxylm.config import plain_config
from proxylm.corpus.left_out import LeftOut
from proxylm.corpus.split import split_documents
from proxylm.data.sources import SourceConfig
from proxylm.data.store.prepare import prepare_store
from proxylm.device import DeviceName
from proxylm.errors import UsageError
from proxylm.files import is_there, read_json
from proxylm.fingerprint import fingerprint_of
from proxylm.pipelines.neural_compressor import (
    NeuralTraining,
    NewLm,
    Reports,
    ReusedLm,
    new_lm,
    train_neural_compressor,
)
from proxylm.recipes.scale import Scale, scaled, shipped_config
from proxylm.recipes.views import (
    CorpusChoice,
    NeuralView,
    ReadyView,
    TokenBytesView,
    TokenizerView,
    ViewChoice,
)
from proxylm.scoring.read_as import BYTES, TOKENS
from proxylm.training.config import TrainingConfig
from proxylm.training.loop import TrainingDivergedError
from proxylm.training.run import train

REASON = "reason"
"""Key of a record or a result that says why there is nothing."""

SHOWN_KEY = 16

Record = dict[str, Any]
"""What is kept of an artifact: plain values, ``reason`` alone where it could not be made."""

Say = Callable[[str], None]
"""Hears what is going on, a line at a time."""


@dataclass(frozen=True)
class Artifact(ABC):
    """One thing to make.

    Attributes:
        name: for people; its key tells it apart.
    """

    name: str

    kind: ClassVar[str]
    """The folder in the pool that holds all of its kind."""

    @property
    def needs(self) -> tuple[Artifact, ...]:
        """What it is made from."""
        return ()

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """All that determines it beside what it is made from: plain values."""

    @abstractmethod
    def make(self, pool: Path, say: Say) -> Record:
        """Make it, or go on with it, in ``folder(pool)``; returns what its record says.

        Whatever stops this in the middle, calling it again ends with the same.
        """

    @cached_property
    def key(self) -> str:
        """Names its content."""
        return fingerprint_of(self.kind, self.identity(), *[one.key for one in self.needs])

    @property
    def shown_key(self) -> str:
        """The key's beginning, for people and for folders."""
        return self.key[:SHOWN_KEY]

    def folder(self, pool: Path) -> Path:
        """Where it stands: by its content, whatever a recipe calls it."""
        return pool / self.kind / self.shown_key

    def record_file(self, pool: Path) -> Path:
        """Where its record stands."""
        return self._beside(pool, "{}.json")

    def lock_file(self, pool: Path) -> Path:
        """What whoever makes it holds."""
        return self._beside(pool, ".{}.lock")

    def cpu_file(self, pool: Path) -> Path:
        """Where a unit that is stopped leaves the CPU seconds that it took."""
        return self._beside(pool, ".{}.cpu")

    def record(self, pool: Path) -> Record | None:
        """Its record; None where it is not finished."""
        path = self.record_file(pool)
        return read_json(path) if path.is_file() else None

    def is_settled(self, pool: Path) -> bool:
        """Whether there is nothing left to do."""
        return self.record_file(pool).is_file()

    def _beside(self, pool: Path, form: str) -> Path:
        folder = self.folder(pool)
        return folder.with_name(form.format(folder.name))


def with_needs(wanted: Iterable[Artifact]) -> list[Artifact]:
    """Artifacts, and what others need before them, each once."""
    found: dict[str, Artifact] = {}
    for one in wanted:
        if one.key not in found:
            found |= {need.key: need for need in with_needs(one.needs)} | {one.key: one}
    return list(found.values())


@dataclass(frozen=True)
class TrainedCompressor(Artifact):
    """A compressor of a view, trained on a corpus, and what it is made from.

    Attributes:
        view: what it is.
        corpus: what it is trained on.
        held_out_fraction: share of the corpus that it does not see.
        base: the compressor whose tokenizer or byte LM it takes; None where it takes none.
        device: where a byte LM is trained; the compressor is the same up to rounding.
    """

    view: ViewChoice
    corpus: CorpusChoice
    held_out_fraction: float
    base: TrainedCompressor | None
    device: DeviceName

    kind: ClassVar[str] = "compressors"

    @property
    def needs(self) -> tuple[Artifact, ...]:
        """The base."""
        return () if self.base is None else (self.base,)

    def identity(self) -> dict[str, Any]:
        """See the base class; what needs no corpus does not depend on it."""
        own: dict[str, Any] = {"view": plain_config(self.view)}
        if isinstance(self.view, ReadyView):
            return own | self._content_of(self.view.name)
        split = {"held_out_fraction": self.held_out_fraction}
        return own | split | {"corpus": self.corpus.fingerprint}

    def make(self, pool: Path, say: Say) -> Record:
        """See the base class."""
        folder = self.folder(pool)
        if not folder.exists():
            self._train(folder, pool, say)
        return self.load(pool).describe()

    def load(self, pool: Path) -> Compressor:
        """The compressor."""
        return load_compressor(self.folder(pool))

    def _content_of(self, name: str) -> dict[str, str]:
        """What a saved compressor holds; a name alone says all of one that needs no files."""
        return {"fingerprint": load_compressor(name).fingerprint} if is_there(name) else {}

    def _train(self, folder: Path, pool: Path, say: Say) -> None:
        match self.view:
            case NeuralView():
                training = self._neural_training(self.view, pool)
                train_neural_compressor(
                    self.corpus.open(), folder, training=training, reports=Reports(say=say)
                )
            case TokenizerView(training=training):
                trained = train_on_corpus(
                    training,
                    self.corpus.open(),
                    held_out_fraction=self.held_out_fraction,
                    sample_bytes=None,
                    left_out=LeftOut(),
                    say=say,
                )
                save_compressor(trained, folder)
            case TokenBytesView(settings=settings):
                assert self.base is not None, "whoever made this has looked it up"
                tokenizer = self.base.load(pool)
                if not isinstance(tokenizer, TokenizerCompressor):
                    raise UsageError(f"view {self.name}: {self.base.name} is no tokenizer")
                counts = self._token_counts(tokenizer) if settings.needs_frequencies else None
                save_compressor(TokenBytesCompressor(tokenizer, settings, counts), folder)
            case ReadyView(name=name):
                save_compressor(load_compressor(name), folder)

    def _token_counts(self, tokenizer: TokenizerCompressor) -> Any:
        left_out = LeftOut()
        documents = split_documents(
            self.corpus.open(), held_out=False, left_out=left_out, fraction=self.held_out_fraction
        )
        return count_tokens(tokenizer, documents, left_out)

    def _neural_training(self, view: NeuralView, pool: Path) -> NeuralTraining:
        return NeuralTraining(
            lm=_new_lm(view) if self.base is None else ReusedLm(folder=self.base.folder(pool)),
            settings=view.settings,
            held_out_fraction=self.held_out_fraction,
            device=self.device,
        )


def _new_lm(view: NeuralView) -> NewLm:
    lm = new_lm(view.preset, view.contexts, view.symbols)
    if not view.model:
        return lm
    heads = view.model.get("heads")
    attention = {"attention": {"kind": "causal", "kv_heads": heads}} if heads else {}
    model = lm.recipe.model.model_copy(update={"overrides": view.model | attention})
    return lm.model_copy(update={"recipe": lm.recipe.model_copy(update={"model": model})})


@dataclass(frozen=True)
class Store(Artifact):
    """A view store: the documents of a corpus as bytes, and one view or none.

    Attributes:
        corpus: the documents.
        held_out_fraction: share of them that no training sees.
        view: the view's name; None for bytes alone.
        compressor: the view's.
    """

    corpus: CorpusChoice
    held_out_fraction: float
    view: str | None
    compressor: TrainedCompressor | None

    kind: ClassVar[str] = "stores"

    @property
    def needs(self) -> tuple[Artifact, ...]:
        """The compressor."""
        return () if self.compressor is None else (self.compressor,)

    def identity(self) -> dict[str, Any]:
        """See the base class."""
        split = {"held_out_fraction": self.held_out_fraction, "view": self.view}
        return split | {"corpus": self.corpus.fingerprint}

    def make(self, pool: Path, say: Say) -> Record:
        """See the base class."""
        loaded = {} if self.compressor is None else {str(self.view): self.compressor.load(pool)}
        summary = prepare_store(
            self.corpus.open(),
            loaded,
            self.folder(pool),
            workers=1,
            held_out_fraction=self.held_out_fraction,
        )
        return {
            "documents": summary.documents_written,
            "num_bytes": summary.num_bytes,
            "held_out_bytes": summary.held_out_bytes,
            "rho": {name: view.bytes_per_symbol for name, view in summary.views.items()},
        }


@dataclass(frozen=True)
class Run(Artifact):
    """A training run.

    Attributes:
        config: it, with the name of the paper's store in place of a folder.
        store: its data.
        start: the run whose weights it begins with; None: it begins from scratch.
    """

    config: TrainingConfig
    store: Store
    start: Run | None = None

    kind: ClassVar[str] = "runs"

    @property
    def needs(self) -> tuple[Artifact, ...]:
        """The store, and the run before it."""
        return (self.store,) if self.start is None else (self.store, self.start)

    def identity(self) -> dict[str, Any]:
        """See the base class; where it is trained does not count."""
        values = plain_config(self.config)
        return {name: value for name, value in values.items() if name not in ("data", "device")}

    def make(self, pool: Path, say: Say) -> Record:
        """See the base class; a run that diverges has no other end to come to."""
        source = SourceConfig(store=str(self.store.folder(pool)), view=self.store.view)
        update: dict[str, Any] = {"data": (source,)}
        if self.start is not None:
            if REASON in (self.start.record(pool) or {}):
                return {REASON: f"{self.start.name}, which it starts from, diverged"}
            update["init_from"] = str(self.start.folder(pool))
        config = self.config.model_copy(update=update)
        try:
            result = train(config, self.folder(pool))
        except TrainingDivergedError as error:
            return {REASON: f"diverged: {error}"}
        return {name: value for name, value in result.as_json().items() if name != "run"}

    @property
    def own_reading(self) -> str:
        """How it is meant to be read: as bytes where it was shown any, else as tokens."""
        rates = self.config.mixing.rate.rates(self.config.total_steps)
        return TOKENS if rates.min() == 1 else BYTES

    def checkpoint(self, pool: Path, share: float) -> Path:
        """The checkpoint nearest to a share of the steps, of those at milestones and the last."""
        total = self.config.total_steps
        every = total if share == 1 else self.config.checkpoints.keep_every_steps or total
        step = min(total, every * max(1, round(share * total / every)))
        return self.folder(pool) / CHECKPOINTS_FOLDER / checkpoint_name(step)


def compressor_for(view: str, store: str, scale: Scale) -> TrainedCompressor:
    """The compressor of a view of one of the paper's stores.

    Raises:
        UsageError: the scale has no such view or corpus.
    """
    choice = scale.view(view)
    base = None
    if isinstance(choice, TokenBytesView):
        base = choice.tokenizer
    elif isinstance(choice, NeuralView):
        base = choice.lm_of
    return TrainedCompressor(
        view,
        view=choice,
        corpus=scale.corpus(store),
        held_out_fraction=scale.held_out_fraction,
        base=None if base is None else compressor_for(base, store, scale),
        device=scale.device,
    )


def run_for(configuration: str, scale: Scale, seed: int) -> Run:
    """The run that stands for a shipped configuration.

    Raises:
        UsageError: there is no such configuration, or the scale has nothing in place of a part.
    """
    config = scaled(shipped_config(configuration), scale).model_copy(update={"seed": seed})
    [source] = config.data
    view = source.view
    store = Store(
        source.store.removeprefix("stores/") + ("" if view is None else f"-{view}"),
        corpus=scale.corpus(source.store),
        held_out_fraction=scale.held_out_fraction,
        view=view,
        compressor=None if view is None else compressor_for(view, source.store, scale),
    )
    name = configuration.removeprefix("paper/")
    return Run(f"{name}-seed{seed}" if seed else name, config=config, store=store)
