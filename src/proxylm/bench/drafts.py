"""Drafting on real texts: how much faster than one byte per pass, and why not more.

Stretches of the texts are continued, one row at a time on one thread. Every prompt is continued by
one byte per pass and by each drafter in turn, so that a busy machine slows all of them alike; the
yardstick of a drafter is one byte per pass.

A model that is greedy repeats itself, and what repeats is easy to draft. The share of distinct
8-grams tells how much it does, beside the same share of the texts themselves; sampled
continuations, which repeat less, have rows of their own; and on the texts themselves it is counted
how many bytes a pass would have given had the model written just that.

What drafts could give at most is what their bytes per pass are worth where a pass is one step of so
many symbols through the model and nothing else: no draft, no verification, no choice of a byte.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from proxylm.bench.generate import bare_products
from proxylm.bench.report import BenchmarkRow, alternate
from proxylm.errors import UsageError
from proxylm.generation.batch_decoder import BatchDecoder
from proxylm.generation.draft_heads import DraftHeads
from proxylm.generation.drafts import DRAFTERS, Draft, Drafter, Lookup
from proxylm.generation.options import GenerationOptions
from proxylm.generation.request import ByteRequest, prompt_symbols
from proxylm.models.language_model import LanguageModel
from proxylm.models.masks import window_of
from proxylm.progress import TellCount, told, untold
from proxylm.symbols import RAW_OFFSET
from proxylm.threads import torch_threads

GRAM = 8
SAMPLED = {"temperature": 0.7, "top_p": 0.95}
ONE_BYTE = "one-byte"
STEPS_PER_TIMING = 8
STEP_REPEATS = 5


@dataclass(kw_only=True)
class Tally:
    """Continuations of one kind, summed up.

    Attributes:
        seconds, passes: after those that read the prompts.
        fed: symbols of these passes.
        given: bytes that these had given before.
        outputs: of each prompt.
    """

    seconds: float = 0.0
    passes: int = 0
    fed: int = 0
    given: int = 0
    outputs: list[bytes] = field(default_factory=list)

    @property
    def new_bytes(self) -> int:
        """Bytes of all continuations that the passes gave."""
        return sum(map(len, self.outputs)) - self.given

    @property
    def bytes_per_second(self) -> float:
        """Over all passes after those that read the prompts."""
        return self.new_bytes / self.seconds

    @property
    def bytes_per_pass(self) -> float:
        """As ``bytes_per_second``."""
        return self.new_bytes / self.passes

    @property
    def symbols_per_pass(self) -> float:
        """As ``bytes_per_second``, drafted ones included."""
        return self.fed / self.passes


def stretches(documents: Sequence[bytes], count: int, num_bytes: int) -> list[bytes]:
    """Stretches of the documents that begin with a line, spread over all that are long enough.

    Raises:
        UsageError: none is twice as long as a stretch.
    """
    long = [document for document in documents if len(document) >= 2 * num_bytes]
    if not long:
        raise UsageError(f"no text has {2 * num_bytes} bytes, twice a prompt with what follows")
    texts = []
    for index in range(count):
        document = long[index % len(long)]
        share = (1 + index // len(long)) / (2 + count // len(long))
        start = document.rfind(b"\n", 0, int(share * (len(document) - num_bytes)) + 1) + 1
        texts.append(document[start : start + num_bytes])
    return texts


def run_drafts_benchmark(
    model: LanguageModel,
    files: Sequence[Path],
    *,
    prompts: int,
    prompt_bytes: int,
    new_bytes: int,
    progress: TellCount = untold,
) -> list[BenchmarkRow]:
    """A model of one's own on files of one's own: rows ``drafts/lookup``, and what heads draft.

    Raises:
        UsageError: a file cannot be read; or see ``stretches`` and ``measure_drafts``.
    """
    try:
        documents = [path.read_bytes() for path in files]
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None
    texts = stretches(documents, prompts, prompt_bytes + new_bytes)
    return measure_drafts("drafts", model, texts, prompt_bytes, progress=progress)


def measure_drafts(
    name: str,
    model: LanguageModel,
    texts: Sequence[bytes],
    prompt_bytes: int,
    *,
    sampled: bool = False,
    progress: TellCount = untold,
) -> list[BenchmarkRow]:
    """Continue the texts' first ``prompt_bytes`` as far as they go; rows ``name/drafter``...

    ``sampled``: not greedily alone. ``progress`` hears how many of the texts are continued.

    Raises:
        UsageError: the model ends every text at once.
    """
    drafters = _drafters_for(model)
    starts = [text[:prompt_bytes] for text in texts]
    greedy = {"max_new_bytes": len(texts[0]) - prompt_bytes}
    own = distinct_grams([text[prompt_bytes:] for text in texts])
    rows = []
    with torch_threads(1):
        for suffix, drawing in (("", {}), ("/sampled", SAMPLED))[: 1 + sampled]:
            options = GenerationOptions.model_validate(greedy | drawing)
            tallies = continue_in_turn(model, starts, options, drafters, progress)
            one = tallies[ONE_BYTE]
            if not one.new_bytes:
                raise UsageError("the model ends every text at once: there is nothing to draft")
            rows.append(_one_byte_row(f"{name}/{ONE_BYTE}{suffix}", model, one))
            steps = StepCosts(model, starts[0])
            for kind in drafters:
                rows += _rows(f"{name}/{kind}{suffix}", tallies[kind], one, steps)
            case, ours = f"{name}{suffix}/distinct-{GRAM}-grams", distinct_grams(one.outputs)
            rows.append(BenchmarkRow(case, ours, "share", own, "how the files themselves go on"))
        for kind, drafter in drafters.items():
            per_pass = bytes_per_pass_on(model, texts, prompt_bytes, drafter)
            case = f"{name}/{kind}/on-text"
            rows.append(BenchmarkRow(case, per_pass, "bytes/pass", 1, "one byte per pass"))
    return rows


def _drafters_for(model: LanguageModel) -> dict[str, Drafter]:
    """Those that have something to draft with."""
    has_further_heads = model.config.target_heads > 1
    return {
        kind: drafter
        for kind, drafter in DRAFTERS.items()
        if drafter and (has_further_heads or isinstance(drafter, Lookup))
    }


def continue_in_turn(
    model: LanguageModel,
    prompts: Sequence[bytes],
    options: GenerationOptions,
    drafters: Mapping[str, Drafter],
    progress: TellCount = untold,
) -> dict[str, Tally]:
    """Every prompt by one byte per pass and by each drafter; the first also warms up."""
    kinds: dict[str, Drafter | None] = {ONE_BYTE: None, **drafters}
    tallies = {kind: Tally() for kind in kinds}
    turns = [(True, prompts[0]), *((False, prompt) for prompt in prompts)]
    for warm_up, prompt in told(turns, "prompts", progress):
        for kind, drafter in kinds.items():
            drafting = options.model_copy(update={"drafter": drafter})
            _continue(model, prompt, drafting, Tally() if warm_up else tallies[kind])
    return tallies


def _continue(
    model: LanguageModel, prompt: bytes, options: GenerationOptions, tally: Tally
) -> None:
    """Only what comes after the prompt counts: the passes that read it are the same for all."""
    decoder, new = BatchDecoder(model, max_rows=1), bytearray()
    decoder.add(ByteRequest(prompt=prompt, options=options))
    while decoder.active and not new:
        new += b"".join(delta.data for delta in decoder.step())
    tally.given += len(new)
    start = time.perf_counter()
    while decoder.active:
        tally.passes += 1
        tally.fed += 1 + sum(len(draft.symbols) for draft in decoder.drafts.values())
        for delta in decoder.step():
            new += delta.data
    tally.seconds += time.perf_counter() - start
    tally.outputs.append(bytes(new))


def distinct_grams(texts: Sequence[bytes]) -> float:
    """The share of a text's 8-grams that do not occur before in it, over all texts."""
    grams = [[text[i : i + GRAM] for i in range(len(text) - GRAM + 1)] for text in texts]
    return sum(len(set(own)) for own in grams) / max(1, sum(map(len, grams)))


