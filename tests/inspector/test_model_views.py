"""A model's side, each answer beside what the library says in another way."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from proxylm.compressors.segments import segments
from proxylm.errors import DamagedWeightsError, DataError, UsageError
from proxylm.generation.byte_model import ByteModel
from proxylm.inspector.model_views import (
    InspectedModel,
    continuation,
    draft_passes,
    exact_next_bytes,
    next_symbols,
    surprisal,
    what_is_read,
)
from proxylm.symbols import RAW_OFFSET
from small_models import small_model

TEXT = b"def area_7(x):\n    return x * 7"
READINGS = ("bytes", "tokens", "mixed")


@pytest.fixture
def run(holdings):
    return holdings.model("run")


@pytest.mark.parametrize("name", READINGS)
def test_what_is_read_covers_the_text_once(run, name):
    found = what_is_read(run.reading(name), TEXT)
    spans = [(start, stop) for kind, _, start, stop in found["symbols"] if kind != "special"]
    assert [start for start, _ in spans] == [0, *(stop for _, stop in spans[:-1])]
    assert spans[-1][1] == len(TEXT)
    assert found["count"] == len(found["symbols"])
    kinds = {kind for kind, *_ in found["symbols"]} - {"special"}
    assert kinds == {"bytes": {"byte"}, "tokens": {"symbol"}, "mixed": {"byte", "symbol"}}[name]
    assert found["symbols"][0] == ["special", "<bos>", 0, 0]


def test_tokens_are_told_with_the_bytes_that_they_spell(run):
    found = what_is_read(run.reading("tokens"), TEXT)
    tokens = [one for one in found["symbols"] if one[0] == "symbol"]
    divided = segments(run.compressor, TEXT)
    assert [one[2:] for one in tokens] == divided.spans.tolist()
    assert [one[1] for one in tokens] == [f"#{one[0]}" for one in divided.symbols]


def test_surprisal_of_bytes_is_what_the_logits_say(run):
    found = surprisal(run, run.reading("bytes"), TEXT)
    ids = torch.tensor([[1, 12, *(RAW_OFFSET + byte for byte in TEXT)]])
    logs = torch.log_softmax(run.model.logits(ids)[0, :, 0], dim=-1)
    places = torch.arange(len(TEXT)) + 1
    expected = -logs[places, ids[0, 2:]] / np.log(2)
    assert found["bits"] == pytest.approx(expected.tolist(), abs=1e-3)
    assert found["starts"] == list(range(len(TEXT)))
    assert found["bits_per_byte"] == pytest.approx(float(expected.mean()), abs=1e-4)


def test_surprisal_of_tokens_stands_on_their_first_bytes(run):
    found = surprisal(run, run.reading("tokens"), TEXT)
    assert found["starts"] == segments(run.compressor, TEXT).spans[:, 0].tolist()
    others = set(range(len(TEXT))) - set(found["starts"])
    assert others and not any(found["bits"][place] for place in others)
    with pytest.raises(DataError):
        surprisal(run, run.reading("tokens"), b"")


@pytest.mark.parametrize("name", READINGS)
def test_the_most_probable_next_symbol_is_what_is_written(run, name):
    found = [one for one in next_symbols(run, run.reading(name), TEXT) if one["name"] != "end"]
    total = sum(one["probability"] for one in next_symbols(run, run.reading(name), TEXT))
    assert 0 < total <= 1 + 1e-9
    assert found[0]["probability"] == max(one["probability"] for one in found)
    written = continuation(run, run.reading(name), TEXT, 8)
    if written:  # else the model ends the text
        assert written.startswith(found[0]["bytes"])
    assert len(written) <= 8


def test_exact_bytes_are_a_distribution_and_need_tokens(run):
    found = exact_next_bytes(run, run.reading("tokens"), TEXT)
    assert all(one["bytes"] is None or len(one["bytes"]) == 1 for one in found)
    assert 0 < sum(one["probability"] for one in found) <= 1 + 1e-9
    with pytest.raises(UsageError, match="tokens that spell"):
        exact_next_bytes(run, run.reading("bytes"), TEXT)


def counting_model(*, wrong_after: int):
    """Writes each byte's successor; so do its heads, but for one byte, which they do not know."""
    model = small_model(prediction_heads=4)
    for name, weight in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            weight.data.zero_()  # what is known is the newest byte alone
    own = torch.nn.functional.normalize(model.model.embed_tokens.weight.detach())
    heads = model.lm_head.weight.data.view(4, -1, own.shape[1])
    heads.zero_()
    for head, rows in enumerate(heads):
        for byte in range(256):
            missed = head > 0 and byte == wrong_after
            following = byte if missed else (byte + 1 + head) % 256
            rows[RAW_OFFSET + following] += 9 * own[RAW_OFFSET + byte]
    return model


@pytest.mark.parametrize("drafter", ["chain", "tree"])
def test_passes_write_what_is_written_one_by_one(drafter):
    model = ByteModel(counting_model(wrong_after=ord("g")))
    inspected = InspectedModel("counting", model, None)
    reading = inspected.reading("bytes")
    passes = draft_passes(inspected, reading, b"abc", drafter=drafter, num_bytes=12)
    written = b"".join(one["written"] for one in passes)
    assert written == b"defghijklmno" == model.generate(b"abc", max_new_bytes=12)
    assert len(passes) < 12, "no draft was ever right"
    assert any(not node["accepted"] for one in passes for node in one["nodes"])
    for one in passes:
        path = [node for node in one["nodes"] if node["accepted"]]
        # Accepted bytes follow each other from the text's end on, and were written.
        spelled = bytes(node["byte"] for node in path)
        assert one["written"].startswith(spelled)
        places = [index + 1 for index, node in enumerate(one["nodes"]) if node["accepted"]]
        assert [node["parent"] for node in path] == [0, *places[:-1]][: len(path)]


def test_a_model_without_heads_writes_one_byte_to_a_pass(holdings):
    inspected = holdings.model("bytes")
    passes = draft_passes(inspected, inspected.reading("bytes"), TEXT, drafter="tree", num_bytes=5)
    assert all(len(one["written"]) <= 1 and not one["nodes"] for one in passes)


def test_damaged_weights_are_said_so(run):
    model = small_model(vocabulary_size=run.model.config.vocabulary_size)
    model.lm_head.weight.data.fill_(np.nan)
    damaged = InspectedModel("damaged", ByteModel(model), run.compressor)
    for name in READINGS:
        with pytest.raises(DamagedWeightsError):
            next_symbols(damaged, damaged.reading(name), TEXT)
    with pytest.raises(DamagedWeightsError):
        exact_next_bytes(damaged, damaged.reading("tokens"), b"")


def test_what_cannot_be_read_so_is_said(holdings, run):
    with pytest.raises(UsageError, match="knows raw bytes alone"):
        holdings.model("bytes").reading("mixed")
    with pytest.raises(UsageError, match="must be one of bytes, tokens, mixed"):
        run.reading("letters")
    with pytest.raises(UsageError, match="bytes are drafted"):
        draft_passes(run, run.reading("tokens"), TEXT, drafter="tree", num_bytes=5)
    with pytest.raises(UsageError, match="unknown drafter"):
        draft_passes(run, run.reading("bytes"), TEXT, drafter="forest", num_bytes=5)
