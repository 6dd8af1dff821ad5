"""Small stores and configurations that the tests of training share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from proxylm.compressors.contract import CompressedView
from proxylm.config import validate_config
from proxylm.corpus.document import Document
from proxylm.data.store.manifest import CorpusRecord, ViewRecord
from proxylm.training.config import TrainingConfig
from written_store import ShardRows, write_store

TIMES = {
    "seconds",
    "symbols_per_second",
    "flops_per_second",
    "peak_flops",
    "mfu",
    "waited_seconds",
    "peak_memory_bytes",
}
"""Of a step's metrics those that no two runs have alike."""
SYMBOL_COUNT = 40
CONTEXT = 64
TINY_SIZES: dict[str, Any] = {
    "layers": 2,
    "width": 16,
    "ffn": 24,
    "heads": 2,
    "attention": {"kind": "eva", "window": 32, "chunk": 4},
    "context": CONTEXT,
}


def halves(raw: bytes) -> CompressedView:
    """A stand-in for a compressor: one symbol per two bytes, an anchor every four symbols."""
    padded = np.frombuffer(raw + b"\0" * (len(raw) % 2), dtype=np.uint8).reshape(-1, 2)
    symbols = ((padded[:, 0].astype(np.uint32) * 7 + padded[:, 1]) % SYMBOL_COUNT).astype(np.uint32)
    cuts = np.arange(4, len(raw) // 2, 4, dtype=np.uint32)
    return CompressedView(symbols=symbols, anchors=np.stack([cuts * 2, cuts], axis=1))


def make_store(
    folder: Path,
    *,
    documents: int = 60,
    held_out: int = 6,
    seed: int = 0,
    name: str = "small",
    compressor: str = "f" * 32,
    views: Sequence[str] = ("halves",),
) -> Path:
    """A view store of short repetitive documents; every view of it is made by ``halves``."""
    generator = np.random.default_rng(seed)
    rows = ShardRows(views)
    for number in range(documents):
        words = generator.choice([b"def ", b"return ", b"x = ", b"y\n", b"    "], size=20)
        raw = b"".join(words.tolist())[: int(generator.integers(10, 100))]
        document = Document(id=str(number), raw=raw)
        rows.add(document, number < held_out, dict.fromkeys(views, halves(raw)))
    view = ViewRecord(
        kind="test",
        compressor_fingerprint=compressor,
        symbol_count=SYMBOL_COUNT,
        reversible=True,
        compressor_folder=None,
    )
    write_store(
        folder,
        [rows],
        dict.fromkeys(views, view),
        corpus=CorpusRecord(name=name, fingerprint=f"{name}-{seed}"),
        held_out_fraction=0.1,
    )
    return folder


def tiny_config(store: Path, *, steps: int = 6, **changes: Any) -> TrainingConfig:
    """A run of a few milliseconds a step on ``store``."""
    values: dict[str, Any] = {
        "data": [{"store": str(store), "view": "halves"}],
        "mixing": {"shuffle_block_steps": 2},
        "model": {"kind": "explicit", "sizes": TINY_SIZES},
        "length": {"kind": "steps", "steps": steps},
        "symbols_per_step": 4 * CONTEXT,
        "micro_batch_symbols": 2 * CONTEXT,
        "learning_rate": {"kind": "cosine", "peak": 1e-2, "warmup_steps": 2},
        "checkpoints": {"every_steps": 2, "keep_last": 3},
        "held_out": {"every_steps": 3, "max_bytes": 200},
    }
    return validate_config(TrainingConfig, values | changes)
