"""Integers that no change of the code may change: symbols, stores, plans, contexts, greedy bytes.

Whoever has prepared a store, or trained a model, relies on them: the same settings and the same
seed give the same integers in every later version. ``golden/identity/digests.json`` holds a digest
of each; ``golden/identity/README.md`` says how it came to be. All access to the library stands in
the adapters below, so that a change of its interface changes nothing else here.
"""

from __future__ import annotations

import hashlib
import json
import random
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch

from proxylm.compressors.contract import Compressor
from proxylm.compressors.neural.byte_lm.model import ByteLM
from proxylm.compressors.neural.coder.automaton import Automaton
from proxylm.compressors.neural.coder.automaton_build import build_automaton
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.neural.compressor import NeuralCompressor
from proxylm.compressors.neural.settings import NeuralSettings
from proxylm.compressors.registry import load_compressor
from proxylm.compressors.token_bytes import TokenBytesCompressor, TokenBytesSettings
from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.compressors.tokenizer.training import tokenizer_training
from proxylm.config import validate_config
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.opening import open_corpus
from proxylm.data.batches import Batches, batches
from proxylm.data.mixture import READY_MIXTURES, Mixture
from proxylm.data.sources import Source
from proxylm.data.store.prepare import prepare_store
from proxylm.data.store.store import ViewStore
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.drafts import Chain, Tree
from proxylm.models.config import ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import RAW_OFFSET, vocabulary_size
from proxylm.training.config import TrainingConfig

GOLDEN = Path(__file__).parent / "golden" / "identity"
DIGESTS = GOLDEN / "digests.json"

Items = Iterator[tuple[str, Any]]
"""Names and integers (arrays, bytes, text, or lists of those): what a digest is made of."""

# Adapters: what the library is asked for, as plain values and arrays.


def trained_tokenizer(training: dict[str, Any]) -> Compressor:
    return TokenizerCompressor(tokenizer_training(training).train(TRAINING_TEXTS))


def saved_compressor(path_or_name: str | Path) -> Compressor:
    return load_compressor(path_or_name)


def token_bytes(tokenizer: Compressor, **settings: Any) -> Compressor:
    frequencies = np.arange(tokenizer.symbol_count) ** 2 % 97
    return TokenBytesCompressor(
        tokenizer,
        TokenBytesSettings(**settings),
        frequencies if settings["encoding"] == "huffman" else None,
    )


@cache
def byte_lm() -> ByteLM:
    """One causal layer; its weights are fractions of 256, so no machine rounds them otherwise."""
    sizes = {"layers": 1, "width": 16, "ffn": 16, "heads": 2, "context": 64}
    attention = {"kind": "causal", "kv_heads": 2}
    values = {**sizes, "attention": attention, "sentinels": False}
    model = LanguageModel(ModelConfig(vocabulary_size=vocabulary_size(0), **values))
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            generator = np.random.default_rng(list(name.encode()))
            bound = 256 if "lm_head" in name else 128
            drawn = generator.integers(-bound, bound + 1, weight.shape)
            weight.data.copy_(torch.from_numpy(drawn / 256))
    return ByteLM(model, device="cpu")


@cache
def automaton(termination: Any) -> Automaton:
    """Of 16-bit windows."""
    return build_automaton(byte_lm(), CoderSettings(termination=termination))


def neural(segmentation: dict[str, Any], coder: dict[str, Any]) -> NeuralCompressor:
    settings = validate_config(NeuralSettings, {"segmentation": segmentation, "coder": coder})
    built = None
    if settings.coder.window_bits == 16:  # the automaton of 8-bit symbols has the same nodes
        built = replace(automaton(settings.coder.termination), settings=settings.coder)
    fitted = settings.fitted(DOCUMENTS, byte_lm(), built)
    return NeuralCompressor(byte_lm(), fitted, automaton=built)


def compressed(compressor: Compressor, documents: list[bytes]) -> Items:
    """Of what it cannot compress, None."""
    views = compressor.encode(documents)
    for field in ("symbols", "anchors", "segment_lengths", "segment_symbol_counts"):
        yield field, [getattr(view, field, None) for view in views]


