"""Prompts read mixed: rows of all lengths together write what whole forwards by hand write."""

from __future__ import annotations

import pytest

from mixed_reference import TEXT, compressor_of_kind, greedy_bytes, laid_by_hand, model_over
from proxylm.checkpoints.saving import save
from proxylm.errors import UsageError
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.decoding_row import Finish
from proxylm.generation.drafts import Chain
from proxylm.generation.loading import load
from proxylm.generation.options import generation_options
from proxylm.generation.request import ByteRequest
from proxylm.scoring.score import score
from small_models import endless, small_model

RAW = TEXT.encode()
PROMPTS = [RAW, b"", RAW[:3], RAW[:77], RAW[:150], "naïve Gr".encode() + b"\xc3"]


@pytest.mark.parametrize(
    ("kind", "attention", "sentinels"),
    [
        ("bpe", "eva", True),
        ("bpe", "causal", False),
        ("bpe", "eva", False),
        ("lines", "causal", True),
    ],
)
def test_rows_write_what_whole_forwards_write(kind: str, attention: str, sentinels: bool) -> None:
    compressor = compressor_of_kind(kind)
    module = endless(model_over(compressor, attention, sentinels=sentinels))
    mixed = ByteModel(module).read_mixed(compressor)
    found = mixed.generate_batch(PROMPTS, max_new_bytes=12)
    assert found == [
        greedy_bytes(module, laid_by_hand(compressor, prompt, sentinels=sentinels), 12)
        for prompt in PROMPTS
    ]
    assert mixed.generate(RAW, max_new_bytes=12) == found[0]
    assert mixed.generate_batch(PROMPTS, max_new_bytes=12, drafter=Chain()) == found


def test_the_prompt_is_much_shorter_and_its_answer_no_other_model_s() -> None:
    compressor = compressor_of_kind("bpe")
    model = ByteModel(endless(model_over(compressor)))
    prefix, covered = model.read_mixed(compressor).reading.opened(RAW)
    assert len(prefix) + len(RAW) - covered < len(RAW) / 1.5
    assert model.generate(RAW, max_new_bytes=8) != b""
    assert model.reading.opened(RAW)[1] == 0, "the model itself still reads bytes"


def test_structure_and_stripped_ends_see_the_whole_prompt() -> None:
    compressor = compressor_of_kind("bpe")
    model = ByteModel(endless(model_over(compressor))).read_mixed(compressor)
    open_character = RAW + "漢".encode()[:1]
    written = model.generate(open_character, max_new_bytes=9, utf8="strict")
    assert (open_character + written).decode()
    options = generation_options(max_new_bytes=6, prompt_end="strip")
    [stripped] = model.complete([RAW + b" \n"], options)
    [whole] = model.complete([RAW.rstrip()], generation_options(max_new_bytes=6))
    assert whole.finish is Finish.LIMIT and whole.data.endswith(stripped.data)


def test_a_request_reads_what_its_prefix_does_not_stand_for() -> None:
    compressor = compressor_of_kind("bpe")
    reading = ByteModel(model_over(compressor)).read_mixed(compressor).reading
    prefix, covered = reading.opened(RAW)
    options = generation_options(max_new_bytes=1)
    request = ByteRequest(prompt=RAW, prefix=prefix, covered=covered, options=options)
    by_hand = laid_by_hand(compressor, RAW, sentinels=True)
    assert request.symbols(sentinels=True).tolist() == by_hand


def test_a_saved_model_finds_its_own_compressor(tmp_path) -> None:
    compressor = compressor_of_kind("bpe")
    module = endless(model_over(compressor))
    save(module, tmp_path / "mine", compressor=compressor)
    loaded = load(tmp_path / "mine")
    given = ByteModel(module).read_mixed(compressor)
    assert loaded.read_mixed().generate(RAW, max_new_bytes=8) == given.generate(
        RAW, max_new_bytes=8
    )
    [bits] = loaded.read_mixed().bits_per_byte([RAW])
    assert bits == score(loaded, [RAW], "mixed").bits_per_byte
    assert bits != loaded.bits_per_byte([RAW])[0]
    for model, message in (
        (ByteModel(module), "needs the model's compressor"),
        (ByteModel(small_model(vocabulary_size=320)), "bytes alone"),
    ):
        with pytest.raises(UsageError, match=message):
            model.read_mixed()
