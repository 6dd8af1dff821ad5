"""Packed contexts as the page shows them: the batch's symbols, and the mask's reach."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from proxylm.data.batches import batches
from proxylm.data.mixture import READY_MIXTURES
from proxylm.data.sources import Source
from proxylm.errors import DataError, UsageError
from proxylm.inspector.context_views import CONTEXTS_PER_STEP, STEPS, PackedContexts, reach
from proxylm.models.masks import dense_mask
from proxylm.symbols import IGNORED_TARGET
from small_models import ATTENTIONS

ASKED = {"view": None, "mixture": "pieces", "step": 3, "number": 2, "context": 512}


def test_a_context_is_the_batchs(holdings):
    store = holdings.store("store")
    shown = PackedContexts().context(store, attention=None, **ASKED)
    drawn = batches(
        Source(store, None),
        READY_MIXTURES["pieces"](),
        context=512,
        contexts_per_step=CONTEXTS_PER_STEP,
        steps=STEPS,
    )
    batch = drawn.batch(3, first=2, count=1)
    assert shown["segment_ids"] == batch.segment_ids[0].tolist()
    assert shown["position_ids"] == batch.position_ids[0].tolist()
    assert shown["masked"] == (batch.targets[0, :, 0] == IGNORED_TARGET).tolist()
    assert shown["statistics"] == drawn.statistics(3).to_json()
    spelled = b"".join(one or b"" for _, _, one in shown["symbols"])
    text = "".join(span["text"] for span in shown["spans"])
    assert spelled.decode() == text and len(text) > 64
    kinds = {kind for kind, _, _ in shown["symbols"]}
    assert kinds == {"special", "byte", "symbol"}


@pytest.mark.parametrize("kind", ["eva", "causal", None])
def test_reach_is_the_mask(kind):
    attention = ATTENTIONS[kind or "causal"]
    segment_ids = np.repeat([0, 1, 2], [21, 4, 30]).astype(np.int32)
    mask = dense_mask(torch.from_numpy(segment_ids.astype(np.int64))[None], attention)[0].numpy()
    count = mask.shape[1] - len(segment_ids)
    found = reach(ATTENTIONS[kind] if kind else None, segment_ids)
    for row, (first, start, stop) in zip(mask, found.tolist(), strict=True):
        position = int(np.flatnonzero(row[count:])[-1])
        expected = np.zeros(len(row), dtype=bool)
        expected[count + first : count + position + 1] = True
        expected[start:stop] = True
        assert (row == expected).all()


def test_wrong_questions_are_one_line(holdings):
    contexts, store = PackedContexts(), holdings.store("store")
    with pytest.raises(UsageError, match="mixture 'x': must be one of paper, pieces"):
        contexts.context(store, attention=None, **ASKED | {"mixture": "x"})
    with pytest.raises(DataError, match="no view 'nothing'"):
        contexts.context(store, attention=None, **ASKED | {"view": "nothing"})
