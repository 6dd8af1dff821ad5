"""Ours beside programs that do the same, from the registry: ``python benchmarks/compare.py``.

They go into an environment of their own, made in a temporary folder (or in ``--environment``, and
kept), which sees the packages of this one; nothing here depends on it. Building llama-cpp-python
takes minutes. Both sides of a row run in turn in one process, one thread each.
What is not the same on both sides stands in the last column. Prints a table for
docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

PEERS = ("llama-cpp-python", "mosaicml-streaming", "litdata")
# Of the requirements of these, what they import and we do not: the loaders ask for older
# transformers than ours, and for the clients of every cloud.
NEEDED = (
    "boto3",
    "brotli",
    "catalogue",
    "diskcache",
    "lightning-utilities",
    "python-snappy",
    "zstd",
)
INSIDE = "PROXYLM_COMPARE_INSIDE"

CONTEXT = 2048
NEW_BYTES = 128
PROMPT = b"def area(radius):\n"
REPEATS = 3
MOST_DOCUMENTS = 300

Row = tuple[str, float, float, str, str, str]
"""Case, ours, theirs, unit, which peer, what is not the same."""


def main() -> None:
    """Measure, in the environment of the peers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--environment", type=Path, help="a folder for it, made once and kept")
    given = parser.parse_args()
    if os.environ.get(INSIDE):
        print_table(measure())
        return
    with tempfile.TemporaryDirectory() as temporary:
        python = environment(given.environment or Path(temporary))
        single = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", INSIDE: "1"}
        subprocess.run([python, __file__], env=os.environ | single, check=True)


def environment(folder: Path) -> Path:
    """The Python of an environment with the peers in it."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    packages = Path(next(folder.glob("lib/python*/site-packages")))
    development = sysconfig.get_path("purelib")
    line = f"import site; site.addsitedir({development!r})\n"
    (packages / "development.pth").write_text(line, encoding="utf-8")
    for what in (NEEDED, ("--no-deps", *PEERS)):
        subprocess.run([python, "-m", "pip", "install", "--quiet", *what], check=True)
    return python


def measure() -> Iterator[Row]:
    """Every row, as it is measured."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        for part in (decoding, preparing, loading):
            yield from part(Path(place))


