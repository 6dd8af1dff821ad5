"""Operations counted against masks and formulas."""

import numpy as np
import pytest
import torch

from proxylm.models.config import EvaAttention
from proxylm.models.flops import attention_pairs, training_flops, training_flops_per_symbol
from proxylm.models.masks import causal_mask, eva_mask
from proxylm.models.presets import preset


@pytest.mark.parametrize("name", ["demo", "laptop-causal"])
def test_pairs_are_the_masks(packed, name):
    config = preset(name)
    _, documents = packed(3, 512, density=0.01)
    is_eva = isinstance(config.attention, EvaAttention)
    mask = eva_mask(documents, config.attention) if is_eva else causal_mask(documents)
    assert attention_pairs(config, documents.numpy()) == int(mask.sum())


def test_causal_formula():
    config = preset("laptop-causal")
    found = training_flops(config, np.zeros((2, 4096), dtype=np.int64))
    pairs = 4096 * 4097 // 2
    body = 6 * (4 * 384**2 + 3 * 384 * 1024) + 320 * 384
    assert found == 2 * (6 * 4096 * body + 12 * pairs * 384 * 6)


def test_needed_work_per_symbol_of_the_benchmark():
    # About 64 million in products and 8 in attention inside windows and documents.
    per_symbol = training_flops_per_symbol(preset("laptop"), context=4096, document_symbols=1024)
    assert 68e6 < per_symbol < 76e6


def test_shorter_documents_need_less_attention():
    config = preset("laptop")
    lengths = [None, 2048.0, 300.5, 10.0]
    found = [training_flops_per_symbol(config, context=4096, document_symbols=n) for n in lengths]
    assert found == sorted(found, reverse=True)
    assert found[-1] > 6 * config.matrix_parameter_count


def test_expectation_meets_random_layouts():
    config = preset("demo")
    generator = torch.Generator().manual_seed(0)
    starts = torch.rand(200, 512, generator=generator) < 1 / 200
    drawn = training_flops(config, starts.long().cumsum(1).numpy()) / (200 * 512)
    expected = training_flops_per_symbol(config, context=512, document_symbols=200)
    assert drawn == pytest.approx(expected, rel=0.05)
