"""Operations counted against masks and formulas."""

import numpy as np
import pytest

from proxylm.models.flops import attention_pairs, training_flops
from proxylm.models.masks import dense_mask
from proxylm.models.presets import preset


@pytest.mark.parametrize("name", ["demo", "laptop-causal"])
def test_pairs_are_the_masks(packed, name):
    config = preset(name)
    _, documents = packed(3, 512, density=0.01)
    mask = dense_mask(documents, config.attention)
    assert attention_pairs(config, documents.numpy()) == int(mask.sum())


def test_causal_formula():
    config = preset("laptop-causal")
    found = training_flops(config, np.zeros((2, 4096), dtype=np.int64))
    pairs = 4096 * 4097 // 2
    body = 6 * (4 * 384**2 + 3 * 384 * 1024) + 320 * 384
    assert found == 2 * (6 * 4096 * body + 12 * pairs * 384 * 6)


def test_eva_formula():
    config = preset("laptop")
    assert (config.attention.window, config.attention.chunk) == (512, 8)
    found = training_flops(config, np.zeros((2, 1024), dtype=np.int64))
    # The second window sees the 64 summaries of the first one, made of its 512 keys.
    pairs = 2 * (512 * 513 // 2) + 512 * 64
    products = 6 * 1024 * config.matrix_parameter_count
    assert found == 2 * (products + (12 * pairs + 24 * 512) * 384 * 6)


def flops_per_symbol(config, document_symbols):
    """Over 64 contexts of 4096, documents of one length laid end to end."""
    layout = np.arange(64 * 4096).reshape(64, 4096) // document_symbols
    return training_flops(config, layout) / layout.size


def test_needed_work_per_symbol_of_the_benchmark():
    # About 64 million in products and 8 in attention inside windows and documents.
    assert 68e6 < flops_per_symbol(preset("laptop"), 1024) < 76e6


def test_shorter_documents_need_less_attention():
    config = preset("laptop")
    found = [flops_per_symbol(config, symbols) for symbols in (1 << 20, 2048, 300, 10)]
    assert found == sorted(found, reverse=True)
    assert found[-1] > 6 * config.matrix_parameter_count
