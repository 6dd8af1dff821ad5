"""A prompt's log-probabilities, as it is read, beside the model's logits of the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from proxylm.errors import CheckpointError, UsageError
from proxylm.generation import batch_decoder
from proxylm.generation.batch_decoder import BatchDecoder
from proxylm.generation.decoding import decode
from proxylm.generation.decoding_row import ByteDelta, Finish
from proxylm.generation.drafts import Tree
from proxylm.generation.logprobs import ByteLogprobs
from proxylm.generation.options import generation_options
from proxylm.generation.request import ByteRequest, prompt_symbols
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import BYTE_COUNT, EOS, RAW_CLOSE, RAW_OFFSET
from small_models import ATTENTIONS, small_model

MAY_FOLLOW = [EOS, RAW_CLOSE, *range(RAW_OFFSET, RAW_OFFSET + BYTE_COUNT)]
PROMPT = np.random.default_rng(0).integers(0, 256, 300, dtype=np.uint8).tobytes()


def scoring(prompt: bytes, *, new_bytes: int = 0, alternatives: int = 3) -> ByteRequest:
    options = generation_options(max_new_bytes=new_bytes, drafter=Tree())
    return ByteRequest(prompt=prompt, options=options, logprobs=alternatives, score_prompt=True)


def split(deltas: list[ByteDelta]) -> tuple[list[ByteDelta], list[ByteDelta]]:
    """The prompt's, which come first, and the others."""
    count = sum(delta.of_prompt for delta in deltas)
    assert all(delta.of_prompt and delta.finish is None for delta in deltas[:count])
    assert deltas[-1].finish is not None
    return deltas[:count], deltas[count:]


def entries(deltas: list[ByteDelta]) -> list[ByteLogprobs]:
    return [entry for delta in deltas for entry in delta.logprobs]


def assert_parallel(model: LanguageModel, data: bytes, found: list[ByteLogprobs]) -> None:
    """They are those of one pass over the whole."""
    assert bytes(entry.symbol - RAW_OFFSET for entry in found) == data
    ids = torch.from_numpy(prompt_symbols(data, sentinels=True))[None]
    with torch.inference_mode():
        logits = model.logits(ids)[0, :, 0]
    kept = torch.full_like(logits, -torch.inf)
    kept[:, MAY_FOLLOW] = logits[:, MAY_FOLLOW]
    reference = torch.log_softmax(kept.double(), dim=-1)[1:-1]
    for entry, row in zip(found, reference, strict=True):
        assert entry.logprob == pytest.approx(float(row[entry.symbol]), abs=2e-4)
        best = torch.topk(row, 3).values.tolist()
        assert [value for _, value in entry.alternatives] == pytest.approx(best, abs=2e-4)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize(("stretch", "new_bytes"), [(2048, 0), (64, 0), (7, 9), (301, 9), (302, 9)])
def test_entries_are_the_parallel_forms(
    monkeypatch: pytest.MonkeyPatch, attention: str, stretch: int, new_bytes: int
) -> None:
    monkeypatch.setattr(batch_decoder, "PREFILL_SYMBOLS", stretch)
    model = small_model(seed=1, attention=ATTENTIONS[attention], sharpness=5.0)
    deltas = list(decode(model, [scoring(PROMPT, new_bytes=new_bytes)]))
    ours, others = split(deltas)
    assert b"".join(delta.data for delta in ours) == PROMPT
    assert max(len(delta.data) for delta in ours) <= stretch
    new = b"".join(delta.data for delta in others)
    assert_parallel(model, PROMPT + new, entries(deltas))
    [unscored] = decode_bytes(model, PROMPT, new_bytes)
    assert new == unscored


def decode_bytes(model: LanguageModel, prompt: bytes, new_bytes: int) -> list[bytes]:
    request = ByteRequest(prompt=prompt, options=generation_options(max_new_bytes=new_bytes))
    return [b"".join(delta.data for delta in decode(model, [request]))]


def test_rows_that_score_and_rows_that_do_not_share_passes() -> None:
    model, decoder = small_model(seed=1), BatchDecoder(small_model(seed=1), max_rows=3)
    plain = ByteRequest(prompt=b"ab", options=generation_options(max_new_bytes=20))
    requests = [scoring(PROMPT, new_bytes=8), plain, scoring(b"xyz", alternatives=0)]
    for request in requests:
        decoder.add(request)
    together: list[list[ByteDelta]] = [[] for _ in requests]
    while decoder.active:
        for delta in decoder.step():
            together[delta.handle].append(delta)
    for request, found in zip(requests, together, strict=True):
        alone = list(decode(model, [request]))
        assert b"".join(d.data for d in found) == b"".join(d.data for d in alone)
        assert [entry.logprob for entry in entries(found)] == pytest.approx(
            [entry.logprob for entry in entries(alone)], abs=1e-4
        )


def test_the_empty_prompt_has_no_entries() -> None:
    [delta] = decode(small_model(), [scoring(b"")])
    assert (delta.data, delta.logprobs, delta.finish) == (b"", (), Finish.LIMIT)


def test_weights_that_are_no_numbers_are_an_error_and_no_score() -> None:
    model = small_model()
    model.lm_head.weight.data.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not a number"):
        list(decode(model, [scoring(b"ab")]))


def test_a_decoder_whose_rows_are_taken_says_so() -> None:
    decoder = BatchDecoder(small_model(), max_rows=1)
    decoder.add(scoring(b"ab"))
    with pytest.raises(UsageError, match="all 1 rows are taken"):
        decoder.add(scoring(b"ab"))


def test_without_sentinels_the_first_byte_follows_the_beginning() -> None:
    deltas = list(decode(small_model(sentinels=False), [scoring(b"ab", alternatives=1)]))
    found = entries(deltas)
    assert [entry.symbol - RAW_OFFSET for entry in found] == list(b"ab")
    assert all(entry.alternatives[0][0] != RAW_CLOSE for entry in found)
