"""Several bytes per pass beside one: the same greedy bytes, the same distribution, fewer passes."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from proxylm.generation import batch_decoder
from proxylm.generation.batch_decoder import BatchDecoder
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.decoding_row import DecodingRow, Finish
from proxylm.generation.drafts import Chain, Draft, Drafter, Lookup, Tree
from proxylm.generation.options import generation_options
from proxylm.generation.output_format import OutputFormat
from proxylm.generation.request import ByteRequest, prompt_symbols
from proxylm.generation.sampling import nucleus
from proxylm.models.cache import Cache
from proxylm.models.feed import Feed
from proxylm.models.kernels.dispatch import step_modules
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import BYTE_COUNT, COMPRESSED_OFFSET, RAW_OFFSET, Format
from small_models import small_model
from trained_models import source_text, trained_model

NEAR_TIE = 1e-4
"""Two logits nearer than this may change places by rounding."""

MODELS = [("eva", "raw"), ("causal", "shared")]
DRAFTERS = [Chain(), Chain(length=2, least_probability=0), Tree(nodes=30, depth=4), Lookup()]

Result = tuple[bytes, Finish]


def some_prompts(count: int, *, seed: int = 0) -> list[bytes]:
    """Stretches of the text and of other bytes, from none to three windows of 16."""
    text, generator = source_text(), np.random.default_rng(seed)
    prompts = []
    for index in range(count):
        length = int(generator.integers(0, 50))
        start = int(generator.integers(0, len(text) - length))
        strange = generator.integers(0, 256, length, dtype=np.uint8).tobytes()
        prompts.append(strange if index % 8 == 7 else text[start : start + length])
    return prompts


def decoded(
    model: LanguageModel,
    prompts: list[bytes],
    drafter: Drafter | None,
    *,
    max_rows: int = 16,
    **options: Any,
) -> tuple[list[Result], int]:
    """What each prompt gives, rows coming and going, and the passes it took."""
    decoder = BatchDecoder(model, max_rows=max_rows)
    data = [bytearray() for _ in prompts]
    finishes: dict[int, Finish] = {}
    added, passes = 0, 0
    while added < len(prompts) or decoder.active:
        while added < len(prompts) and decoder.free_rows:
            chosen = generation_options(drafter=drafter, **options)
            decoder.add(ByteRequest(prompt=prompts[added], options=chosen, sample=added))
            added += 1
        passes += 1
        for delta in decoder.step():
            assert delta.handle not in finishes, "nothing comes after the end"
            data[delta.handle] += delta.data
            if delta.finish is not None:
                finishes[delta.handle] = delta.finish
    return [(bytes(new), finishes[i]) for i, new in enumerate(data)], passes


def next_logits(model: LanguageModel, symbols: list[int]) -> NDArray[np.float32]:
    """Head 0's logits by a whole forward pass; minus infinity where a symbol cannot follow."""
    with torch.inference_mode():
        logits = model.logits(torch.tensor([symbols]))[0, -1, 0, :COMPRESSED_OFFSET].numpy()
    return logits + OutputFormat(Format.RAW, model.config.sentinels, BYTE_COUNT).mask


def is_near_tie(model: LanguageModel, prompt: bytes, ours: bytes, theirs: bytes) -> bool:
    """Whether the two best logits are all but equal where the two continuations part."""
    both = zip(ours, theirs, strict=False)
    common = next((i for i, (a, b) in enumerate(both) if a != b), min(len(ours), len(theirs)))
    known = prompt_symbols(prompt + ours[:common], sentinels=model.config.sentinels)
    best = np.sort(next_logits(model, known.tolist()))[-2:]
    return bool(best[1] - best[0] < NEAR_TIE)


def near_ties(
    model: LanguageModel, prompts: list[bytes], ours: list[Result], theirs: list[Result]
) -> int:
    """How many results differ; every difference must begin with a near tie."""
    different = [i for i in range(len(prompts)) if ours[i] != theirs[i]]
    for i in different:
        assert is_near_tie(model, prompts[i], ours[i][0], theirs[i][0]), (
            prompts[i],
            ours[i],
            theirs[i],
        )
    return len(different)


@pytest.mark.parametrize(("attention", "heads"), MODELS)
def test_greedy_bytes_are_those_of_one_byte_per_pass(attention: str, heads: str) -> None:
    model, prompts = trained_model(attention, heads), some_prompts(100)
    expected, passes = decoded(model, prompts, None, max_new_bytes=20)
    for drafter in DRAFTERS:
        found, fewer = decoded(model, prompts, drafter, max_new_bytes=20)
        assert near_ties(model, prompts, found, expected) <= 1
        assert fewer < 0.8 * passes, "the drafts should often be right here"