def prepared(out: Path, views: dict[str, Compressor], **corpus: Any) -> None:
    opened = open_corpus(CorpusConfig(part_bytes=4000, **corpus))
    prepare_store(opened, views, out, workers=1, held_out_fraction=0.2)


def store_content(folder: Path) -> Items:
    store = ViewStore.open(folder, verify=True)
    rows = range(store.document_count)
    yield "shards and rows", [shard.rows for shard in store.manifest.shards]
    yield "fingerprint", store.manifest.fingerprint
    yield "ids", [store.document_id(row) for row in rows]
    yield "raw", [store.raw(row) for row in rows]
    yield "held_out", store.held_out
    for name in store.view_names:
        view = store.view(name)
        yield f"{name}: compressor's fingerprint", view.compressor_fingerprint
        yield f"{name}: symbols", [view.symbols(row) for row in rows]
        yield f"{name}: anchors", [view.anchors(row) for row in rows]
        yield f"{name}: segment lengths", [view.segment_lengths(row) for row in rows]
        yield f"{name}: segment symbols", [view.segment_symbol_counts(row) for row in rows]


def batches_of(stores: list[Path], mixing: dict[str, Any], *, heads: int, steps: int) -> Batches:
    weights = [1.0, 3.0]
    return batches(
        [
            Source(store, view="bpe", weight=weight)
            for store, weight in zip(stores, weights, strict=True)
        ],
        validate_config(Mixture, mixing),
        context=128,
        contexts_per_step=4,
        steps=steps,
        heads=heads,
        seed=11,
    )


def planned(data: Batches) -> Items:
    blocks, step = [], 0
    while step < data.steps:
        blocks.append(data.plan.block_of(step))
        step = blocks[-1].first_step + blocks[-1].num_steps
    yield "number of steps", data.steps
    yield "blocks", [(block.first_step, block.num_steps, block.first_context) for block in blocks]
    for field in SPAN_FIELDS:
        yield f"spans: {field}", [block.spans[field] for block in blocks]
    yield "first_span", [block.first_span for block in blocks]
    yield "order", [block.order for block in blocks]
    yield "taken_before", [block.taken_before for block in blocks]
    counts = [data.statistics(step).to_json() for step in range(data.steps)]
    yield "statistics", [[step[name] for name in COUNTS] for step in counts]


def drawn_contexts(data: Batches) -> Items:
    batches = [data.batch(step) for step in range(data.steps)]
    for array in ("inputs", "targets", "segment_ids", "position_ids", "contexts"):
        yield array, [getattr(batch, array) for batch in batches]


def seeded_model(**values: Any) -> LanguageModel:
    """Two layers as a seed initializes them; large logits, so that choices are distinct."""
    sizes = {"layers": 2, "width": 32, "ffn": 48, "heads": 2, "context": 64}
    config = ModelConfig(vocabulary_size=vocabulary_size(256), **sizes, **values)
    model = LanguageModel(config, seed=5)
    for name, weight in model.named_parameters():
        if "lm_head" in name:
            weight.data.mul_(60)
    return model


def model_with_foresight(**values: Any) -> ByteModel:
    """After byte ``b`` it wants ``5 b + 3``; its further heads know what follows, but not always.

    So what they propose is partly right.
    """
    model = seeded_model(**values)
    size, width = model.model.embed_tokens.weight.shape
    heads = list(model.lm_head.weight.data.view(-1, size, width))
    if model.config.raw_prediction_heads:
        heads += model.raw_multibyte_lm_head.weight.data.view(-1, vocabulary_size(0), width)
    wanted = np.arange(256)
    for head, rows in enumerate(heads):
        wanted = (5 * wanted + 3) % 256
        told = np.where((np.arange(256) % 5 == 0) & (head > 0), wanted[::-1], wanted)
        known = model.model.embed_tokens.weight.data[RAW_OFFSET : RAW_OFFSET + 256]
        rows.index_add_(0, torch.from_numpy(told + RAW_OFFSET), 8 * known)
    return ByteModel(model)


