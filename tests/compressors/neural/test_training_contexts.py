"""What the byte LM is trained on: documents whole, or fragments that start anywhere."""

from __future__ import annotations

import numpy as np
import pytest

from proxylm.compressors.neural.byte_lm.training_contexts import (
    LongContexts,
    ShortContexts,
    TrainingPart,
)
from proxylm.config import validate_config
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.opening import open_corpus
from proxylm.corpus.split import is_held_out
from proxylm.errors import UsageError
from small_neural import text, write_corpus


def corpus_in(folder):
    return open_corpus(CorpusConfig(path=str(write_corpus(folder)), part_bytes=20_000))


def test_long_contexts_are_the_training_documents(tmp_path):
    corpus = corpus_in(tmp_path)
    part = TrainingPart(corpus, 0.2, LongContexts())
    kept = [one.raw for one in corpus.documents() if not is_held_out(one.raw, 0.2)]
    assert 20 < len(kept) < 40
    assert [one.raw for one in part.documents()] == kept


def test_fragments_are_the_training_documents_in_pieces(tmp_path):
    corpus = corpus_in(tmp_path)
    part = TrainingPart(corpus, 0.2, ShortContexts())
    fragments = list(part.documents())
    whole = b"".join(one.raw for one in corpus.documents() if not is_held_out(one.raw, 0.2))
    assert b"".join(one.raw for one in fragments) == whole
    assert len({one.id for one in fragments}) == len(fragments)
    assert [one.raw for one in part.documents()] == [one.raw for one in fragments]
    other = TrainingPart(corpus, 0.2, ShortContexts(max_bytes=512))
    fingerprints = {TrainingPart(corpus, 0.2, LongContexts()).fingerprint, part.fingerprint}
    assert len(fingerprints | {other.fingerprint, corpus.fingerprint}) == 4


def test_every_doubling_of_the_length_holds_as_many_bytes():
    raw = text(1, words=60_000)
    lengths = ShortContexts().fragment_lengths(raw)
    assert lengths.sum() == len(raw)
    assert lengths[:-1].min() >= 8 and lengths.max() < 1024
    octaves = np.bincount(np.log2(lengths).astype(int), weights=lengths)[3:]
    assert len(octaves) == 7
    np.testing.assert_allclose(octaves / octaves.mean(), 1, atol=0.35)


@pytest.mark.parametrize("size", [1, 7, 8, 9])
def test_short_documents_are_one_or_two_fragments(size):
    lengths = ShortContexts().fragment_lengths(bytes(size))
    assert lengths.sum() == size and lengths.min() > 0 and len(lengths) <= 2


def test_lengths_out_of_order_are_refused():
    with pytest.raises(UsageError, match="max_bytes 8 must exceed min_bytes 8"):
        validate_config(ShortContexts, {"min_bytes": 8, "max_bytes": 8})