@pytest.mark.parametrize(("attention", "heads"), MODELS)
def test_samples_are_those_of_one_byte_per_pass(attention: str, heads: str) -> None:
    model, prompts = trained_model(attention, heads), some_prompts(40, seed=1)
    options: dict[str, Any] = {"max_new_bytes": 30, "temperature": 0.8, "top_p": 0.95, "seed": 11}
    expected, passes = decoded(model, prompts, None, **options)
    assert {finish for _, finish in expected} >= {Finish.LIMIT, Finish.END}
    for drafter in DRAFTERS:
        found, fewer = decoded(model, prompts, drafter, **options)
        assert sum(a != b for a, b in zip(found, expected, strict=True)) <= 1  # rounding
        assert fewer < passes


@pytest.mark.parametrize(
    "drafter", [Chain(least_probability=0), Tree(least_probability=0), Lookup(least_probability=0)]
)
def test_rows_do_not_depend_on_their_company(drafter: Drafter | None) -> None:
    model, prompts = trained_model("eva", "raw"), some_prompts(12, seed=2)
    together, _ = decoded(model, prompts, drafter, max_new_bytes=40)
    apart, _ = decoded(model, prompts, drafter, max_rows=1, max_new_bytes=40)
    assert near_ties(model, prompts, together, apart) <= 1


@pytest.mark.parametrize(("attention", "heads"), MODELS)
@pytest.mark.parametrize("drafter", [None, Chain(), Tree()])
def test_the_plain_modules_that_a_gpu_runs_give_the_same(
    monkeypatch: pytest.MonkeyPatch, attention: str, heads: str, drafter: Drafter | None
) -> None:
    model, prompts = trained_model(attention, heads), some_prompts(16, seed=8)
    expected, _ = decoded(model, prompts, None, max_new_bytes=30)
    monkeypatch.setattr("proxylm.models.language_model.step_for", lambda *_: step_modules)
    found, _ = decoded(model, prompts, drafter, max_new_bytes=30)
    assert near_ties(model, prompts, found, expected) <= 1


@pytest.mark.parametrize("options", [{}, {"temperature": 0.8, "top_p": 0.95, "seed": 11}])
def test_a_model_of_one_head_is_drafted_for_by_the_text(options: dict[str, Any]) -> None:
    model, prompts = trained_model("causal", "one"), some_prompts(60, seed=5)
    expected, passes = decoded(model, prompts, None, max_new_bytes=30, **options)
    found, fewer = decoded(model, prompts, Lookup(), max_new_bytes=30, **options)
    assert near_ties(model, prompts, found, expected) <= 1
    assert fewer < 0.8 * passes


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("drafter", [None, Chain(), Tree()])
def test_on_a_gpu_too(drafter: Drafter | None) -> None:
    model, prompts = trained_model("eva", "raw"), some_prompts(40, seed=9)
    expected, _ = decoded(model, prompts, None, max_new_bytes=30)
    found, _ = decoded(deepcopy(model).to("cuda"), prompts, drafter, max_new_bytes=30)
    assert near_ties(model, prompts, found, expected) <= 2


@pytest.fixture
def feeds(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Feed, dict[int, list[int]]]]:
    """Every pass that a cache is asked to keep a part of: what was fed, and what is kept."""
    seen = []
    keep = Cache.keep

    def spy(cache: Cache, feed: Feed, paths: dict[int, list[int]]) -> None:
        seen.append((feed, dict(paths)))
        keep(cache, feed, paths)

    monkeypatch.setattr(Cache, "keep", spy)
    return seen


def test_chains_cross_windows_and_are_rejected_there(feeds: list[Any]) -> None:
    model, prompts = trained_model("eva", "raw"), some_prompts(30, seed=3)
    decoded(model, prompts, Chain(least_probability=0), max_rows=1, max_new_bytes=60)
    crossing = [(feed, paths[0]) for feed, paths in feeds if 0 in paths and len(feed.rounds) > 1]
    taken_back = [
        path
        for feed, path in crossing
        if (feed.position_ids[0] + len(path)) // 16 < feed.position_ids[-1] // 16
    ]
    assert len(crossing) > 50
    assert len(taken_back) > 20, "some must be taken back over the window's border"


@pytest.mark.parametrize("window", [1, 2, 4, 8])
@pytest.mark.parametrize(
    "drafter", [Chain(length=8, least_probability=0), Tree(depth=8), Lookup(least_probability=0)]
)
def test_windows_may_be_shorter_than_what_is_drafted(window: int, drafter: Drafter | None) -> None:
    attention = {"kind": "eva", "window": window, "chunk": 1}
    model = small_model(seed=4, sharpness=20, attention=attention, prediction_heads=9)
    prompts = [b"abc", b"", b"abcdefgh" * 3]
    expected, _ = decoded(model, prompts, None, max_new_bytes=40)
    assert decoded(model, prompts, drafter, max_new_bytes=40)[0] == expected


