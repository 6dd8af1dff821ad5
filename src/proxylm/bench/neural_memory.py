"""Peak memory of preparing a corpus with a neural compressor, in a process of its own.

Run as a module it prepares one corpus so many times over, with one worker, and prints the peak.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from pydantic import PositiveInt

from proxylm.bench.prepare import write_copies
from proxylm.bench.train_memory import peak_memory_bytes
from proxylm.compressors.registry import load_compressor
from proxylm.config import Config
from proxylm.corpus.contract import Corpus
from proxylm.corpus.opening import CorpusConfig, open_corpus
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
    """Peak resident memory of a fresh process that prepares ``text``, everything included."""
    arguments = [str(compressor), str(text), str(part_bytes), str(copies)]
    command = [sys.executable, "-m", "proxylm.bench.neural_memory", *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Prepare once, print the peak."""
    compressor, text, part_bytes, copies = sys.argv[1:]
    corpus = open_corpus(CorpusConfig(path=text))
    documents = (document.raw for document in corpus.documents())
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as copied:
        corpus = write_copies(documents, int(copies), Path(copied), int(part_bytes))
        compressors = {"neural": load_compressor(compressor)}
        prepare_store(corpus, compressors, Path(folder) / "store", workers=1)
    print(peak_memory_bytes())


if __name__ == "__main__":
    main()
