"""Models as writers of programs: which form they read, whose compressor, whose weights."""

from __future__ import annotations

import numpy as np

from proxylm.compressors.registry import load_compressor
from proxylm.evaluation.answers.options import Budget, SamplingPlan
from proxylm.evaluation.answers.writers import (
    BytesWriter,
    Draws,
    TokensWriter,
    weights_fingerprint,
)
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.options import generation_options
from small_models import small_model

UNITS = load_compressor("units:bits=8")
PROMPTS = [b"def f(x):\n", b"a", b"\xff\x00"]


def test_bytes_are_what_the_model_generates() -> None:
    model = ByteModel(small_model(seed=2, sharpness=12))
    plan = SamplingPlan(samples=2, temperature=0.8, top_p=0.9, seed=4, budget=Budget(max_bytes=20))
    options = generation_options(
        max_new_bytes=20, temperature=0.8, top_p=0.9, seed=4, stop=[b"\x00"]
    )
    ours = BytesWriter(model).complete(
        PROMPTS, Draws(plan=plan, stop=(b"\x00",), samples=[7, 8, 9])
    )
    assert ours == model.complete(PROMPTS, options, samples=[7, 8, 9])


def test_tokens_are_counted_as_symbols() -> None:
    model = ByteModel(small_model(seed=2, sharpness=12))
    plan = SamplingPlan(budget=Budget(max_symbols=6, max_bytes=1))
    writer = TokensWriter(model, load_compressor("units:bits=4"))
    completions = writer.complete(PROMPTS, Draws(plan=plan, stop=(), samples=[0, 1, 2]))
    # Two half bytes make a byte.
    assert max(len(completion.data) for completion in completions) == 3


def test_identities_tell_weights_and_compressors_apart() -> None:
    first, second = small_model(seed=1), small_model(seed=1)
    assert weights_fingerprint(first) == weights_fingerprint(second)
    weights = second.lm_head.weight.data.numpy()
    weights[3, 5] = np.nextafter(weights[3, 5], np.float32(9))
    assert weights_fingerprint(first) != weights_fingerprint(second)
    model = ByteModel(first)
    identities = {
        BytesWriter(model).identity,
        TokensWriter(model, UNITS).identity,
        TokensWriter(model, load_compressor("units:bits=4")).identity,
    }
    assert len(identities) == 3