def test_trees_are_kept_along_one_way(feeds: list[Any]) -> None:
    model, prompts = trained_model("eva", "raw"), some_prompts(30, seed=3)
    decoded(model, prompts, Tree(least_probability=0), max_new_bytes=60)
    kept = [
        (feed.trees[row], path)
        for feed, paths in feeds
        for row, path in paths.items()
        if row in feed.trees
    ]
    for tree, path in kept:
        assert path[0] == 0
        assert all(tree.parents[b] == a for a, b in itertools.pairwise(path))
    assert any(path != list(range(len(path))) for _, path in kept), "some keys must have moved"


@pytest.mark.parametrize("drafter", DRAFTERS)
@pytest.mark.parametrize("limit", [1, 2, 3, 9])
def test_nothing_is_fed_beyond_the_limit(
    feeds: list[Any], drafter: Drafter | None, limit: int
) -> None:
    model, prompts = trained_model("eva", "raw"), some_prompts(6, seed=4)
    found, _ = decoded(model, prompts, drafter, max_rows=1, max_new_bytes=limit)
    assert all(len(data) == limit or finish is Finish.END for data, finish in found)
    longest = 2 + max(map(len, prompts)) + limit - 1
    assert all(feed.position_ids.max() < longest for feed, _ in feeds)


def test_stop_strings_among_accepted_drafts() -> None:
    model, prompts = trained_model("eva", "raw"), some_prompts(20, seed=5)
    options: dict[str, Any] = {"max_new_bytes": 40, "stop": [b"rea", b" i", b"xyz"]}
    expected, _ = decoded(model, prompts, None, **options)
    assert {finish for _, finish in expected} >= {Finish.STOP}
    for drafter in DRAFTERS:
        found, _ = decoded(model, prompts, drafter, **options)
        assert near_ties(model, prompts, found, expected) <= 1


def test_log_probabilities_do_not_depend_on_the_drafts() -> None:
    model = trained_model("eva", "raw")
    entries = []
    for drafter in (None, Tree()):
        decoder = BatchDecoder(model, max_rows=1)
        options = generation_options(max_new_bytes=30, drafter=drafter)
        decoder.add(ByteRequest(prompt=b"self.", options=options, logprobs=2))
        deltas = []
        while decoder.active:
            deltas += decoder.step()
        assert all(len(delta.data) == len(delta.logprobs) for delta in deltas)
        entries.append([entry for delta in deltas for entry in delta.logprobs])
    for ours, theirs in zip(*entries, strict=True):
        assert ours.symbol == theirs.symbol
        assert ours.logprob == pytest.approx(theirs.logprob, abs=1e-4)


def test_a_model_of_one_head_writes_one_byte_per_pass() -> None:
    model = small_model(seed=3, prediction_heads=1)
    expected = decoded(model, [b"ab"], None, max_new_bytes=20)
    assert decoded(model, [b"ab"], Tree(), max_new_bytes=20) == expected


def test_byte_models_take_a_drafter() -> None:
    model = ByteModel(trained_model("eva", "raw"))
    prompt = b"return self"
    expected = model.generate(prompt, max_new_bytes=30)
    assert model.generate(prompt, max_new_bytes=30, drafter=Tree()) == expected
    pieces = list(model.stream(prompt, max_new_bytes=30, drafter=Chain()))
    assert b"".join(pieces) == expected
    assert max(map(len, pieces)) > 1
    assert model.generate_batch([prompt], max_new_bytes=30, drafter=Chain()) == [expected]


# The distribution: enumerated exactly, against the frequencies of many samples.

PROMPT = b"return self.width fo"
SAMPLING: dict[str, Any] = {"temperature": 1.1, "top_p": 0.9}
NEW_BYTES = 4
SAMPLES = 2000


def exact_distribution(model: LanguageModel) -> dict[bytes, float]:
    """Of every continuation of ``NEW_BYTES`` bytes (or fewer, where the text ends)."""
    prefix = prompt_symbols(PROMPT, sentinels=True).tolist()
    found: dict[bytes, float] = Counter()
    open_ = {b"": 1.0}
    for _ in range(NEW_BYTES):
        longer: dict[bytes, float] = {}
        for data, before in open_.items():
            logits = next_logits(model, [*prefix, *(value + RAW_OFFSET for value in data)])
            order, cumulative = nucleus(logits, **SAMPLING)
            parts = np.diff(cumulative, prepend=0.0) / cumulative[-1]
            for symbol, part in zip(order.tolist(), parts.tolist(), strict=True):
                if symbol < RAW_OFFSET:
                    found[data] += before * part
                else:
                    longer[data + bytes([symbol - RAW_OFFSET])] = before * part
        open_ = longer
    return found | open_


