"""Symbols through a cache, as their states."""

from __future__ import annotations

import numpy as np


def step_hidden(model, ids, cache):
    """Feed ``ids [B, n]``; the final states ``[B, n, width]``."""
    feed = cache.plan(np.full(len(ids), ids.shape[1], dtype=np.int64))
    return model.step_feed(ids.flatten(), cache, feed).unflatten(0, ids.shape)
