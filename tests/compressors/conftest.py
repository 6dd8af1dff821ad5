"""Tokenizers that several tests use, trained once on a little text."""

from __future__ import annotations

import pytest
from compressor_cases import TEXTS, TRAININGS

from proxylm.compressors.tokenizer import TokenizerCompressor


@pytest.fixture(scope="session")
def trained() -> dict[str, TokenizerCompressor]:
    """A tokenizer of every kind of training."""
    return {
        name: TokenizerCompressor(training.train(TEXTS)) for name, training in TRAININGS.items()
    }