def chi_square_excess(counts: Counter[bytes], exact: dict[bytes, float]) -> float:
    """By how many standard deviations the statistic exceeds its mean (rare outcomes as one)."""
    common = [data for data, part in exact.items() if SAMPLES * part >= 8]
    expected = [SAMPLES * exact[data] for data in common]
    observed = [counts[data] for data in common]
    expected.append(SAMPLES - sum(expected))
    observed.append(SAMPLES - sum(observed))
    cells = [(o, e) for o, e in zip(observed, expected, strict=True) if e > 1e-6]
    assert len(cells) > 10
    statistic = sum((o - e) ** 2 / e for o, e in cells)
    freedom = len(cells) - 1
    return float((statistic - freedom) / np.sqrt(2 * freedom))


def sample_counts(model: LanguageModel, drafter: Drafter | None) -> Counter[bytes]:
    options = {"max_new_bytes": NEW_BYTES, "seed": 3, **SAMPLING}
    results, _ = decoded(model, [PROMPT] * SAMPLES, drafter, max_rows=100, **options)
    return Counter(data for data, _ in results)


@pytest.mark.parametrize("drafter", [Chain(least_probability=0), Tree(least_probability=0)])
def test_samples_have_exactly_the_distribution_of_head_0(
    feeds: list[Any], drafter: Drafter | None
) -> None:
    model = trained_model("eva", "raw")
    exact = exact_distribution(model)
    assert sum(exact.values()) == pytest.approx(1)
    counts = sample_counts(model, drafter)
    assert set(counts) <= set(exact)
    assert chi_square_excess(counts, exact) < 4
    accepted = sum(len(path) - 1 for _, paths in feeds for path in paths.values())
    assert accepted > SAMPLES / 4


def test_typical_acceptance_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Published EvaByte decoding takes every drafted byte that is probable enough."""
    model = trained_model("eva", "raw")
    choose = DecodingRow._choose

    def verify(row: DecodingRow, draft: Draft, logits: NDArray[np.float32]) -> list[int]:
        path = [0]
        while True:
            here = logits[path[-1]]
            likely = {
                symbol: index
                for (parent, symbol), index in draft.children.items()
                if parent == path[-1] and np.exp(here - here.max())[symbol] > 0.3
            }
            symbol = next(iter(likely), choose(row, here))
            monkeypatch.setattr(DecodingRow, "_choose", lambda *_, symbol=symbol: symbol)
            row.accept(here)
            if symbol not in likely or row.finish is not None:
                return path
            row.take(1)
            path.append(likely[symbol])

    monkeypatch.setattr(batch_decoder, "_verify", verify)
    counts = sample_counts(model, Chain(least_probability=0))
    assert chi_square_excess(counts, exact_distribution(model)) > 10


# The long forms.


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("attention", "heads"), [*MODELS, ("eva", "both"), ("causal", "raw"), ("eva", "one")]
)
def test_greedy_bytes_over_a_thousand_prompts(attention: str, heads: str) -> None:
    model, prompts = trained_model(attention, heads, steps=250), some_prompts(1200, seed=6)
    expected, passes = decoded(model, prompts, None, max_new_bytes=48)
    for drafter in DRAFTERS if heads != "one" else [Lookup()]:
        found, fewer = decoded(model, prompts, drafter, max_new_bytes=48)
        ties = near_ties(model, prompts, found, expected)
        print(f"{attention} {heads} {drafter!r}: {ties} of 1200 differ, all by near ties")
        assert ties <= 12
        assert fewer < 0.8 * passes


class EndlessRequest(ByteRequest):
    """One whose text the model cannot end."""

    def output(self, *, sentinels: bool) -> OutputFormat:
        output = OutputFormat(Format.RAW, sentinels, BYTE_COUNT)
        output.mask[: output.offset] = -np.inf
        return output


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("drafter", [None, Tree()])
def test_a_hundred_thousand_bytes_in_constant_memory_per_chunk(drafter: Drafter | None) -> None:
    model, new_bytes, chunk = trained_model("eva", "raw"), 100_000, 4
    decoder = BatchDecoder(model, max_rows=1)
    options = generation_options(max_new_bytes=new_bytes, temperature=0.5, seed=1, drafter=drafter)
    decoder.add(EndlessRequest(prompt=b"for", options=options))
    written, objects = 0, []
    while decoder.active:
        before = written // 10_000
        written += sum(len(delta.data) for delta in decoder.step())
        if decoder.active and written // 10_000 > before:
            objects.append(sys.getallocatedblocks())
            for layer in decoder._cache.layers:
                assert layer.buffer is not None
                assert layer.buffer.shape[3] <= 2 * written / chunk + 16 + 40
                assert layer.buffer.untyped_storage().nbytes() == layer.buffer.nbytes
    assert written == new_bytes
    assert len(objects) >= 8
    assert objects[-1] - objects[1] < 2_000, "nothing else may grow"
