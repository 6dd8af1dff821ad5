"""A neural compressor from a program: one call, a folder, and an object that is the same."""

from __future__ import annotations

import numpy as np
import pytest

from proxylm.cli.compressor import DEFAULT_HELD_OUT
from proxylm.cli.train_neural import DEFAULT_CONTEXTS, DEFAULT_PRESET
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.neural.segmentation.automaton import AutomatonSegmentation
from proxylm.compressors.neural.segmentation.simple import LineSegmentation
from proxylm.compressors.neural.settings import NeuralSettings
from proxylm.compressors.registry import load_compressor
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.opening import open_corpus
from proxylm.errors import UsageError
from proxylm.pipelines.neural_compressor import (
    NeuralTraining,
    NewLm,
    Reports,
    new_lm,
    train_neural_compressor,
)
from small_neural import RECIPE, text, write_corpus

FEW_STEPS = NewLm(recipe=RECIPE.model_copy(update={"symbols": 2048}))
WHOLE_SEGMENTS = CoderSettings(window_bits=None, pack_bits=8)


@pytest.fixture
def corpus(tmp_path):
    return open_corpus(CorpusConfig(path=str(write_corpus(tmp_path / "text", files=9))))


def test_one_call_gives_a_compressor_and_its_folder(corpus, tmp_path):
    said: list[str] = []
    out = tmp_path / "compressors" / "mine"
    settings = NeuralSettings(segmentation=LineSegmentation(), coder=WHOLE_SEGMENTS)
    training = NeuralTraining(lm=FEW_STEPS, settings=settings)
    reports = Reports(say=said.append)
    compressor = train_neural_compressor(corpus, str(out), training=training, reports=reports)
    assert [path.name for path in out.parent.iterdir()] == ["mine"]
    assert "fitting lines segmentation" in said
    loaded = load_compressor(out)
    assert loaded.fingerprint == compressor.fingerprint
    np.testing.assert_array_equal(
        loaded.compress([text(70)])[0], compressor.compress([text(70)])[0]
    )
    with pytest.raises(UsageError, match="mine"):
        train_neural_compressor(corpus, out, training=training)


def test_a_rule_that_needs_an_automaton_says_so(tmp_path):
    documents = [text(seed) for seed in range(9)]
    settings = NeuralSettings(segmentation=AutomatonSegmentation(), coder=WHOLE_SEGMENTS)
    training = NeuralTraining(lm=FEW_STEPS, settings=settings)
    with pytest.raises(UsageError, match="windows are not enumerated"):
        train_neural_compressor(documents, tmp_path / "mine", training=training)


def test_the_defaults_are_the_commands():
    assert NeuralTraining(lm=new_lm(DEFAULT_PRESET, DEFAULT_CONTEXTS, None)) == NeuralTraining()
    assert NeuralTraining().held_out_fraction == DEFAULT_HELD_OUT


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (("huge", "long", None), "no byte LM preset 'huge'; choose one of tiny, 40m"),
        (("tiny", "middle", None), "byte LM: contexts.kind: there is no 'middle'"),
        (("tiny", "long", 0), "byte LM: recipe.symbols"),
    ],
)
def test_a_byte_lm_that_cannot_be_is_one_line(choice, message):
    with pytest.raises(UsageError, match=message) as error:
        new_lm(*choice)
    assert "\n" not in str(error.value)
