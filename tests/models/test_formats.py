"""What can follow what: the grammar of wrapped samples."""

import pytest
import torch

from proxylm.models.formats import Region, can_follow, regions, target_formats
from proxylm.symbols import (
    BOS,
    COMPRESSED_CLOSE,
    COMPRESSED_OFFSET,
    COMPRESSED_OPEN,
    EOS,
    IGNORED_TARGET,
    PAD,
    RAW_CLOSE,
    RAW_OFFSET,
    RAW_OPEN,
    SPECIAL_COUNT,
    vocabulary_size,
)

VOCABULARY = vocabulary_size(100)
WRAPPED = [
    [BOS, RAW_OPEN, RAW_OFFSET, RAW_OFFSET + 255, RAW_CLOSE, EOS],
    [BOS, COMPRESSED_OPEN, COMPRESSED_OFFSET, COMPRESSED_OFFSET + 99, COMPRESSED_CLOSE, EOS],
    [BOS, RAW_OPEN, RAW_CLOSE, COMPRESSED_OPEN, COMPRESSED_CLOSE, EOS, BOS],
]


@pytest.mark.parametrize("sample", WRAPPED)
def test_every_step_of_a_wrapped_sample_is_possible(sample):
    allowed = can_follow(torch.tensor(sample), VOCABULARY)
    assert all(allowed[i, following] for i, following in enumerate(sample[1:]))


@pytest.mark.parametrize(
    ("symbol", "region"),
    [
        (PAD, Region.SPECIAL),
        (BOS, Region.SPECIAL),
        (RAW_CLOSE, Region.SPECIAL),
        (COMPRESSED_CLOSE, Region.SPECIAL),
        (RAW_OPEN, Region.RAW),
        (RAW_OFFSET, Region.RAW),
        (COMPRESSED_OFFSET - 1, Region.RAW),
        (COMPRESSED_OPEN, Region.COMPRESSED),
        (COMPRESSED_OFFSET, Region.COMPRESSED),
        (VOCABULARY - 1, Region.COMPRESSED),
    ],
)
def test_region_of_each_kind_of_symbol(symbol, region):
    assert regions(torch.tensor(symbol)) == region
    allowed = can_follow(torch.tensor([symbol]), VOCABULARY)[0]
    assert allowed[:SPECIAL_COUNT].all()
    assert (allowed[RAW_OFFSET:COMPRESSED_OFFSET] == (region is Region.RAW)).all()
    assert (allowed[COMPRESSED_OFFSET:] == (region is Region.COMPRESSED)).all()


def test_a_vocabulary_without_compressed_symbols():
    assert Region.COMPRESSED.ranges(vocabulary_size(0)) == [(0, SPECIAL_COUNT)]
    assert can_follow(torch.tensor([COMPRESSED_OPEN]), vocabulary_size(0)).sum() == SPECIAL_COUNT


def test_formats_of_targets():
    targets = torch.tensor([EOS, RAW_OFFSET, COMPRESSED_OFFSET - 1, COMPRESSED_OFFSET])
    assert target_formats(targets).tolist() == [0, 1, 1, 2]
    assert target_formats(torch.tensor([IGNORED_TARGET])).tolist() == [-1]
