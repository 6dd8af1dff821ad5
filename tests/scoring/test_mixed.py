"""Mixed reading lies as training lays pieces, and gives what one whole forward by hand gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mixed_reference import TEXT, bits_after, compressor_of_kind, laid_by_hand, model_over
from proxylm.compressors.contract import CannotCompress
from proxylm.compressors.registry import load_compressor
from proxylm.data.batches import batches
from proxylm.data.mixture import Mixture
from proxylm.data.preparing import prepare
from proxylm.errors import UsageError
from proxylm.evaluation.likelihood import Scorer
from proxylm.scoring.mixed import MixedText
from proxylm.scoring.read_as import PromptEnd, ReadAs
from proxylm.scoring.readings import MixedReading
from proxylm.scoring.score import score
from proxylm.symbols import BOS, COMPRESSED_OFFSET, COMPRESSED_OPEN, RAW_OPEN

RAW = TEXT.encode()


@pytest.mark.parametrize("sentinels", [True, False])
def test_prompts_lie_as_pieces_of_documents_in_training(sentinels: bool) -> None:
    compressor = compressor_of_kind("units")  # each of its anchors is a settled place
    documents = [b"%d" % number + RAW * 2 for number in range(24)]
    store = prepare(documents, {"units": compressor}, held_out_fraction=0)
    mixture = Mixture.pieces(rate=0.6).model_copy(update={"sentinels": sentinels})
    [*made] = batches(store, mixture, context=512, contexts_per_step=4, steps=8)
    reading, compared = MixedReading(compressor, sentinels=sentinels), 0
    begun = {document: reading.mixed(document) for document in documents}
    for ids in np.concatenate([batch.inputs for batch in made]):
        for start in np.flatnonzero(ids == BOS).tolist():
            compared += any(
                lies_as_shown(mixed, ids[start:], 1 + sentinels) for mixed in begun.values()
            )
    assert compared >= 3


def lies_as_shown(mixed: MixedText, shown: Any, first: int) -> bool:
    """Whether training shows this document, symbols first; then it has to be read as shown."""
    symbols = shown[first:].tolist()
    count = next((n for n, one in enumerate(symbols) if one < COMPRESSED_OFFSET), len(symbols))
    places = mixed.places[mixed.places[:, 1] == count]
    is_this = symbols[:count] == mixed.symbols[:count].tolist()
    if not count or not len(places) or not is_this:
        return False
    prefix, covered = mixed.opened(int(places[0, 2]))
    laid = np.concatenate([prefix, mixed.raw[covered:]])[: len(prefix) + 30]
    return len(shown) >= len(laid) and shown[: len(laid)].tolist() == laid.tolist()


@pytest.mark.parametrize(
    ("kind", "attention", "sentinels"),
    [
        ("bpe", "eva", True),
        ("bpe", "eva", False),
        ("bpe", "causal", True),
        ("bpe", "causal", False),
        ("units", "causal", False),
        ("lines", "eva", True),
    ],
)
def test_every_byte_is_scored_once_given_everything_before_its_stretch(
    kind: str, attention: str, sentinels: bool
) -> None:
    compressor = compressor_of_kind(kind)
    model = model_over(compressor, attention, sentinels=sentinels)
    documents = [RAW, b"x", RAW[:70]]
    found = score(model, documents, MixedReading(compressor, sentinels=sentinels), stride=50)
    assert found.num_symbols.tolist() == list(map(len, documents))
    for document, ours in zip(documents, found.per_byte, strict=True):
        parts = [
            bits_after(
                model,
                laid_by_hand(compressor, document[:start], sentinels=sentinels),
                document[start : start + 50],
            )
            for start in range(0, len(document), 50)
        ]
        np.testing.assert_allclose(ours, np.concatenate(parts), rtol=1e-4, atol=1e-4)


def test_a_softmax_by_format_is_over_bytes() -> None:
    compressor = compressor_of_kind("bpe")
    model = model_over(compressor)
    model.config = model.config.model_copy(update={"softmax": "by_format"})
    [ours] = score(model, [RAW[:200]], MixedReading(compressor), stride=100).per_byte
    theirs = bits_after(model, laid_by_hand(compressor, RAW[:100], sentinels=True), RAW[100:200])
    np.testing.assert_allclose(ours[100:], theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sentinels", [True, False])
@pytest.mark.parametrize("context", [40, 64, 100])
def test_what_does_not_fit_is_left_out_at_the_beginning(sentinels: bool, context: int) -> None:
    compressor = compressor_of_kind("bpe")
    mixed = MixedReading(compressor, sentinels=sentinels).mixed(RAW)
    shown = 0
    for sequence in mixed.stretches(0, stride=30, context=context):
        scored = sequence.content[sequence.first_scored :]
        assert scored.tolist() == mixed.raw[shown : shown + 30].tolist()
        start, shown = shown, shown + len(scored)
        assert len(sequence.prefix) + len(sequence.content) - 1 <= context
        whole, covered = mixed.opened(start)
        fits = len(whole) + shown - covered - 1 <= context
        assert fits == (len(sequence.prefix) == len(whole))
        # As much of its end as there is room for; all of the context is used.
        opened = 1 + sentinels
        tail = sequence.prefix[opened:].tolist()
        assert whole[len(whole) - len(tail) :].tolist() == tail
        first = whole[:opened] if tail else np.array([BOS, RAW_OPEN])[:opened]
        assert sequence.prefix[:opened].tolist() == first.tolist()
        assert fits or len(sequence.prefix) + len(sequence.content) - 1 >= context - 2
    assert shown == len(RAW)
    for stride in (0, context + 1):
        with pytest.raises(UsageError, match="stride: must be between 1 and"):
            list(mixed.stretches(0, stride=stride, context=context))


@pytest.mark.parametrize("end", [PromptEnd.KEEP, PromptEnd.STRIP])
def test_continuations_are_scored_as_they_would_be_generated(end: PromptEnd) -> None:
    compressor = compressor_of_kind("bpe")
    model = model_over(compressor)
    prompts, answers = [RAW[:100], RAW[:101], b""], [RAW[100:160], b" pass\n", b"import"]
    scorer = Scorer(model, MixedReading(compressor), end)
    bits = scorer.bits(prompts, answers)
    for prompt, answer, ours in zip(prompts, answers, bits, strict=True):
        read = prompt.rstrip() if end is PromptEnd.STRIP else prompt
        ids = laid_by_hand(compressor, read, sentinels=True)
        theirs = bits_after(model, ids, prompt[len(read) :] + answer).sum()
        assert ours == pytest.approx(theirs, rel=1e-4)
    same, greedy = scorer.bits_and_greediness(prompts, answers)
    assert same.tolist() == bits.tolist() and not greedy.any()


def test_a_long_continuation_goes_on_after_symbols_of_all_before() -> None:
    compressor = compressor_of_kind("bpe")
    model = model_over(compressor, context=64)
    [bits] = Scorer(model, MixedReading(compressor)).bits([RAW[:20]], [RAW[20:90]])
    first, second, third = RAW[20:52], RAW[52:84], RAW[84:90]
    theirs = sum(
        bits_after(model, laid_by_hand(compressor, before, sentinels=True), part).sum()
        for before, part in ((RAW[:20], first), (RAW[:52], second), (RAW[:84], third))
    )
    assert bits == pytest.approx(theirs, rel=1e-4)


def test_text_without_a_compressed_form_is_read_as_bytes() -> None:
    compressor = compressor_of_kind("bpe")
    reading = MixedReading(compressor)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(compressor, "encode", lambda _: [CannotCompress(reason="not_exact")])
        prefix, covered = reading.opened(RAW)
    assert (prefix.tolist(), covered) == ([BOS, RAW_OPEN], 0)
    assert reading.opened(RAW)[0].tolist()[:2] == [BOS, COMPRESSED_OPEN]


def test_what_cannot_be_read_mixed_is_said_in_one_line() -> None:
    with pytest.raises(UsageError, match="symbols of 'gzip' are never certain before a text"):
        MixedReading(load_compressor("gzip"))
    for end in (PromptEnd.HEAL, PromptEnd.EXACT):
        with pytest.raises(UsageError, match=f"--prompt-end {end} is about tokens"):
            ReadAs(read_as="mixed", prompt_end=end)
    with pytest.raises(UsageError, match="read as mixed: this needs the model's compressor"):
        score(model_over(compressor_of_kind("bpe")), [b"x"], "mixed")
