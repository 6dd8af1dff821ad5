"""Continuous batching: rows come and go, with options of their own, and give what they do alone."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
import torch

from proxylm.generation.batch_decoder import BatchDecoder
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.decoding_row import ByteDelta, Finish
from proxylm.generation.logprobs import byte_logprobs
from proxylm.generation.options import generation_options
from proxylm.generation.output_format import OutputFormat
from proxylm.generation.request import ByteRequest, prompt_symbols
from proxylm.symbols import BYTE_COUNT, EOS, RAW_CLOSE, RAW_OFFSET, Format
from small_models import ATTENTIONS, small_model

REQUESTS = [
    ByteRequest(prompt=prompt, options=generation_options(**options), sample=sample)
    for sample, (prompt, options) in enumerate(
        [
            (b"def area(radius):\n", {"max_new_bytes": 30}),
            (b"", {"max_new_bytes": 45, "temperature": 0.8, "seed": 5}),
            (b"x" * 90, {"max_new_bytes": 7, "top_p": 0.5, "temperature": 1.2}),
            (b"a", {"max_new_bytes": 0}),
            (b"import os\n" * 5, {"max_new_bytes": 60}),
            (b"\x00\xff", {"max_new_bytes": 20, "temperature": 2.0}),
        ]
    )
]


@pytest.fixture(scope="module", params=list(ATTENTIONS))
def model(request: pytest.FixtureRequest) -> ByteModel:
    return ByteModel(small_model(seed=3, attention=ATTENTIONS[request.param]))


def joined(deltas: list[ByteDelta]) -> dict[int, tuple[bytes, Finish]]:
    parts: dict[int, list[ByteDelta]] = defaultdict(list)
    for delta in deltas:
        parts[delta.handle].append(delta)
    for ours in parts.values():
        assert [delta.finish is not None for delta in ours] == [False] * (len(ours) - 1) + [True]
        assert all(delta.data for delta in ours[:-1])
    return {
        handle: (b"".join(delta.data for delta in ours), ours[-1].finish)
        for handle, ours in parts.items()
        if ours[-1].finish is not None
    }


def alone(model: ByteModel, request: ByteRequest) -> tuple[bytes, Finish]:
    [completion] = model.complete([request.prompt], request.options, samples=[request.sample])
    return completion.data, completion.finish


@pytest.mark.parametrize("max_rows", [1, 2, 6])
def test_rows_that_come_one_by_one_give_what_they_give_alone(
    model: ByteModel, max_rows: int
) -> None:
    decoder = BatchDecoder(model.module, max_rows=max_rows)
    waiting, deltas, passes = list(REQUESTS), [], 0
    while waiting or decoder.active:
        if waiting and decoder.free_rows and passes % 4 == 0:
            assert decoder.add(waiting.pop(0)) == len(REQUESTS) - len(waiting) - 1
        passes += 1
        deltas += decoder.step()
    assert joined(deltas) == {i: alone(model, request) for i, request in enumerate(REQUESTS)}
    assert decoder.free_rows == max_rows


def test_a_cancelled_row_says_nothing_more_and_leaves_its_place(model: ByteModel) -> None:
    decoder = BatchDecoder(model.module, max_rows=2)
    kept, dropped = decoder.add(REQUESTS[4]), decoder.add(REQUESTS[0])
    deltas = [delta for _ in range(5) for delta in decoder.step()]
    decoder.cancel(dropped)
    assert (decoder.active, decoder.free_rows) == (1, 1)
    later = decoder.add(REQUESTS[1])
    after = []
    while decoder.active:
        after += decoder.step()
    assert dropped not in {delta.handle for delta in after}
    found = joined([delta for delta in deltas + after if delta.handle != dropped])
    assert found == {kept: alone(model, REQUESTS[4]), later: alone(model, REQUESTS[1])}
    decoder.cancel(dropped)  # again, and after its end: nothing happens
    decoder.cancel(kept)
    assert decoder.step() == []


def test_memory_goes_back_when_nobody_is_left(model: ByteModel) -> None:
    decoder = BatchDecoder(model.module, max_rows=4)
    handles = [decoder.add(request) for request in REQUESTS[:3]]
    decoder.step()
    assert decoder._cache.batch_size >= 3
    for handle in handles:
        decoder.cancel(handle)
    assert decoder._cache.batch_size == 0


@pytest.mark.parametrize("stop", [(), (b"never\x00there", b"\x01")])
def test_log_probabilities_are_those_of_head_0_at_temperature_1(
    model: ByteModel, stop: tuple[bytes, ...]
) -> None:
    decoder = BatchDecoder(model.module, max_rows=1)
    options = generation_options(max_new_bytes=25, temperature=1.3, top_p=0.9, seed=2, stop=stop)
    decoder.add(ByteRequest(prompt=b"ab", options=options, logprobs=3))
    deltas = []
    while decoder.active:
        deltas += decoder.step()
    data = b"".join(delta.data for delta in deltas)
    logprobs = [entry for delta in deltas for entry in delta.logprobs]
    assert [len(delta.data) for delta in deltas] == [len(delta.logprobs) for delta in deltas]
    assert bytes(entry.symbol - RAW_OFFSET for entry in logprobs) == data
    assert len(data) > 5
    ids = torch.from_numpy(prompt_symbols(b"ab" + data, sentinels=True))[None]
    mask = torch.from_numpy(OutputFormat(Format.RAW, True, BYTE_COUNT).mask)
    logits = model.logits(ids)[0, :, 0, : RAW_OFFSET + 256] + mask
    expected = torch.log_softmax(logits.double(), dim=-1)[3 : 3 + len(data)]
    for position, entry in enumerate(logprobs):
        assert entry.logprob == pytest.approx(float(expected[position, entry.symbol]), abs=1e-3)
        best = expected[position].topk(3)
        assert [symbol for symbol, _ in entry.alternatives] == best.indices.tolist()
        values = [value for _, value in entry.alternatives]
        assert values == pytest.approx(best.values.tolist(), abs=1e-3)


def test_bytes_of_a_stop_string_take_their_log_probabilities_along(model: ByteModel) -> None:
    free = model.generate(b"ab", max_new_bytes=25)
    decoder = BatchDecoder(model.module, max_rows=1)
    options = generation_options(max_new_bytes=25, stop=[free[8:11]])
    decoder.add(ByteRequest(prompt=b"ab", options=options, logprobs=0))
    deltas = []
    while decoder.active:
        deltas += decoder.step()
    [(data, finish)] = joined(deltas).values()
    assert finish is Finish.STOP
    assert data == free[: free.index(free[8:11])]
    assert sum(len(delta.logprobs) for delta in deltas) == len(data)
    assert all(entry.alternatives == () for delta in deltas for entry in delta.logprobs)


def test_byte_logprobs_leave_out_what_cannot_follow() -> None:
    for sentinels, count in ((True, 258), (False, 257)):
        logits = OutputFormat(Format.RAW, sentinels, BYTE_COUNT).mask
        entry = byte_logprobs(logits, EOS, alternatives=2)
        assert entry.logprob == pytest.approx(-np.log(count))
        assert entry.alternatives[0][0] == EOS
    closed = byte_logprobs(logits, RAW_CLOSE, alternatives=0)
    assert closed.logprob == -np.inf
