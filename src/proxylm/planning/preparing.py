"""What views cost before a run: hours of preparing and bytes on disk."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from proxylm.compressors.contract import ANCHOR_SPACING
from proxylm.compressors.neural.segmentation.entropy import EntropySegmentation
from proxylm.data.store.manifest import symbol_dtype
from proxylm.models.flops import training_flops
from proxylm.models.presets import preset
from proxylm.planning.data import PlannedSource, Shown
from proxylm.planning.machines import Machines

CORE_BYTES_PER_SECOND = {"tokenizer": 11e6, "unigram": 2.2e6, "neural": 70e6}
"""Raw bytes that one core turns into a store, by kind of view; of the neural ones without the
LM's pass (``proxylm bench prepare`` and ``bench neural`` measure them: docs/log.md)."""

BYTES_PER_SEGMENT = 14.4
"""Of neural views (docs/log.md); two numbers of each segment are kept."""

DOCUMENT_BYTES = 100
"""A document's name and places in the columns of a store."""

BYTE_LM = preset("byte-lm-40m")
"""The byte LM of the paper's size."""


@dataclass(frozen=True, kw_only=True)
class PrepareStep:
    """One part of preparing one view.

    Attributes:
        store, view: of what.
        work: what is computed.
        device: by one of what.
        hours: that one takes.
        basis: where its speed comes from.
    """

    store: str
    view: str
    work: str
    device: str
    hours: float
    basis: str

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class StoreSize:
    """Bytes of a store on disk.

    Attributes:
        store: its folder.
        is_there: whether they were counted, and not computed.
        num_bytes: the documents and the view that is shown.
    """

    store: str
    is_there: bool
    num_bytes: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def prepare_steps(shown: Shown, machines: Machines) -> list[PrepareStep]:
    """What has to be computed before a source can be shown, as far as its speed is known.

    Nothing, for a store that is there.
    """
    source = shown.source
    if source.store is not None or source.view is None:
        return []
    kind = _kind(source.view)
    bytes_there = source.raw_bytes or shown.raw_bytes
    steps: list[tuple[str, str, float, str]] = []
    if kind == "neural":
        flops = byte_lm_flops() * bytes_there
        peak = machines.kind.float32_flops * machines.mfu
        steps.append(("the byte LM's pass", machines.gpu, flops / peak, "float32 peak times mfu"))
    if kind in CORE_BYTES_PER_SECOND:
        seconds = bytes_there / CORE_BYTES_PER_SECOND[kind]
        steps.append(("compression", "CPU core", seconds, "measured"))
    return [
        PrepareStep(
            store=source.name,
            view=source.view,
            work=work,
            device=device,
            hours=seconds / 3600,
            basis=basis,
        )
        for work, device, seconds, basis in steps
    ]


def byte_lm_flops() -> float:
    """Operations per byte of the pass that finds the boundaries of neural segments."""
    window = np.zeros((1, BYTE_LM.context), np.int32)
    scored = BYTE_LM.context - EntropySegmentation().overlap
    return training_flops(BYTE_LM, window) / 3 / scored


def store_size(shown: Shown, mean_bytes: int) -> StoreSize:
    """What a source's store takes."""
    source = shown.source
    if source.store is not None:
        files = source.store.manifest.files()
        there = sum(file.num_bytes for file in files)
        return StoreSize(store=source.name, is_there=True, num_bytes=there)
    raw = source.raw_bytes or shown.raw_bytes
    per_byte = 1 + DOCUMENT_BYTES / mean_bytes + _view_bytes_per_byte(source)
    return StoreSize(store=source.name, is_there=False, num_bytes=round(raw * per_byte))


def _view_bytes_per_byte(source: PlannedSource) -> float:
    if source.view is None or source.rho is None:
        return 0.0
    width = symbol_dtype(source.symbol_count).itemsize
    segments = 8 / BYTES_PER_SEGMENT if _kind(source.view) == "neural" else 0.0
    return (width + 8 / ANCHOR_SPACING) / source.rho + segments


def _kind(view: str) -> str:
    """What makes a view, by the first word of its name, as the shipped configurations have it."""
    return view.partition("-")[0]