def generated(model: ByteModel) -> Items:
    sampling: dict[str, Any] = {"temperature": 0.8, "top_p": 0.95, "seed": 7, "max_new_bytes": 40}
    yield "greedy", [model.generate(prompt, max_new_bytes=60) for prompt in PROMPTS]
    yield (
        "greedy, valid UTF-8",
        [model.generate(prompt, max_new_bytes=40, utf8="strict") for prompt in PROMPTS[:3]],
    )
    yield "sampled", [model.generate(prompt, **sampling) for prompt in PROMPTS]
    yield "sampled together", model.generate_batch([PROMPTS[1]] * 5, **sampling)


def generated_by_passes(model: ByteModel) -> Items:
    """All bytes, and those of each pass, for chains and trees of drafts."""
    for name, drafting in {
        "one byte": {},
        "chain": {"drafter": Chain(least_probability=0)},
        "tree": {"drafter": Tree(nodes=6)},
    }.items():
        pieces = [list(model.stream(p, max_new_bytes=60, **drafting)) for p in PROMPTS]
        yield f"{name}: bytes", [b"".join(parts) for parts in pieces]
        yield f"{name}: bytes of each pass", pieces


def training_hash(**values: Any) -> str:
    return validate_config(TrainingConfig, values).hash()


def ready_mixtures() -> dict[str, Any]:
    assert Mixture() == Mixture.paper()
    return {name: make().model_dump(mode="json") for name, make in READY_MIXTURES.items()}


# What they are given.

SPAN_FIELDS = (
    *("context", "ordinal", "start", "draw", "offset", "length", "num_bytes", "position"),
    *("segment", "views", "source", "format", "marks"),
)
COUNTS = (
    *("views", "pairs", "pairs_in_one_context", "documents_started", "raw_bytes"),
    *("raw_symbols", "compressed_symbols", "special_symbols", "padding"),
)
WORDS = (
    *(
        "def ",
        "return ",
        "self.",
        " = ",
        "(x)",
        ":\n    ",
        "\n",
        "\r\n",
        "\t",
        "for i in range(10)",
    ),
    *(
        "the ",
        "quick ",
        "brown ",
        "3.14159",
        "0x1F",
        "Größe ",
        "Ελλάδα ",
        "Привет, ",
        "漢字",
        "かな",
    ),
    *(
        "한국어 ",
        "🤗",
        "👩‍🚀",
        "e\u0301",
        "\u2028",
        "<raw>",
        "</s>",
        "<|endoftext|>",
        "▁",
        "\0",
        "  ",
    ),
)


def some_text(seed: int, words: int) -> str:
    """Source code, prose of several scripts, emoji and what looks like special symbols."""
    return "".join(random.Random(seed).choices(WORDS, k=words))


def some_bytes(seed: int, count: int) -> bytes:
    return bytes(random.Random(seed).choices(range(256), k=count))