def bytes_per_pass_on(
    model: LanguageModel, texts: Sequence[bytes], prompt_bytes: int, drafter: Drafter
) -> float:
    """Bytes per pass after the prompts, were the texts what is generated (teacher forcing)."""
    heads = DraftHeads(model)
    passes = given = 0
    for text in texts:
        symbols = prompt_symbols(text, sentinels=model.config.sentinels)
        opening = len(symbols) - len(text)
        window = window_of(model.config.attention, len(symbols))
        with torch.inference_mode():
            hidden = model.hidden(torch.from_numpy(symbols)[None])[0]
            probabilities = heads.probabilities(hidden, [1.0] * len(symbols))
        newest = opening + prompt_bytes  # the symbol that is certain; those before it are fed
        row = drafter.start(text[: prompt_bytes + 1])
        while newest + 1 < len(symbols):
            draft = row.draft(
                probabilities[newest - 1],
                depth=len(symbols) - 1 - newest,
                window_depth=window - 1 - newest % window,
            )
            step = 1 + _right_bytes(draft, symbols[newest + 1 :].tolist())
            for symbol in symbols[newest + 1 : newest + 1 + step].tolist():
                row.append(symbol - RAW_OFFSET)
            passes, given, newest = passes + 1, given + step, newest + step
    return given / passes


