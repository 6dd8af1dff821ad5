"""Corpora and compressors for the tests of ``prepare``; compressors here run in-process only."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from proxylm.compressors.contract import CannotCompress, CompressedView, Compressor
from proxylm.compressors.registry import load_compressor
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.contract import Corpus
from proxylm.corpus.opening import open_corpus

PART_BYTES = 3000


def write_json_lines(path: Path, *, documents: int = 120, seed: int = 1) -> Path:
    """Lines of every kind: texts of many lengths, empty ones, broken ones, text of sentinels."""
    numbers = random.Random(seed)
    lines = []
    for index in range(documents):
        words = [numbers.choice(["def", "self", "é", "\0", "<raw>", " " * 9, "x = 1\r\n", "日本"])]
        text = " ".join(numbers.choices([*words, "return", "for i in", "\n"], k=index % 60 + 1))
        lines.append(json.dumps({"text": text, "id": f"doc-{index}"}))
    lines[7:7] = ["{broken", '{"text": ""}', '{"text": 3}']
    path.write_text("\n".join(lines))
    return path


def open_lines(path: Path, **options: Any) -> Corpus:
    return open_corpus(CorpusConfig(path=str(path), part_bytes=PART_BYTES, **options))


def gzip_and_units() -> dict[str, Compressor]:
    return {"gz": load_compressor("gzip"), "nibbles": load_compressor("units:bits=4")}


class ByteCompressor(Compressor):
    """Each byte is its own symbol; refuses documents that hold ``refused``."""

    kind: ClassVar[str] = "bytes-in-test"
    reversible: ClassVar[bool] = True

    def __init__(self, refused: bytes = b"\xff\xff", symbol_count: int = 256, largest: int = 255):
        self.refused = refused
        self.symbol_count = symbol_count
        self.largest = largest

    @property
    def settings(self) -> dict[str, Any]:
        return {"refused": self.refused.hex(), "symbol_count": self.symbol_count}

    @classmethod
    def from_folder(cls, folder: Path, settings: dict[str, Any]) -> Self:
        raise NotImplementedError

    def encode(self, documents: Sequence[bytes]) -> list[CompressedView | CannotCompress]:
        return [self._encode_one(raw) for raw in documents]

    def _encode_one(self, raw: bytes) -> CompressedView | CannotCompress:
        if self.refused in raw:
            return CannotCompress(reason="refused", detail="in a test")
        return CompressedView(symbols=np.frombuffer(raw, np.uint8).astype(np.uint32))