TRAINING_TEXTS = [some_text(seed, 300) for seed in range(12)]
DOCUMENTS = [
    *(b"", b"\0", b"a", b"\xff", b"\xc3", b"odd", b"\xed\xa0\x80 surrogate", b"\n\n", b" \r\n\t "),
    *(bytes(range(256)), b"text \xff\xfe\x80 more\xe2\x82", b"a" * 1100, some_bytes(1, 300)),
    *(some_text(seed, words).encode() for seed, words in ((100, 5), (101, 90), (102, 400))),
    some_text(103, 60).encode() + some_bytes(2, 40) + some_text(104, 60).encode(),
]
PROMPTS = [
    *(b"", b"def area(radius):", "Größe 漢字 🤗".encode(), b"\xff\x00\xfe", b"ab" * 30),
    some_text(105, 12).encode(),
]
TOKENIZERS = {
    "bpe": {"algorithm": "bpe", "vocabulary_size": 400},
    "bpe over lines": {
        "algorithm": "bpe",
        "vocabulary_size": 400,
        "pre_tokenization": {"kind": "line"},
    },
    "superbpe": {
        "algorithm": "bpe",
        "vocabulary_size": 400,
        "pre_tokenization": {"kind": "superbpe", "first_stage": 0.85},
    },
}
ENTROPY = {"kind": "entropy", "overlap": 8}
NEURAL = {
    "entropy": (ENTROPY, {}),
    "entropy, 8-bit symbols": ({**ENTROPY, "percentile": 98}, {"pack_bits": 8}),
    "entropy, 32-bit windows": (ENTROPY, {"window_bits": 32}),
    "entropy, minimal": (ENTROPY, {"termination": {"kind": "minimal"}}),
    "lines": ({"kind": "lines"}, {}),
    "lines, whole segments": ({"kind": "lines"}, {"window_bits": None, "pack_bits": 8}),
    "fixed": ({"kind": "fixed", "length": 16}, {}),
    "automaton": ({"kind": "automaton"}, {}),
}
NO_PAIRS = {"kind": "document", "pairing": {"kind": "none"}}
MIXTURES: dict[str, dict[str, Any]] = {
    "paper": {},
    "pieces": {
        "rate": {"kind": "constant", "rate": 0.85},
        "granularity": {"kind": "piece", "min_symbols": 16, "max_symbols": 160},
    },
    "bytes": {"rate": {"kind": "constant", "rate": 0.0}, "granularity": NO_PAIRS},
    "compressed": {"rate": {"kind": "constant", "rate": 1.0}, "granularity": NO_PAIRS},
    "samples, plain": {
        "rate": {"kind": "constant", "rate": 0.5},
        "granularity": NO_PAIRS,
        "overflow": "plain",
        "sentinels": False,
    },
    "samples, truncate": {
        "rate": {"kind": "constant", "rate": 0.5},
        "granularity": NO_PAIRS,
        "overflow": "truncate",
    },
    "pairs, split": {"granularity": {"kind": "document", "pairing": {"kind": "always"}}},
    "pairs, cut": {
        "granularity": {
            "kind": "document",
            "pairing": {"kind": "always", "order": "cr"},
            "pair_overflow": "cut",
        },
        "overflow": "plain",
    },
    "by bytes": {"weight_of": "bytes"},
    "stop": {"when_exhausted": "stop"},
}
STEPS = {"stop": 400}
"""Of a mixture's run; 24 where nothing else is said."""

ATTENTIONS = {
    "EvaByte": {"attention": {"kind": "eva", "window": 16, "chunk": 4}, "prediction_heads": 4},
    "Llama": {
        "attention": {"kind": "causal", "kv_heads": 1},
        "prediction_heads": 1,
        "raw_prediction_heads": 3,
    },
}


@dataclass(frozen=True)
class Stores:
    """Two stores with a view called ``bpe``, from JSON lines and from files."""

    lines: Path
    files: Path


def write_corpora(folder: Path) -> tuple[Path, Path]:
    """120 lines, some of them refused; 40 files, a third of them not UTF-8."""
    lines = [
        json.dumps({"text": some_text(1000 + number, 1 + number % 50), "id": f"line-{number}"})
        for number in range(120)
    ]
    lines[7:7] = ["{broken", '{"text": ""}', '{"text": 3}']
    (folder / "lines.jsonl").write_text("\n".join(lines), encoding="utf-8")
    for number in range(40):
        raw = some_text(2000 + number, 1 + number * 7 % 90).encode()
        place = folder / "files" / f"part-{number % 3}" / f"{number:02}.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(raw if number % 3 else raw + some_bytes(number, 30))
    return folder / "lines.jsonl", folder / "files"


def write_stores(folder: Path) -> Stores:
    lines, files = write_corpora(folder)
    bpe = tokenizer("bpe")
    stores = Stores(lines=folder / "lines-store", files=folder / "files-store")
    views = {"bpe": bpe, "neural": neural(ENTROPY, {})}
    prepared(stores.lines, views, path=str(lines), id_field="id")
    views = {"bpe": bpe, "units": saved_compressor("units:bits=4")}
    prepared(stores.files, views, path=str(files))
    return stores


@cache
def tokenizer(name: str) -> Compressor:
    return trained_tokenizer(TOKENIZERS[name])


