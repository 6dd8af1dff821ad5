"""Several bytes per pass beside one, on a model of eight heads that the benchmark trains itself.

The model (the ``demo`` size, one shared head and seven raw ones) learns this interpreter's
standard library for a few minutes and continues held-out files of it, one row at a time on one
thread. Every prompt is continued by one byte per pass, by a chain and by a tree in turn, so that a
busy machine slows all of them alike; the yardstick of a chain or a tree is one byte per pass.

A model this small repeats itself when it is greedy, and what repeats is easy to draft. The share
of distinct 8-grams tells how much it does, beside the same share of the files' own text; sampled
continuations, which repeat less, have rows of their own; and on the files' own text it is counted
how many drafted bytes would have been accepted had the model written just that.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from proxylm.bench.generate import bare_products
from proxylm.bench.report import BenchmarkRow, alternate
from proxylm.corpus.config import STANDARD_LIBRARY, CorpusConfig
from proxylm.corpus.opening import open_corpus
from proxylm.data.mixture import Mixture
from proxylm.data.sources import SourceConfig
from proxylm.data.store.prepare import prepare_store
from proxylm.data.store.store import ViewStore
from proxylm.generation.batch_decoder import BatchDecoder
from proxylm.generation.draft_heads import DraftHeads
from proxylm.generation.drafts import Chain, Draft, Drafter, Tree
from proxylm.generation.loading import load
from proxylm.generation.options import GenerationOptions
from proxylm.generation.request import ByteRequest, prompt_symbols
from proxylm.models.language_model import LanguageModel
from proxylm.models.masks import window_of
from proxylm.threads import torch_threads
from proxylm.training.config import CheckpointConfig, PresetModel, StepCount, TrainingConfig
from proxylm.training.run import train
from proxylm.training.schedule import CosineRate

HEADS = {"prediction_heads": 1, "raw_prediction_heads": 7}
SYMBOLS_PER_STEP = 1024
TRAINING_STEPS = 2400
MAX_DOCUMENT_BYTES = 16_000
"""Longer files are left out: in a short training they would be most of what the model sees."""
HELD_OUT_FRACTION = 0.05
PROMPTS = 64
PROMPT_BYTES = 192
NEW_BYTES = 256
GRAM = 8
SAMPLED = GenerationOptions(temperature=0.7, top_p=0.95)
DRAFTERS: dict[str, Drafter] = {"chain": Chain(), "tree": Tree()}


@dataclass(kw_only=True)
class Tally:
    """Continuations of one kind, summed up."""

    seconds: float = 0.0
    passes: int = 0
    outputs: list[bytes] = field(default_factory=list)

    @property
    def new_bytes(self) -> int:
        """Bytes of all continuations."""
        return sum(map(len, self.outputs))

    @property
    def bytes_per_second(self) -> float:
        """Over all passes, those that read the prompts too."""
        return self.new_bytes / self.seconds

    @property
    def bytes_per_pass(self) -> float:
        """As ``bytes_per_second``."""
        return self.new_bytes / self.passes


def train_on_standard_library(folder: Path, steps: int) -> tuple[LanguageModel, ViewStore]:
    """The benchmark's model, and the store whose held-out documents it has not seen."""
    store, run = folder / "store", folder / "run"
    source = CorpusConfig(path=STANDARD_LIBRARY, max_document_bytes=MAX_DOCUMENT_BYTES)
    corpus = open_corpus(source)
    prepare_store(corpus, {}, store, held_out_fraction=HELD_OUT_FRACTION)
    config = TrainingConfig(
        data=(SourceConfig(store=str(store)),),
        mixing=Mixture.bytes_only(),
        model=PresetModel(name="demo", overrides=HEADS),
        length=StepCount(steps=steps),
        symbols_per_step=SYMBOLS_PER_STEP,
        learning_rate=CosineRate(peak=4e-3, warmup_steps=min(100, steps // 4)),
        device="cpu",
        checkpoints=CheckpointConfig(every_steps=steps, keep_last=1),
        held_out=None,
    )
    train(config, run)
    return load(run).module, ViewStore.open(store)


def held_out_texts(store: ViewStore, count: int, num_bytes: int) -> list[bytes]:
    """Stretches of held-out documents that begin with a line, spread over all of them."""
    documents = [store.raw(int(ordinal)).tobytes() for ordinal in store.ordinals(held_out=True)]
    documents = [document for document in documents if len(document) >= 2 * num_bytes]
    assert documents, "no held-out document is long enough"
    texts = []
    for index in range(count):
        document = documents[index % len(documents)]
        share = (1 + index // len(documents)) / (2 + count // len(documents))
        start = document.rfind(b"\n", 0, int(share * (len(document) - num_bytes)) + 1) + 1
        texts.append(document[start : start + num_bytes])
    return texts


def run_multi_byte_benchmark(
    *, steps: int = TRAINING_STEPS, prompts: int = PROMPTS, new_bytes: int = NEW_BYTES
) -> list[BenchmarkRow]:
    """Train, then measure: rows ``generate/chain``, ``generate/tree``, and what stands behind."""
    with TemporaryDirectory() as folder:
        model, store = train_on_standard_library(Path(folder), steps)
        texts = held_out_texts(store, prompts, PROMPT_BYTES + new_bytes)
    starts = [text[:PROMPT_BYTES] for text in texts]
    greedy = GenerationOptions(max_new_bytes=new_bytes)
    sampled = SAMPLED.model_copy(update={"max_new_bytes": new_bytes})
    own = distinct_grams([text[PROMPT_BYTES:] for text in texts])
    most, all_right = HEADS["raw_prediction_heads"], "every further head right at every pass"
    rows = []
    with torch_threads(1):
        for suffix, options in (("", greedy), ("/sampled", sampled)):
            tallies = continue_in_turn(model, starts, options)
            one_byte = tallies["one-byte"]
            rows += [_one_byte_row(model, one_byte, suffix)]
            for kind in DRAFTERS:
                rows += _rows(f"generate/{kind}{suffix}", tallies[kind], one_byte)
            case, ours = f"generate{suffix}/distinct-8-grams", distinct_grams(one_byte.outputs)
            rows.append(BenchmarkRow(case, ours, "share", own, "how the files themselves go on"))
        for kind, drafter in DRAFTERS.items():
            case = f"generate/{kind}/accepted-on-text"
            accepted = accepted_on_texts(model, texts, drafter)
            rows.append(BenchmarkRow(case, accepted, "bytes/pass", most, all_right))
    return rows


def continue_in_turn(
    model: LanguageModel, prompts: Sequence[bytes], options: GenerationOptions
) -> dict[str, Tally]:
    """Every prompt by one byte per pass and by each of ``DRAFTERS``; the first also warms up."""
    kinds: dict[str, Drafter | None] = {"one-byte": None, **DRAFTERS}
    tallies = {kind: Tally() for kind in kinds}
    for warm_up, prompt in ((True, prompts[0]), *((False, prompt) for prompt in prompts)):
        for kind, drafter in kinds.items():
            drafting = options.model_copy(update={"drafter": drafter})
            _continue(model, prompt, drafting, Tally() if warm_up else tallies[kind])
    return tallies


def _continue(
    model: LanguageModel, prompt: bytes, options: GenerationOptions, tally: Tally
) -> None:
    decoder = BatchDecoder(model, max_rows=1)
    start, new = time.perf_counter(), bytearray()
    decoder.add(ByteRequest(prompt=prompt, options=options))
    while decoder.active:
        tally.passes += 1
        for delta in decoder.step():
            new += delta.data
    tally.seconds += time.perf_counter() - start
    tally.outputs.append(bytes(new))


def distinct_grams(texts: Sequence[bytes]) -> float:
    """The share of a text's 8-grams that do not occur before in it, over all texts."""
    grams = [[text[i : i + GRAM] for i in range(len(text) - GRAM + 1)] for text in texts]
    return sum(len(set(own)) for own in grams) / max(1, sum(map(len, grams)))


def accepted_on_texts(model: LanguageModel, texts: Sequence[bytes], drafter: Drafter) -> float:
    """Drafted bytes accepted per pass, were the texts what is generated (teacher forcing)."""
    heads = DraftHeads(model)
    passes = accepted = 0
    for text in texts:
        symbols = prompt_symbols(text, sentinels=model.config.sentinels)
        window = window_of(model.config.attention, len(symbols))
        with torch.inference_mode():
            hidden = model.hidden(torch.from_numpy(symbols)[None])[0]
            probabilities = heads.probabilities(hidden, [1.0] * len(symbols))
        newest = PROMPT_BYTES  # the symbol that is certain; those before it are fed
        while newest + 1 < len(symbols):
            draft = drafter.draft(
                probabilities[newest - 1],
                depth=len(symbols) - 1 - newest,
                window_depth=window - 1 - newest % window,
            )
            right = _right_bytes(draft, symbols[newest + 1 :].tolist())
            passes, accepted, newest = passes + 1, accepted + right, newest + 1 + right
    return accepted / passes


def _right_bytes(draft: Draft, following: Sequence[int]) -> int:
    place, right = 0, 0
    for symbol in following:
        if (place, symbol) not in draft.children:
            break
        place, right = draft.children[place, symbol], right + 1
    return right


def _one_byte_row(model: LanguageModel, tally: Tally, suffix: str) -> BenchmarkRow:
    steps = 64
    [seconds] = alternate(bare_products(model, 1, steps), repeats=1)
    products = "every weight matrix times 1 vector per step, on one thread"
    case, ours = f"generate/one-byte{suffix}", tally.bytes_per_second
    return BenchmarkRow(case, ours, "bytes/s", steps / seconds, products)


def _rows(case: str, tally: Tally, one: Tally) -> list[BenchmarkRow]:
    beside = "one byte per pass, same model and prompts"
    per_second = tally.bytes_per_second, "bytes/s", one.bytes_per_second
    per_pass = tally.bytes_per_pass, "bytes/pass", one.bytes_per_pass
    return [
        BenchmarkRow(case, *per_second, beside),
        BenchmarkRow(f"{case}/bytes-per-pass", *per_pass, beside),
    ]
