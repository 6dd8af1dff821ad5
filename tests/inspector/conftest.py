"""A run with its store and tokenizer, as ``proxylm train`` leaves them, and models over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxylm.compressors.registry import save_compressor
from proxylm.compressors.tokenizer.training import train_tokenizer
from proxylm.corpus.document import Document
from proxylm.data.store.manifest import CorpusRecord, ViewRecord
from proxylm.inspector.holdings import Holdings, open_holdings
from proxylm.symbols import vocabulary_size
from small_models import save_run, small_model
from written_store import ShardRows, write_store

TEXTS = [f"def area_{n}(x):\n    return x * {n} + x\n".encode() for n in range(60)]
TOKENS = 300


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``tokens``, ``store``, ``run`` (of both, with heads) and ``bytes`` (without any)."""
    folder = tmp_path_factory.mktemp("inspected")
    tokenizer = train_tokenizer(TEXTS, vocabulary_size=TOKENS)
    save_compressor(tokenizer, folder / "tokens")
    rows = ShardRows(["tokens"])
    for number, (raw, view) in enumerate(zip(TEXTS, tokenizer.encode(TEXTS), strict=True)):
        rows.add(Document(id=str(number), raw=raw), False, {"tokens": view})
    record = ViewRecord(
        kind=tokenizer.kind,
        compressor_fingerprint=tokenizer.fingerprint,
        symbol_count=TOKENS,
        reversible=True,
        compressor_folder="compressors/tokens",
    )
    corpus = CorpusRecord(name="areas", fingerprint="areas")
    write_store(folder / "store", [rows], {"tokens": record}, corpus=corpus, held_out_fraction=0)
    save_compressor(tokenizer, folder / "store" / "compressors" / "tokens")
    model = small_model(seed=3, context=256, vocabulary_size=vocabulary_size(TOKENS))
    save_run(folder / "run", model, compressor_fingerprint=tokenizer.fingerprint)
    (folder / "run" / "config.yaml").write_text(
        f"data: [{{store: {folder / 'store'}, view: tokens}}]\n"
        "mixing: {granularity: {kind: piece}}\n"
    )
    save_run(folder / "bytes", small_model(vocabulary_size=vocabulary_size(0), prediction_heads=1))
    return folder


@pytest.fixture(scope="session")
def holdings(place: Path) -> Holdings:
    """The run with its store, and the byte model."""
    return open_holdings([place / "run", place / "bytes"])
