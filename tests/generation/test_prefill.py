"""Long prompts beside rows that write: in pieces that cost what writing costs."""

from __future__ import annotations

from proxylm.generation.batch_decoder import BatchDecoder
from proxylm.generation.options import generation_options
from proxylm.generation.prefill import PREFILL_SYMBOLS, PrefillPace, Room
from proxylm.generation.request import ByteRequest
from small_models import endless, small_model

LONG = b"a long prompt that goes on " * 30


class SteadyPace(PrefillPace):
    """On a machine that reads 33 symbols in the time of a pass, however busy this one is."""

    def observe(self, seconds: float, *, read: int, writing: bool) -> None:
        super().observe(0.01 + 0.0003 * read, read=read, writing=writing)


def test_a_pass_settles_at_less_than_twice_of_one_that_only_writes() -> None:
    # 100 and 3.3 symbols cost what a pass of writing does
    for per_symbol, fewest in ((0.0001, 60), (0.003, 4)):
        pace, taken = PrefillPace(), []
        for _ in range(200):
            room = pace.room(writing=True)
            read = room.take(5000)
            taken.append(read)
            pace.observe(0.01 + per_symbol * read, read=read, writing=True)
        assert taken[0] == 0, "what a pass takes without"
        read_some = [read for read in taken[100:] if read]
        assert 95 <= len(read_some) < 100, "but for a look now and then"
        added = [read * per_symbol / 0.01 for read in read_some]
        assert max(added) <= 1.3, "the fewest symbols are read whatever they cost"
        assert min(read_some) >= fewest


def test_nobody_waits_for_a_prompt_that_is_alone() -> None:
    assert PrefillPace().room(writing=False).take(5000) == PREFILL_SYMBOLS


def test_short_prompts_are_read_at_once_from_what_was_saved() -> None:
    room = Room(10, 50)
    assert [room.take(length) for length in (30, 30, 20, 8, 8)] == [30, 10, 20, 0, 0]


def test_what_passes_leave_unread_is_saved() -> None:
    pace = PrefillPace()
    most = pace.room(writing=True).whole
    pace.observe(0.01, read=most, writing=True)
    left = pace.room(writing=True).whole
    pace.observe(0.01, read=0, writing=True)
    assert left < pace.room(writing=True).whole < most
    for _ in range(100):
        pace.observe(0.01, read=0, writing=True)
    assert pace.room(writing=True).whole == most


def test_others_write_in_every_pass_while_a_long_prompt_is_read_and_all_is_the_same() -> None:
    model = endless(small_model(seed=3, context=1024))
    options = generation_options(max_new_bytes=60)
    requests = [ByteRequest(prompt=prompt, options=options) for prompt in (b"one", b"two", LONG)]

    def texts(decoder: BatchDecoder) -> tuple[list[bytes], int]:
        found, together = [b"", b"", b""], 0
        for request in requests[:2]:
            decoder.add(request)
        for step in range(1000):
            if step == 2:
                decoder.add(requests[2])
            deltas = decoder.step()
            for delta in deltas:
                found[delta.handle] += delta.data
            together += 10 < len(found[0]) < 60 and not found[2]
            if not decoder.active and step > 2:
                break
        return found, together

    paced, while_reading = texts(BatchDecoder(model, max_rows=3, pace=SteadyPace()))
    at_once, never = texts(BatchDecoder(model, max_rows=3))
    assert paced == at_once
    assert while_reading > 5 and never == 0
