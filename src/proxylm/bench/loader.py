"""``proxylm bench loader``: packed contexts per second on one core, beside a plain memory copy.

The store holds the standard library's source and its 16-bit units as the compressed view, in
several shards, read through the memory map. A case reads a run from its first step, planning
included; the yardstick copies the same output bytes into new arrays, as ours are new ones.
``loader/plan`` is the plan alone over many short documents, beside fetching their lengths in the
same random order.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from proxylm.bench.report import BenchmarkRow, alternate
from proxylm.compressors.registry import load_compressor
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.opening import open_corpus
from proxylm.data.batches import Batches, batches
from proxylm.data.lengths import LENGTHS_VIEW, lengths_store
from proxylm.data.mixture import Mixture
from proxylm.data.packing.plan import Plan
from proxylm.data.packing.tables import source_tables
from proxylm.data.store.prepare import prepare_store
from proxylm.progress import TellCount, told, untold

CONTEXT = 4096
CONTEXTS_PER_STEP = 64
STEPS = 64
PLANNED_DOCUMENTS = 200_000
MEAN_BYTES = 2000
RHO = 3.7
REPEATS = 7

CASES: list[tuple[str, Mixture, int]] = [
    ("loader/4096", Mixture.paper(), 1),
    ("loader/4096/bytes", Mixture.bytes_only(), 1),
    ("loader/4096/pieces", Mixture.pieces(), 1),
    ("loader/4096/heads-8", Mixture.bytes_only(), 8),
]


def run_loader_benchmark(
    *,
    steps: int = STEPS,
    repeats: int = REPEATS,
    planned_documents: int = PLANNED_DOCUMENTS,
    progress: TellCount = untold,
) -> list[BenchmarkRow]:
    """Build a store in a temporary folder and measure all cases."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        compressor = load_compressor("units:bits=16")
        corpus = open_corpus(CorpusConfig(path="stdlib", part_bytes=1 << 20))
        prepare_store(corpus, {"units": compressor}, store, workers=1)
        cases = [partial(_loader_row, *case, store, steps, repeats) for case in CASES]
        plan = partial(_plan_row, planned_documents, repeats)
        return [case() for case in told([*cases, plan], "cases", progress)]


def _loader_row(
    case: str, mixture: Mixture, heads: int, store: Path, steps: int, repeats: int
) -> BenchmarkRow:
    drawn = batches(
        store,
        mixture,
        context=CONTEXT,
        contexts_per_step=CONTEXTS_PER_STEP,
        steps=steps,
        heads=heads,
    )
    first = drawn[0]
    arrays = first.inputs, first.targets, first.segment_ids, first.position_ids
    copied = [array.copy() for array in arrays]

    def copy() -> None:
        for _ in range(steps):
            for target, array in zip(copied, arrays, strict=True):
                np.copyto(target, array)

    seconds = alternate(lambda: _read(drawn), copy, repeats=repeats)
    symbols = steps * CONTEXTS_PER_STEP * CONTEXT
    yardstick_is = "copy of the same output bytes in memory"
    return BenchmarkRow.of_rates(case, symbols, "symbols/s", seconds, yardstick_is)


def _read(drawn: Batches) -> None:
    drawn.plan.forget()
    for step in range(drawn.steps):
        drawn.batch(step)


def _plan_row(documents: int, repeats: int) -> BenchmarkRow:
    generator = np.random.default_rng(0)
    num_bytes = 1 + generator.exponential(MEAN_BYTES, documents).astype(np.int64)
    lengths = lengths_store(num_bytes, rho=RHO)
    tables = source_tables([(lengths, lengths.view(LENGTHS_VIEW))])
    # About one epoch at the final rate.
    steps = round(documents * MEAN_BYTES / 2.9 / (CONTEXT * CONTEXTS_PER_STEP))
    plan = Plan(
        tables,
        Mixture.samples(rate=0.9),
        [1.0],
        context=CONTEXT,
        contexts_per_step=CONTEXTS_PER_STEP,
        total_steps=steps,
        seed=0,
    )
    order = generator.permutation(documents)

    def plan_all() -> None:
        plan.forget()
        for step in range(0, steps, plan.block_of(0).num_steps):
            plan.block_of(step)

    ours, yardstick = alternate(
        plan_all, lambda: tables.tables.documents[order]["num_bytes"].sum(), repeats=repeats
    )
    last = plan.block_of(steps - 1).spans["draw"].max() + 1
    fetching = "fetching the documents' lengths in random order"
    planned = float(last) / ours
    return BenchmarkRow("loader/plan", planned, "documents/s", documents / yardstick, fetching)
