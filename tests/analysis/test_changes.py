"""What an edit changes: symbols that stay, and the distance that stability measures."""

from __future__ import annotations

import numpy as np
import pytest

from proxylm.analysis.changes import deletion_distances, edit_change
from proxylm.analysis.stability import moved
from proxylm.compressors.contract import CannotCompress
from proxylm.compressors.gzip import GzipCompressor
from proxylm.compressors.registry import load_compressor
from proxylm.compressors.tokenizer.training import train_tokenizer
from proxylm.errors import DataError

TEXT = "naïve café, naïve café: one of many".encode()


def test_the_symbols_that_stay_are_those_of_both_texts():
    tokenizer = train_tokenizer([TEXT * 9], vocabulary_size=270)
    after = TEXT.replace(b"one", b"on")
    change = edit_change(tokenizer, TEXT, after)
    was, now = (one.tolist() for one in tokenizer.compress([TEXT, after]))
    stayed = [symbol for symbol, kept in zip(now, change.kept.tolist(), strict=True) if kept]
    rest = iter(was)
    assert all(symbol in rest for symbol in stayed)  # in order
    assert change.lost == len(was) - len(stayed)
    assert not change.kept.all() and change.kept[:5].all()
    expected = moved(tokenizer, [TEXT], np.zeros(1, dtype=np.int64), [after])[0]
    assert change.distance == expected > 0


def test_an_equal_text_changes_nothing():
    change = edit_change(load_compressor("gzip"), TEXT, TEXT)
    assert change.distance == 0 and change.kept.all() and change.lost == 0


def test_every_character_is_deleted_once_whole_ones_and_bytes_that_are_none():
    raw = "aé".encode() + b"\xff!"
    starts, distances = deletion_distances(load_compressor("units:bits=8"), raw)
    assert starts.tolist() == [0, 1, 3, 4]
    assert distances.tolist() == [1 / 5, 2 / 5, 1 / 5, 1 / 5]


def test_what_has_no_form_is_said_so():
    class Refuses(GzipCompressor):
        def encode(self, documents):
            return [CannotCompress(reason="no") for _ in documents]

    with pytest.raises(DataError, match="cannot be compressed"):
        edit_change(Refuses.from_settings({}), b"ab", b"a")