@cache
def with_drafts(name: str) -> dict[str, Any]:
    return dict(generated_by_passes(model_with_foresight(**ATTENTIONS[name])))


# What is held, in groups.


def compressor_items(compressor: Compressor) -> Items:
    yield "fingerprint", compressor.fingerprint
    yield from compressed(compressor, DOCUMENTS)


def tokenizers(stores: Stores) -> Items:
    for name in TOKENIZERS:
        yield from named(name, compressor_items(tokenizer(name)))
    for name in ("unigram", "sentencepiece"):
        yield from named(name, compressor_items(saved_compressor(GOLDEN / f"{name}.json")))


def units_and_token_bytes(stores: Stores) -> Items:
    for bits in (16, 8, 4, 1):
        name = f"units:bits={bits}"
        yield from named(name, compressor_items(saved_compressor(name)))
    for encoding in ("fixed", "gray", "huffman"):
        made = token_bytes(tokenizer("bpe"), encoding=encoding)
        yield from named(encoding, compressor_items(made))
    double = token_bytes(tokenizer("bpe"), encoding="gray", double_byte=True)
    yield from named("double bytes", compressor_items(double))


def gzip(stores: Stores) -> Items:
    yield from compressor_items(saved_compressor("gzip"))


def neural_compressors(stores: Stores) -> Items:
    for name, (segmentation, coder) in NEURAL.items():
        yield from named(name, compressor_items(neural(segmentation, coder)))


def neural_engines(stores: Stores) -> Items:
    few = [document[:60] for document in DOCUMENTS]
    for name in ("entropy", "entropy, minimal", "entropy, 32-bit windows", "lines, whole segments"):
        compressor = neural(*NEURAL[name])
        engines = ("naive", "batched", "lazy", "automaton")
        for engine in engines if compressor.automaton else engines[:-1]:
            held = compressed(compressor.with_engine(engine), few)
            yield from named(f"{name}: {engine}", held)


def view_stores(stores: Stores) -> Items:
    yield from named("JSON lines", store_content(stores.lines))
    yield from named("files", store_content(stores.files))


def mixing(stores: Stores) -> Items:
    folders = [stores.lines, stores.files]
    for name, values in MIXTURES.items():
        values = {"shuffle_block_steps": 5, **values}
        one, four = (
            batches_of(folders, values, heads=heads, steps=STEPS.get(name, 24)) for heads in (1, 4)
        )
        yield from named(name, planned(one))
        yield from named(name, drawn_contexts(one))
        yield f"{name}: targets of four heads", dict(drawn_contexts(four))["targets"]


def generation(stores: Stores) -> Items:
    for name, values in ATTENTIONS.items():
        yield from named(name, generated(ByteModel(seeded_model(**values))))
        yield from named(f"{name}, drafts", with_drafts(name).items())


GROUPS: dict[str, Callable[[Stores], Items]] = {
    "tokenizers": tokenizers,
    "units and token bytes": units_and_token_bytes,
    "gzip": gzip,
    "neural compressors": neural_compressors,
    "neural engines": neural_engines,
    "view stores": view_stores,
    "mixing": mixing,
    "generation": generation,
}


def named(name: str, items: Iterable[tuple[str, Any]]) -> Items:
    return ((f"{name}: {item}", value) for item, value in items)


def digest(value: Any) -> str:
    """Of integers of any width, bytes, text, or nested lists of them; shapes count."""
    hashed = hashlib.sha256()
    _absorb(hashed, value)
    return hashed.hexdigest()[:32]


def _absorb(hashed: Any, value: Any) -> None:
    if isinstance(value, list | tuple):
        hashed.update(f"list {len(value)}".encode())
        for one in value:
            _absorb(hashed, one)
    elif isinstance(value, bytes | str):
        data = value.encode() if isinstance(value, str) else value
        hashed.update(f"bytes {len(data)}".encode() + data)
    elif value is None:
        hashed.update(b"none")
    else:
        array = np.asarray(value)
        assert array.dtype.kind in "iub", f"{array.dtype}: only integers are held"
        hashed.update(f"integers {array.shape}".encode() + array.astype("<i8").tobytes())


