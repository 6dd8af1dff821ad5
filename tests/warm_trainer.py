"""Importing this loads all that a training run loads: what is forked afterwards begins at once."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch.distributed.checkpoint
import torch.distributed.checkpoint.api
import torch.distributed.fsdp
import torch.distributed.tensor  # noqa: F401

import ranked_runs  # noqa: F401
from proxylm.training.run import train
from small_runs import make_store, tiny_config

with tempfile.TemporaryDirectory() as folder:
    store = make_store(Path(folder) / "store")
    # On a GPU nothing could be forked from here any more.
    train(tiny_config(store, steps=2, device="cpu"), Path(folder) / "run")
