"""What a text says of its next byte, beside the definition in dictionaries; drafts made of it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from proxylm.generation.drafts import Lookup
from proxylm.generation.lookup import seen_text
from proxylm.generation.lookup.kernels import (
    ESCAPE,
    LOOKS,
    NEGLIGIBLE,
    OCCURRENCES,
    ORDERS,
    predict,
)
from proxylm.generation.lookup.seen_text import FIRST_SHARE, FORGETTING, SeenText
from proxylm.symbols import RAW_OFFSET
from trained_models import source_text

NO_HEADS = np.empty((0, 256), dtype=np.float32)


def predicted(text: bytes) -> dict[int, float]:
    """Prediction by partial matching, by the definition."""
    found, left = dict.fromkeys(range(256), 0.0), 1.0
    for order in ORDERS:
        if order > len(text):
            continue
        context = text[len(text) - order :]
        places = [p for p in range(order, len(text)) if text[p - order : p] == context]
        counts = Counter(text[p] for p in places[-OCCURRENCES:])
        if not counts:
            continue
        weight = left / (counts.total() + ESCAPE * len(counts))
        for value, count in counts.items():
            found[value] += weight * count
        left = weight * ESCAPE * len(counts)
        if left < NEGLIGIBLE:
            break
    return found


def kernel_predicted(seen: SeenText) -> np.ndarray:
    out = np.empty(256)
    predict(seen._text, seen._end, seen._newest, seen._earlier, out)
    return out


@pytest.mark.parametrize("length", [0, 1, 5, 300, 1500])
def test_predictions_are_those_of_the_definition(length: int) -> None:
    text = source_text()[:length]
    seen = SeenText(text[: length // 2])
    for value in text[length // 2 :]:
        seen.append(value)
    expected = predicted(text)
    assert kernel_predicted(seen) == pytest.approx([expected[b] for b in range(256)])


def test_drafts_are_the_most_probable_bytes() -> None:
    text = source_text()[:700]
    values, parents = SeenText(text).draft(NO_HEADS, depth=5, nodes=12, least_probability=0.05)
    paths: list[bytes] = [b""]
    reached = [1.0]
    for value, parent in zip(values.tolist(), parents.tolist(), strict=True):
        reached.append(reached[parent] * predicted(text + paths[parent])[value])
        paths.append(paths[parent] + bytes([value]))
    assert len(set(paths)) == len(paths) > 6
    assert max(map(len, paths)) == 5
    assert reached[1:] == sorted(reached[1:], reverse=True)
    assert min(reached) >= 0.05
    first = predicted(text)
    assert values[0] == max(first, key=lambda value: first[value])


def test_heads_have_a_say_that_grows_while_they_are_right() -> None:
    text, heads = SeenText(b"abcabcab"), np.zeros((1, 256), dtype=np.float32)
    heads[0, ord("x")] = 1.0
    bounds = {"depth": 1, "nodes": 3, "least_probability": 0.05}
    values, parents = text.draft(heads, **bounds)
    assert bytes(values.tolist()) == b"cx"  # the text has seen a c
    assert parents.tolist() == [0, 0]
    for value in b"xx":  # the text has not seen an x after ab, nor after abx
        text.append(value)
        text.draft(heads, **bounds)
    text.append(ord("c"))
    values, _ = text.draft(heads, **bounds)
    assert values[0] == ord("x")


def test_each_head_has_the_say_that_it_deserves() -> None:
    text, heads = SeenText(b"abcabcab"), np.zeros((2, 256), dtype=np.float32)
    heads[0, ord("y")] = heads[1, ord("x")] = 1.0
    for _ in range(50):
        text.draft(heads, depth=1, nodes=1, least_probability=0.05)
        text.append(ord("c"))
        text.append(ord("x"))
    wrong, right = text._shares
    assert wrong < FIRST_SHARE < right
    assert right <= 1 - FORGETTING * (1 - FIRST_SHARE), "nobody is sure for ever"


def test_a_long_text_is_forgotten_from_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_text, "FIRST_CAPACITY", 64)
    monkeypatch.setattr(seen_text, "KEPT_BYTES", 128)
    text = source_text()[:1000]
    seen = SeenText(text[:300])
    for value in text[300:]:
        seen.append(value)
    assert seen._capacity == 256
    kept = text[-seen._end :]
    assert 128 <= len(kept) <= 256
    expected = predicted(kept)
    assert kernel_predicted(seen) == pytest.approx([expected[b] for b in range(256)])


def test_no_more_than_so_many_places_of_a_hash_are_looked_at() -> None:
    """All places have one hash here, and only the first has the context, one byte."""
    for between, found in ((LOOKS - 1, 1 / (1 + ESCAPE)), (LOOKS, 0)):
        text = np.array([*b"q", *b"x" * between, *b"q"], dtype=np.uint8)
        newest = np.full((len(ORDERS), 1), len(text) - 1, dtype=np.int32)
        earlier = np.arange(-1, len(text) - 1, dtype=np.int32)[:, None].repeat(len(ORDERS), axis=1)
        out = np.empty(256)
        predict(text, len(text), newest, earlier, out)
        assert out[ord("x")] == pytest.approx(found)


def test_the_drafter_keeps_to_its_bounds() -> None:
    row = Lookup(nodes=3, depth=4, least_probability=0).start(b"one two one two one tw")
    draft = row.draft(NO_HEADS, depth=9, window_depth=9)
    assert len(draft.symbols) == 3
    assert draft.symbols[0] == RAW_OFFSET + ord("o")
    assert len(row.draft(NO_HEADS, depth=9, window_depth=0).symbols) == 0
    assert len(row.draft(NO_HEADS, depth=-1, window_depth=9).symbols) == 0
    row.append(ord("o"))
    assert row.draft(NO_HEADS, depth=9, window_depth=9).symbols[0] == RAW_OFFSET + ord(" ")
