"""Decoding beside the definition: one full forward pass per byte, no cache, no batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from proxylm.config import Config, validate_config
from proxylm.errors import CheckpointError, UsageError
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.decoding_row import Finish
from proxylm.generation.options import GenerationOptions, SymbolOptions, generation_options
from proxylm.generation.request import prompt_symbols
from proxylm.generation.sampling import draw, uniform
from proxylm.symbols import BOS, COMPRESSED_OFFSET, EOS, RAW_CLOSE, RAW_OFFSET, RAW_OPEN, UNK
from small_models import ATTENTIONS, small_model

PROMPTS = [b"", b"def area(radius):\n", b"x" * 50, b"\x00\xff", b"the cat sat on the mat " * 3]


@pytest.fixture(scope="module", params=list(ATTENTIONS))
def model(request: pytest.FixtureRequest) -> ByteModel:
    return ByteModel(small_model(seed=3, attention=ATTENTIONS[request.param]))


def plain_generate(
    model: ByteModel,
    prompt: bytes,
    max_new_bytes: int,
    *,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    sample: int = 0,
    prefix: tuple[int, ...] = (BOS, RAW_OPEN),
) -> bytes:
    """The definition of section 7, by whole forward passes."""
    ids = [*prefix, *(value + RAW_OFFSET for value in prompt)]
    allowed = [EOS, RAW_CLOSE, *range(RAW_OFFSET, RAW_OFFSET + 256)]
    new = bytearray()
    while len(new) < max_new_bytes:
        logits = model.logits(torch.tensor([ids]))[0, -1, 0].numpy()
        masked = np.full(RAW_OFFSET + 256, -np.inf, np.float32)
        masked[allowed] = logits[allowed]
        if temperature:
            symbol = draw(masked, temperature, top_p, uniform(seed, sample, len(new)))
        else:
            symbol = int(masked.argmax())
        if symbol < RAW_OFFSET:
            break
        ids.append(symbol)
        new.append(symbol - RAW_OFFSET)
    return bytes(new)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_greedy_equals_whole_forward_passes(model: ByteModel, prompt: bytes) -> None:
    expected = plain_generate(model, prompt, 40)
    assert model.generate(prompt, max_new_bytes=40) == expected


def test_ragged_batches_give_what_each_row_gives_alone(model: ByteModel) -> None:
    alone = [model.generate(prompt, max_new_bytes=50) for prompt in PROMPTS]
    assert model.generate_batch(PROMPTS, max_new_bytes=50) == alone
    assert len({len(row) for row in alone}) > 1, "rows should end at different times here"


def test_sampled_rows_do_not_depend_on_their_company(model: ByteModel) -> None:
    sampling: dict[str, Any] = {"temperature": 0.9, "top_p": 0.95, "seed": 11}
    options = generation_options(max_new_bytes=30, **sampling)
    batch = model.complete(PROMPTS, options, samples=[4, 3, 2, 1, 0])
    for prompt, sample, row in zip(PROMPTS, [4, 3, 2, 1, 0], batch, strict=True):
        [alone] = model.complete([prompt], options, samples=[sample])
        assert row == alone
        assert row.data == plain_generate(model, prompt, 30, sample=sample, **sampling)


def test_seeds_and_samples_make_the_difference(model: ByteModel) -> None:
    prompt, options = b"import ", {"max_new_bytes": 24, "temperature": 1.5}
    first = model.generate(prompt, seed=1, **options)
    assert model.generate(prompt, seed=1, **options) == first
    assert model.generate(prompt, seed=2, **options) != first
    rows = model.generate_batch([prompt] * 4, seed=1, **options)
    assert rows[0] == first
    assert len(set(rows)) == 4


def test_more_prompts_than_are_decoded_together(
    model: ByteModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = model.generate_batch(PROMPTS, max_new_bytes=12)
    monkeypatch.setattr("proxylm.generation.decoding.ROWS_TOGETHER", 2)
    assert model.generate_batch(PROMPTS, max_new_bytes=12) == whole


def test_a_long_prompt_is_fed_in_bounded_stretches(
    model: ByteModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = model.generate(PROMPTS[4], max_new_bytes=20)
    monkeypatch.setattr("proxylm.generation.batch_decoder.PREFILL_SYMBOLS", 7)
    assert model.generate(PROMPTS[4], max_new_bytes=20) == whole


def test_streaming_equals_generate_and_pieces_are_never_empty(model: ByteModel) -> None:
    for prompt in PROMPTS:
        pieces = list(model.stream(prompt, max_new_bytes=40))
        assert all(pieces)
        assert b"".join(pieces) == model.generate(prompt, max_new_bytes=40)


def test_stop_strings_cut_what_would_have_been_generated(model: ByteModel) -> None:
    prompt = PROMPTS[1]
    unstopped = model.generate(prompt, max_new_bytes=40)
    for start, length in [(0, 1), (3, 2), (7, 4)]:
        stop = unstopped[start : start + length]
        end = unstopped.index(stop)
        options = generation_options(max_new_bytes=40, stop=[stop])
        [completion] = model.complete([prompt], options)
        assert completion.data == unstopped[:end]
        assert completion.finish is Finish.STOP
        for shown in model.stream(prompt, max_new_bytes=40, stop=[stop]):
            assert unstopped[:end].find(shown) >= 0


def test_a_stop_string_that_the_limit_cuts_short_is_kept(model: ByteModel) -> None:
    unstopped = model.generate(PROMPTS[1], max_new_bytes=12)
    stop = unstopped[8:12] + b"\x00never"
    assert model.generate(PROMPTS[1], max_new_bytes=12, stop=[stop]) == unstopped


def test_reasons_of_the_end(model: ByteModel) -> None:
    rows = model.complete(PROMPTS, generation_options(max_new_bytes=60))
    assert {row.finish for row in rows} <= {Finish.END, Finish.LIMIT}
    for row in rows:
        assert (len(row.data) == 60) == (row.finish is Finish.LIMIT)


def test_no_new_bytes_asked_for(model: ByteModel) -> None:
    assert model.generate(b"abc", max_new_bytes=0) == b""
    assert list(model.stream(b"abc", max_new_bytes=0)) == []
    assert model.generate_batch([b"a", b"b"], max_new_bytes=0) == [b"", b""]


def test_no_prompts_give_no_rows(model: ByteModel) -> None:
    assert model.generate_batch([]) == []


def test_symbols_that_cannot_stand_in_raw_text_are_never_generated(model: ByteModel) -> None:
    forced = small_model(seed=3)
    ids = torch.from_numpy(prompt_symbols(b"ab", sentinels=True))[None]
    with torch.no_grad():  # at the first new byte, these beat every byte by far
        for symbol in (UNK, RAW_OPEN, COMPRESSED_OFFSET, COMPRESSED_OFFSET + 7):
            forced.lm_head.weight[symbol] = 1000 * forced.hidden(ids)[0, -1]
    assert int(forced.logits(ids)[0, -1, 0].argmax()) not in range(RAW_OFFSET, COMPRESSED_OFFSET)
    generated = ByteModel(forced).generate(b"ab", max_new_bytes=40)
    assert generated == plain_generate(ByteModel(forced), b"ab", 40)


@pytest.mark.parametrize("closing", [RAW_CLOSE, EOS])
def test_closing_symbols_end_the_text(closing: int) -> None:
    closed = small_model(seed=3)
    ids = torch.from_numpy(prompt_symbols(b"ab", sentinels=True))[None]
    with torch.no_grad():
        closed.lm_head.weight[closing] = 1000 * closed.hidden(ids)[0, -1]
    [completion] = ByteModel(closed).complete([b"ab"], generation_options())
    assert (completion.data, completion.finish) == (b"", Finish.END)


def test_without_sentinels_the_prompt_is_bos_and_bytes_and_only_eos_ends_it() -> None:
    plain = ByteModel(small_model(seed=5, sentinels=False))
    assert prompt_symbols(b"a", sentinels=False).tolist() == [BOS, RAW_OFFSET + 97]
    expected = plain_generate(plain, b"ab", 20, prefix=(BOS,))
    assert plain.generate(b"ab", max_new_bytes=20)[: len(expected)] == expected
    hidden = plain.module.hidden(torch.from_numpy(prompt_symbols(b"ab", sentinels=False))[None])
    plain.module.lm_head.weight.data[RAW_CLOSE] = 1000 * hidden[0, -1]
    assert plain.generate(b"ab", max_new_bytes=5) != b""


def test_memory_of_a_long_generation_stays_bounded() -> None:
    model = small_model(seed=3)
    cache = model.new_cache(1)
    for _ in range(20):
        model.step(torch.full((1, 32), RAW_OFFSET + 97), cache)
    window, chunk, positions = 16, 4, 640
    held = cache.layers[0].buffer.shape[3]
    assert held <= window + 2 * positions // chunk


def test_weights_that_are_not_numbers_are_said_so() -> None:
    broken = small_model(seed=3)
    broken.lm_head.weight.data.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not a number"):
        ByteModel(broken).generate(b"a")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_p", 0.0),
        ("top_p", 1.01),
        ("top_p", float("nan")),
        ("max_new_bytes", -1),
        ("stop", [b""]),
        ("stop", b"ab"),
        ("stop", ["text"]),
    ],
)
def test_options_out_of_range_are_named(model: ByteModel, option: str, value: object) -> None:
    with pytest.raises(UsageError, match=option) as caught:
        model.generate(b"a", **{option: value})
    assert "\n" not in str(caught.value)


def test_a_prompt_of_text_is_refused(model: ByteModel) -> None:
    with pytest.raises(UsageError, match="a prompt is bytes, not str"):
        model.generate("text")  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["text", None, 7, [97], np.array([97])], ids=repr)
def test_only_bytes_are_prompts(model: ByteModel, wrong: Any) -> None:
    message = "a prompt is bytes, not "
    for use in (model.generate, model.stream):
        with pytest.raises(UsageError, match=f"prompt 0: {message}"):
            use(wrong)
    with pytest.raises(UsageError, match=f"prompt 1: {message}"):
        model.generate_batch([b"a", wrong])
    with pytest.raises(UsageError, match="prompts: expected a list, found one bytes"):
        model.generate_batch(b"ab")  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [GenerationOptions, SymbolOptions])
@pytest.mark.parametrize("stop", [["text"], [b"a", None], [[97]], b"ab", "ab", 5, None])
def test_only_bytes_are_stop_strings(options: type[Config], stop: Any) -> None:
    with pytest.raises(UsageError, match=r"stop: stop strings?( \d)?: .*(bytes, not|a list)"):
        validate_config(options, {"stop": stop})
    assert validate_config(options, {"stop": [bytearray(b"a")]}).stop == (b"a",)


def test_a_drafter_by_its_name_alone_is_refused(model: ByteModel) -> None:
    with pytest.raises(UsageError, match="generation: drafter"):
        model.generate(b"a", drafter="tree")  # type: ignore[arg-type]
