"""A store of three documents with a reversible view, for the tests of scoring."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from proxylm.compressors.contract import CompressedView
from proxylm.compressors.registry import save_compressor
from proxylm.compressors.units import UnitsCompressor
from proxylm.corpus.document import Document
from proxylm.data.store.manifest import CorpusRecord, ViewRecord
from proxylm.data.store.store import ViewStore
from written_store import ShardRows, write_store

DOCUMENTS = [b"one\n", b"\xff\x00second document" * 5, b"3"]


def units(bits: int) -> UnitsCompressor:
    return UnitsCompressor.from_settings({"bits": bits})


def write_units_store(folder: Path, held_out: Collection[int] = (2,)) -> ViewStore:
    """Two views: units of 8 bits, and the same called lossy; by default the last is held out."""
    compressor = units(8)
    record = ViewRecord(
        kind="units",
        compressor_fingerprint=compressor.fingerprint,
        symbol_count=compressor.symbol_count,
        reversible=True,
        compressor_folder="compressors/units",
    )
    rows = ShardRows(["units", "lossy"])
    for index, raw in enumerate(DOCUMENTS):
        view = CompressedView(symbols=compressor.compress([raw])[0])
        document = Document(id=f"d{index}", raw=raw)
        rows.add(document, index in held_out, {"units": view, "lossy": view})
    write_store(
        folder,
        [rows],
        {"units": record, "lossy": record.model_copy(update={"reversible": False})},
        corpus=CorpusRecord(name="few", fingerprint="c" * 32),
        held_out_fraction=0.3,
    )
    save_compressor(compressor, folder / "compressors" / "units")
    return ViewStore.open(folder)
