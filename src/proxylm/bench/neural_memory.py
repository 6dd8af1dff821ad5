"""Peak memory of preparing a corpus with a neural compressor, in a process of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydantic import PositiveInt

from proxylm.bench.peak_memory import peak_memory_of
from proxylm.bench.prepare import write_copies
from proxylm.compressors.registry import load_compressor
from proxylm.config import Config
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.contract import Corpus
from proxylm.corpus.opening import open_corpus
from proxylm.data.store.prepare import prepare_store

CORPUS_COPIES = 10


class MemoryCase(Config):
    """A corpus and how it is cut.

    Attributes:
        corpus_bytes: about its size.
        part_bytes: about the size of a shard; several of them make the corpus.
    """

    corpus_bytes: PositiveInt
    part_bytes: PositiveInt

    def write_corpus(self, source: Corpus, folder: Path) -> Path:
        """Write documents of ``source``, none longer than a part, into a new folder."""
        folder.mkdir(parents=True)
        num_bytes = 0
        for number, document in enumerate(source.documents()):
            if num_bytes >= self.corpus_bytes:
                break
            if len(document.raw) <= self.part_bytes:
                (folder / f"{number:06}.py").write_bytes(document.raw)
                num_bytes += len(document.raw)
        return folder


def peak_prepare_bytes(compressor: Path, text: Path, part_bytes: int, copies: int) -> int:
    """Peak memory of preparing a corpus so many times over, with one worker."""
    return peak_memory_of(_prepare, compressor, text, part_bytes, copies)


def _prepare(compressor: Path, text: Path, part_bytes: int, copies: int) -> None:
    documents = (document.raw for document in open_corpus(CorpusConfig(path=str(text))).documents())
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as copied:
        corpus = write_copies(documents, copies, Path(copied), part_bytes)
        compressors = {"neural": load_compressor(compressor)}
        prepare_store(corpus, compressors, Path(folder) / "store", workers=1)