def seconds(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[float, ...]:
    """Medians of both, in turn."""
    from proxylm.bench.report import alternate

    return alternate(ours, theirs, repeats=REPEATS)


def decoding(place: Path) -> Iterator[Row]:
    """The same weights continue the same prompt greedily."""
    import llama_cpp
    import torch
    from transformers import AutoModelForCausalLM

    import proxylm
    from proxylm.bench.generate import endless_model
    from proxylm.generation.request import prompt_symbols
    from proxylm.interchange.export import export_model
    from proxylm.interchange.gguf_export import WeightType, export_gguf
    from proxylm.models.config import CausalAttention
    from proxylm.symbols import RAW_OFFSET

    sizes = {"layers": 5, "width": 192, "ffn": 512, "heads": 4, "context": CONTEXT}
    config = proxylm.preset("demo", attention=CausalAttention(kv_heads=4), **sizes)
    ours = endless_model(config)
    with torch.no_grad():  # llama-cpp-python suppresses nothing: no special is the likeliest
        ours.module.lm_head.weight[:RAW_OFFSET] = 0
    proxylm.save(ours.module, place / "model")
    export_model(place / "model", place / "hf")
    export_gguf(place / "model", place / "model.gguf", weights=WeightType("f32"))
    ids = prompt_symbols(PROMPT, sentinels=config.sentinels).tolist()
    written: dict[str, bytes] = {}

    def our_bytes() -> None:
        written["ours"] = ours.generate(PROMPT, max_new_bytes=NEW_BYTES)

    theirs = AutoModelForCausalLM.from_pretrained(place / "hf")
    lengths = {"min_new_tokens": NEW_BYTES, "max_new_tokens": NEW_BYTES, "do_sample": False}

    def their_bytes() -> None:
        found = theirs.generate(torch.tensor([ids]), **lengths)[0, len(ids) :]
        written["theirs"] = bytes(symbol - RAW_OFFSET for symbol in found.tolist())

    def row(name: str, timings: tuple[float, ...]) -> Row:
        rates = [NEW_BYTES / one for one in timings]
        same = "the same bytes" if written["ours"] == written["theirs"] else "other bytes"
        return (f"decode/{name}", rates[0], rates[1], "bytes/s", name, f"float32, {same}")

    yield row("transformers", seconds(our_bytes, their_bytes))
    settings = {"n_ctx": CONTEXT, "n_threads": 1, "n_threads_batch": 1, "verbose": False}
    llama = llama_cpp.Llama(str(place / "model.gguf"), type_k=0, type_v=0, **settings)

    def llama_bytes() -> None:
        llama.reset()
        new = bytearray()
        for symbol in llama.generate(ids, temp=0.0, repeat_penalty=1.0):
            new.append(symbol - RAW_OFFSET)
            if len(new) == NEW_BYTES:
                break
        written["theirs"] = bytes(new)

    yield row("llama-cpp-python", seconds(our_bytes, llama_bytes))


def preparing(place: Path) -> Iterator[Row]:
    """The same texts in memory into symbols, by the same BPE."""
    import tiktoken
    from tokenizers import Tokenizer

    from proxylm.compressors.tokenizer.compressor import TokenizerCompressor
    from proxylm.compressors.tokenizer.training import BpeTraining, texts_of

    documents, training = sources(), BpeTraining(vocabulary_size=1024)
    file = training.train(texts_of(documents))
    raw = [document.raw for document in documents]
    texts = [one.decode("utf-8", "replace") for one in raw]
    compressor, library = TokenizerCompressor(file), Tokenizer.from_str(file.decode())
    found: dict[str, list[list[int]]] = {}

    def ours() -> None:
        found["ours"] = [one.tolist() for one in compressor.compress(raw)]

    def tokenizers() -> None:
        found["theirs"] = [one.ids for one in library.encode_batch_fast(texts)]

    singles = compressor.decompress([[symbol] for symbol in range(compressor.symbol_count)])
    ranks = {one: symbol for symbol, one in enumerate(singles)}
    encoding = tiktoken.Encoding(
        "same",
        pat_str=training.pre_tokenization.pattern,
        mergeable_ranks=ranks,
        special_tokens={},
    )

    def by_tiktoken() -> None:
        found["theirs"] = [encoding.encode_ordinary(text) for text in texts]

    num_bytes = sum(map(len, raw))
    for name, theirs in (("tokenizers", tokenizers), ("tiktoken", by_tiktoken)):
        rates = [num_bytes / one for one in seconds(ours, theirs)]
        equal = sum(a == b for a, b in zip(found["ours"], found["theirs"], strict=True))
        library_of_ours = compressor.describe()["library"]
        remark = f"ours runs on {library_of_ours}; {equal} of {len(raw)} documents the same"
        yield (f"prepare/{name}", rates[0], rates[1], "bytes/s", name, remark)


def sources() -> list[Any]:
    """Documents of the standard library."""
    from itertools import islice

    from proxylm.corpus.config import CorpusConfig
    from proxylm.corpus.opening import open_corpus

    return list(islice(open_corpus(CorpusConfig(path="stdlib")).documents(), MOST_DOCUMENTS))


def loading(place: Path) -> Iterator[Row]:
    """Contexts of the same bytes, one after the other, from disk."""
    import numpy as np

    import proxylm
    from proxylm.corpus.opening import as_corpus
    from proxylm.data.store.prepare import prepare_store

    raw = [document.raw for document in sources()]
    prepare_store(as_corpus(raw), {}, place / "store")
    stream = np.concatenate([np.frombuffer(one, dtype=np.uint8) for one in raw]) + np.uint16(64)
    blocks = stream[: len(stream) // CONTEXT * CONTEXT].reshape(-1, CONTEXT)
    steps = len(blocks) // 4
    batches = proxylm.batches(
        place / "store",
        proxylm.Mixture.bytes_only(),
        context=CONTEXT,
        contexts_per_step=4,
        steps=steps,
    )

    def ours() -> None:
        batches.plan.forget()
        for step in range(steps):
            batches.batch(step)

    symbols = steps * 4 * CONTEXT
    remark = "theirs: blocks cut when written, shuffled; ours: planned, packed, masked by document"
    for name, reader in (("mosaicml-streaming", by_streaming), ("litdata", by_litdata)):
        rates = [symbols / one for one in seconds(ours, reader(place / name, blocks))]
        yield (f"load/{name}", rates[0], rates[1], "symbols/s", name, remark)


def by_streaming(folder: Path, blocks: Any) -> Callable[[], None]:
    """Blocks as records of MDS shards."""
    streaming = streaming_module()
    with streaming.MDSWriter(out=str(folder), columns={"tokens": "ndarray:uint16"}) as writer:
        for block in blocks:
            writer.write({"tokens": block})
    data = streaming.StreamingDataset(local=str(folder), shuffle=True, batch_size=4)

    def read() -> None:
        for record in data:
            assert len(record["tokens"]) == CONTEXT

    return read


def streaming_module() -> ModuleType:
    """``streaming`` without its readers of images, which need torchvision."""
    sys.modules.update({f"streaming.{name}": MagicMock() for name in ("multimodal", "vision")})
    import streaming

    return streaming


def by_litdata(folder: Path, blocks: Any) -> Callable[[], None]:
    """Blocks of a stream of tokens."""
    import litdata
    import torch
    from litdata.streaming import Cache, TokensLoader

    folder.mkdir()
    loader = TokensLoader(block_size=CONTEXT)
    cache = Cache(str(folder), chunk_size=CONTEXT * 512, item_loader=loader)
    for number, block in enumerate(blocks):
        cache[number] = torch.from_numpy(block)
    cache.done()
    cache.merge()
    data = litdata.StreamingDataset(str(folder), item_loader=loader, shuffle=True)

    def read() -> None:
        for tokens in data:
            assert len(tokens) == CONTEXT

    return read


def print_table(rows: Iterator[Row]) -> None:
    """The rows in Markdown."""
    print("| case | ours | theirs | ours ÷ theirs | peer | not the same |")
    print("|---|---|---|---|---|---|")
    for case, ours, theirs, unit, peer, remark in rows:
        version = f"{peer} {metadata.version(peer)}"
        ratio = f"{ours / theirs:.2f}"
        cells = [case, f"{ours:.4g} {unit}", f"{theirs:.4g} {unit}", ratio, version, remark]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