def digests_of(group: str, stores: Stores) -> dict[str, str]:
    items = list(GROUPS[group](stores))
    found = {name: digest(value) for name, value in items}
    assert len(found) == len(items), f"{group}: two items of one name"
    return found


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return write_stores(tmp_path_factory.mktemp("identity"))


@pytest.mark.parametrize("group", GROUPS)
def test_integers_are_those_of_every_version(group: str, stores: Stores) -> None:
    golden = json.loads(DIGESTS.read_text(encoding="utf-8"))
    if group == "gzip" and golden["zlib"] != zlib.ZLIB_RUNTIME_VERSION:
        pytest.skip(f"zlib {zlib.ZLIB_RUNTIME_VERSION} may write other bytes than {golden['zlib']}")
    found, expected = digests_of(group, stores), golden["digests"][group]
    names = [*expected, *(found.keys() - expected.keys())]
    differing = [name for name in names if found.get(name) != expected.get(name)]
    assert not differing, f"{group}: these differ from what they were: {differing}"


@pytest.mark.parametrize("name", ATTENTIONS)
def test_some_drafts_are_accepted_and_none_changes_a_byte(name: str) -> None:
    found = with_drafts(name)
    for kind in ("chain", "tree"):
        assert found[f"{kind}: bytes"] == found["one byte: bytes"]
        sizes = [len(piece) for pieces in found[f"{kind}: bytes of each pass"] for piece in pieces]
        assert min(sizes) == 1 and max(sizes) == 4


def test_the_hash_of_a_training_run() -> None:
    """A run goes on where its configuration's hash is the one that its checkpoints hold.

    Of all that is held here, this alone may change for a reason: where a setting is added, renamed
    or given another default, and the changelog says that unfinished runs do not go on.
    """
    found = training_hash(
        data=[{"store": "stores/a", "view": "bpe"}, {"store": "stores/b", "weight": 2.0}],
        model={"kind": "preset", "name": "demo"},
        length={"kind": "steps", "steps": 1000},
        symbols_per_step=1 << 16,
    )
    assert found == "8c14de780806afa86ec080322632dc7c"


def test_the_ready_mixtures_say_what_they_said() -> None:
    """The defaults among them: ``paper`` is the configuration that says nothing.

    Where a key is renamed, or comes with a default that changes nothing, this test follows.
    """
    common = {
        "sentinels": True,
        "overflow": "continue",
        "shuffle_block_steps": 256,
        "weight_of": "documents",
        "when_exhausted": "repeat",
    }
    warm_up_pairs = {"kind": "warmup", "order": "random", "fraction": 0.2}
    rising = {"kind": "warmup", "start": 0.4, "end": 0.9, "fraction": 0.2}
    pieces = {"kind": "piece", "min_symbols": 16, "max_symbols": 160}
    no_pairs = {**NO_PAIRS, "pair_overflow": "split"}
    assert ready_mixtures() == {
        "paper": {
            **common,
            "rate": rising,
            "granularity": {**no_pairs, "pairing": warm_up_pairs},
        },
        "pieces": {
            **common,
            "rate": {"kind": "constant", "rate": 0.85},
            "granularity": pieces,
        },
        "bytes": {
            **common,
            "rate": {"kind": "constant", "rate": 0.0},
            "granularity": no_pairs,
        },
        "compressed": {
            **common,
            "rate": {"kind": "constant", "rate": 1.0},
            "granularity": no_pairs,
        },
    }


def add_missing_digests() -> None:
    """Write digests of items that have none yet; those that are there stay."""
    held = json.loads(DIGESTS.read_text(encoding="utf-8")) if DIGESTS.exists() else {}
    held.setdefault("zlib", zlib.ZLIB_RUNTIME_VERSION)
    groups = held.setdefault("digests", {})
    with TemporaryDirectory() as place:
        stores = write_stores(Path(place))
        for group in GROUPS:
            groups[group] = digests_of(group, stores) | groups.get(group, {})
    DIGESTS.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    add_missing_digests()
