"""The split and the sample depend on a document's bytes, and on nothing else."""

from __future__ import annotations

import pytest

from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.document import Document
from proxylm.corpus.left_out import LeftOut
from proxylm.corpus.opening import open_corpus
from proxylm.corpus.split import is_held_out, sample, split_documents
from proxylm.errors import DataError

DOCUMENTS = [Document(id=str(number), raw=b"document %d" % number) for number in range(5000)]


def test_the_split_is_fixed_for_ever():
    # Changing these would put held-out documents of existing stores into training.
    held_out = [int(item.id) for item in DOCUMENTS[:300] if is_held_out(item.raw)]
    assert held_out == [7, 21, 52, 138, 147, 174, 182, 221, 241]


def test_about_the_wanted_share_is_held_out_and_larger_shares_include_smaller():
    small = {item.id for item in DOCUMENTS if is_held_out(item.raw, 0.02)}
    large = {item.id for item in DOCUMENTS if is_held_out(item.raw, 0.1)}
    assert small < large
    assert 0.015 < len(small) / len(DOCUMENTS) < 0.025
    assert 0.085 < len(large) / len(DOCUMENTS) < 0.115


def test_both_sides_make_the_whole_in_order(tmp_path):
    for number in range(200):
        (tmp_path / f"{number:03}").write_bytes(b"document %d" % number)
    corpus = open_corpus(CorpusConfig(path=str(tmp_path)))
    sides = [
        [
            item.id
            for item in split_documents(corpus, held_out=held_out, left_out=LeftOut(), fraction=0.3)
        ]
        for held_out in (False, True)
    ]
    assert all(sides) and all(side == sorted(side) for side in sides)
    assert sorted(sides[0] + sides[1]) == [item.id for item in corpus.documents()]


def test_a_sample_is_spread_evenly_and_repeatable():
    total = sum(len(item.raw) for item in DOCUMENTS)
    taken = list(sample(DOCUMENTS, total_bytes=total, wanted_bytes=total // 10))
    assert 0.08 < len(taken) / len(DOCUMENTS) < 0.12
    assert taken == list(sample(DOCUMENTS, total_bytes=total, wanted_bytes=total // 10))
    assert int(taken[0].id) < 100 and int(taken[-1].id) > 4900
    # A sample of training documents must not lean to one side of the split's hash.
    training = [item for item in DOCUMENTS if not is_held_out(item.raw, 0.5)]
    taken = list(sample(training, total_bytes=total, wanted_bytes=total // 2))
    assert 0.45 < len(taken) / len(training) < 0.55
    assert list(sample(DOCUMENTS, total_bytes=total, wanted_bytes=total * 2)) == DOCUMENTS


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"missing: no such file or folder"):
        open_corpus(CorpusConfig(path=str(tmp_path / "missing")))
