"""Floating-point operations that training a model needs, for tables, plots and benchmarks.

Counted are the matrix products (6 operations per parameter and symbol: 2 forward, 4 backward) and
the attention that is needed: pairs of a query and a key or summary it may see, never masked ones
(12 operations per pair and channel), and the making of summaries (24 per key and channel).
Recomputation, elementwise work and the optimizer are not counted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proxylm.models.config import EvaAttention, ModelConfig
from proxylm.models.kernels.training.runs import context_runs
from proxylm.models.masks import visible_chunk_count


def training_flops(config: ModelConfig, segment_ids: NDArray[np.integer]) -> int:
    """Operations of forward and backward over packed contexts, ``segment_ids [B, N]``.

    All heads are counted at all positions (raw heads and ``by_format`` may skip some).
    """
    batch, length = segment_ids.shape
    attention = 12 * attention_pairs(config, segment_ids)
    if isinstance(config.attention, EvaAttention):
        chunks = visible_chunk_count(length, config.attention)
        attention += 24 * batch * chunks * config.attention.chunk
    products = 6 * batch * length * config.matrix_parameter_count
    return products + config.layers * config.query_width * attention


def attention_pairs(config: ModelConfig, segment_ids: NDArray[np.integer]) -> int:
    """Pairs of a query and a visible key or summary, in one head of one layer."""
    return sum(
        run.length * (run.length + 1) // 2 + run.length * run.summary_count
        for context, documents in enumerate(segment_ids)
        for run in context_runs(context, documents, config.attention)
    )