def _right_bytes(draft: Draft, following: Sequence[int]) -> int:
    place, right = 0, 0
    for symbol in following:
        if (place, symbol) not in draft.children:
            break
        place, right = draft.children[place, symbol], right + 1
    return right


def _one_byte_row(case: str, model: LanguageModel, tally: Tally) -> BenchmarkRow:
    steps = 64
    [seconds] = alternate(bare_products(model, 1, steps), repeats=1)
    products = "every weight matrix times 1 vector per step, on one thread"
    return BenchmarkRow(case, tally.bytes_per_second, "bytes/s", steps / seconds, products)


class StepCosts:
    """What steps of several symbols after a prompt cost, in steps of one.

    Args:
        model: the model.
        prompt: what is read before.
    """

    def __init__(self, model: LanguageModel, prompt: bytes) -> None:
        self._model = model
        self._symbols = torch.from_numpy(prompt_symbols(prompt, sentinels=model.config.sentinels))
        self._cache = model.new_cache(1)
        self._step(self._symbols)
        self._read = int(self._cache.positions[0])

    def of(self, count: int) -> float:
        """A step of so many symbols over one of one symbol, measured in turn."""
        several, one = (partial(self._again, self._symbols[:number]) for number in (count, 1))
        seconds = alternate(several, one, repeats=STEP_REPEATS)
        return seconds[0] / seconds[1]

    def _again(self, symbols: Tensor) -> None:
        for _ in range(STEPS_PER_TIMING):
            self._step(symbols)
            self._cache.rewind(self._read)

    def _step(self, symbols: Tensor) -> None:
        feed = self._cache.plan(np.array([len(symbols)]))
        with torch.inference_mode():
            self._model.step_feed(symbols, self._cache, feed)


def _rows(case: str, tally: Tally, one: Tally, steps: StepCosts) -> list[BenchmarkRow]:
    symbols = max(1, round(tally.symbols_per_pass))
    cost = steps.of(symbols)
    gained = tally.bytes_per_second / one.bytes_per_second
    possible = tally.bytes_per_pass / one.bytes_per_pass / cost
    ideal = f"their bytes per pass, a pass of {symbols} symbols being {cost:.2f} bare steps of one"
    beside = "one byte per pass, same model and prompts"
    per_second = tally.bytes_per_second, "bytes/s", one.bytes_per_second
    per_pass = tally.bytes_per_pass, "bytes/pass", one.bytes_per_pass
    same = sum(a == b for a, b in zip(tally.outputs, one.outputs, strict=True)) / len(one.outputs)
    return [
        BenchmarkRow(case, *per_second, beside),
        BenchmarkRow(f"{case}/bytes-per-pass", *per_pass, beside),
        BenchmarkRow(f"{case}/times-one-byte", gained, "times", possible, ideal),
        BenchmarkRow(f"{case}/same-bytes", same, "share", 1, "every continuation the same"),
    ]
