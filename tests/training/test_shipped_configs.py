"""Every shipped configuration: built, set beside the paper's figures, counted, trained small."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from proxylm.compressors.contract import CompressedView
from proxylm.config import dump_config, load_config, validate_config
from proxylm.config_files import shipped_configs
from proxylm.data.batches import Batches, batches
from proxylm.data.memory import MemoryStore
from proxylm.data.mixture_numbers import MixtureNumbers, mixture_numbers
from proxylm.data.sources import Source
from proxylm.data.store.manifest import ViewRecord
from proxylm.models.config import EvaAttention, ModelConfig
from proxylm.models.flops import attention_pairs, training_flops
from proxylm.models.language_model import LanguageModel
from proxylm.models.masks import visible_chunk_count
from proxylm.training.config import TrainingConfig
from proxylm.training.run import train

sys.path.insert(0, str(Path(__file__).parent))
from small_runs import TINY_SIZES, make_store

NAMES = shipped_configs()
PAPER = [name for name in NAMES if name.startswith("paper/")]

TOKENS = 96_640
SYMBOL_COUNTS = {  # of the views that the files name (§2.2 to §2.4, Tables 5 and 6, D.5)
    "tokenizer": TOKENS,
    "unigram": TOKENS,
    "bpe": 4096,
    "gzip": 256,
    "neural": 65_536,
    "token-bytes": 256,
    "token-bytes-gray": 256,
    "token-bytes-huffman": 256,
    "token-double-bytes": 65_536,
    "token-bytes-line": 256,
    "token-bytes-superbpe": 256,
    "neural-fixed-4-none-8": 256,
    "neural-fixed-8-none-8": 256,
    "neural-fixed-16-none-8": 256,
    "neural-lines-none-8": 256,
    "neural-lines-16-8": 256,
    "neural-entropy-98-16-8": 256,
    "neural-entropy-98-16-16": 65_536,
    "neural-entropy-95-32-16": 65_536,
    "units-16": 65_792,
    "units-4": 16,
    "units-2": 4,
    "units-1": 2,
}
SIZES = {  # billions of parameters in the name: learning rate (C.2)
    "0.5b": 1.2e-3,
    "1.5b": 9e-4,
    "4b": 7e-4,
    "7b": 5e-4,
    "14b": 5e-4,
}
ROWS = {  # runs in a file, of the rows in the paper's table or figure
    "table1": 20,
    "table2": 8,
    "table3": 2,  # the other four are warm-up pairs and tokenizer rows of tables 1 and 13
    "table5": 6,  # token indices are of table 1
    "table6": 8,  # entropy 95-16-16 is of table 1
    "table13": 6,  # warm-up pairs are of table 1
    "table14": 2,
    "figure5": 4,
    "figure9": 5,  # 0, 0.9 and 1 are of tables 1 and 13
    "figure17": 4,  # tokens and bytes are of table 1
    "figure18": 2,
    "figure22": 5,  # 7B with sentinels is figure 11
    "opencoder": 2,
}


@cache
def config_of(name: str) -> TrainingConfig:
    return load_config(TrainingConfig, Path(name))


@cache
def stub_store() -> MemoryStore:
    """One document that fills the longest context, with every view that is named."""
    raw = b"some text " * 14_000
    views = {
        view: (
            ViewRecord(
                kind="test",
                compressor_fingerprint=view,
                symbol_count=count,
                reversible=True,
                compressor_folder=None,
            ),
            [half_as_long(raw, anchors=0 if view == "gzip" else len(raw) // 2 // 64)],
        )
        for view, count in SYMBOL_COUNTS.items()
    }
    return MemoryStore.of(["a"], [raw], views, [False])


def half_as_long(raw: bytes, *, anchors: int) -> CompressedView:
    cuts = np.arange(1, anchors, dtype=np.uint32) * 64
    symbols = np.zeros(len(raw) // 2, dtype=np.uint32)
    return CompressedView(symbols=symbols, anchors=np.stack([cuts * 2, cuts], axis=1))


@cache
def drawn(name: str) -> Batches:
    """The configuration's contexts, as a run would open them."""
    config = config_of(name)
    return batches(
        [Source(stub_store(), source.view, source.weight) for source in config.data],
        config.mixing,
        context=config.context,
        contexts_per_step=config.contexts_per_step,
        steps=config.total_steps,
        heads=config.model_for(0).target_heads,
        seed=config.seed,
    )


def model_of(name: str) -> ModelConfig:
    return config_of(name).model_for(drawn(name).symbol_count)


def numbers_of(name: str) -> MixtureNumbers:
    config = config_of(name)
    return mixture_numbers(config.mixing, config.total_steps)


@pytest.mark.parametrize("name", NAMES)
def test_each_survives_being_saved(name: str, tmp_path: Path) -> None:
    config = config_of(name)
    resolved = config.resolved()
    (tmp_path / "config.yaml").write_text(dump_config(resolved))
    again = load_config(TrainingConfig, tmp_path / "config.yaml")
    assert again == resolved
    assert again.hash() == config.hash()
    assert again.model_for(7) == config.model_for(7)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_built_of_its_views(name: str) -> None:
    config = model_of(name)
    with torch.device("meta"):
        model = LanguageModel(config)
    assert sum(weight.numel() for weight in model.parameters()) == config.parameter_count
    shows_compressed = bool((numbers_of(name).rates > 0).any())
    views = [SYMBOL_COUNTS[source.view] for source in config_of(name).data if source.view]
    # What a run never shows is not in its vocabulary.
    assert config.compressed_symbol_count == (views[0] if shows_compressed else 0)


def test_no_two_are_the_same_run() -> None:
    hashes = {}
    for name in NAMES:
        hashes.setdefault(config_of(name).hash(), []).append(name)
    assert [names for names in hashes.values() if len(names) > 1] == []


@pytest.mark.parametrize("name", PAPER)
def test_steps_symbols_and_rates_are_the_papers(name: str) -> None:
    config = config_of(name)
    is_full_corpus = config.data[0].store == "stores/full-corpus"
    step = 4 * 2**20 if is_full_corpus else 2 * 2**20
    steps = {"paper/table14/95-5": 48_000, "paper/table14/90-10": 25_000}.get(
        name, 80_000 if is_full_corpus else 50_000
    )
    assert (config.symbols_per_step, config.total_steps) == (step, steps)
    size = getattr(config.model, "name", "").removeprefix("evabyte-")
    peak = SIZES.get(size, 3e-4)  # OpenCoder-style: the published configuration's
    rates = [config.learning_rate.rate(step, steps) for step in (1999, steps - 1)]
    last = peak if is_full_corpus else peak / 10
    assert rates == [pytest.approx(peak, rel=0.02), pytest.approx(last)]
    warm_up = 2000 if is_full_corpus else 500
    assert config.learning_rate.warmup_steps == warm_up
    optimizer = config.optimizer
    assert (optimizer.beta1, optimizer.beta2, optimizer.epsilon) == (0.9, 0.95, 1e-15)
    assert (optimizer.weight_decay, optimizer.clip_norm) == (0.1, 1.0)
    assert config.checkpoints.keep_every_steps == 10_000


@pytest.mark.parametrize("name", PAPER)
def test_a_rising_rate_and_pairs_at_its_side_last_10_000_steps(name: str) -> None:
    numbers = numbers_of(name)
    assert numbers.steps_with_pairs in (0, 10_000, len(numbers.rates))
    if numbers.rates[0] < numbers.rates[-1]:
        assert numbers.rates[-1] == 0.9
        assert np.flatnonzero(numbers.rates < 0.9).max() == 9_999
        assert numbers.rates[5000] == pytest.approx((numbers.rates[0] + 0.9) / 2)


def test_each_table_has_its_rows() -> None:
    counts = {file: sum(name.startswith(f"paper/{file}/") for name in PAPER) for file in ROWS}
    assert counts == ROWS


@pytest.mark.parametrize("size", SIZES)
def test_the_main_comparison_is_compute_matched(size: str) -> None:
    names = [
        f"paper/table1/{size}-{kind}"
        for kind in ("byte", "tokenizer", "proxy-tokenizer", "proxy-neural")
    ]
    configs = [config_of(name) for name in names]
    assert len({(config.symbols_per_step, config.total_steps) for config in configs}) == 1
    counts = [model_of(name).parameter_count for name in names]
    assert counts[0] == pytest.approx(float(size.removesuffix("b")) * 1e9, rel=0.11)
    vocabularies = [model_of(name).compressed_symbol_count for name in names]
    assert vocabularies == [0, TOKENS, TOKENS, 65_536]
    rates = [numbers_of(name).rates[[0, -1]].tolist() for name in names]
    assert rates == [[0, 0], [1, 1], [0.4, 0.9], [0.4, 0.9]]
    heads = [model_of(name).target_heads for name in names]
    assert heads == ([1, 1, 1, 1] if size in ("0.5b", "1.5b", "4b") else [8, 2, 8, 8])
    assert [config.context for config in configs] == [16_384, 4096, 16_384, 16_384]


def flops_of(work: Callable[[], Tensor]) -> float:
    """Operations that torch counts, forward and backward."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        work().sum().backward()
    return counter.get_total_flops()


@cache
def layer_flops(one_layer: ModelConfig) -> float:
    """Of a layer over one context of one document, all pairs of the dense reference included."""
    with torch.device("meta"):
        model = LanguageModel(one_layer)
        ids = torch.zeros(1, one_layer.context, dtype=torch.int64)
    return flops_of(lambda: model.hidden(ids))


@cache
def head_flops(config: ModelConfig) -> float:
    with torch.device("meta"):
        model = LanguageModel(config)
        hidden = torch.zeros(config.context, config.width, requires_grad=True)
    raw = [model.raw_multibyte_lm_head] if config.raw_prediction_heads else []
    return sum(flops_of(partial(head, hidden)) for head in (model.lm_head, *raw))


def needed_flops(config: ModelConfig) -> float:
    """What the metrics count, with the masked pairs that the dense reference computes as well."""
    documents = np.zeros((1, config.context), dtype=np.int64)
    keys = config.context + visible_chunk_count(config.context, config.attention)
    masked = config.context * keys - attention_pairs(config, documents)
    return training_flops(config, documents) + 12 * masked * config.layers * config.width


@pytest.mark.parametrize("name", NAMES)
def test_operations_are_those_that_torch_counts(name: str) -> None:
    config = model_of(name)
    no_heads = {"layers": 1, "prediction_heads": 1, "raw_prediction_heads": 0}
    body = config.model_copy(update=no_heads | {"vocabulary_size": 320})
    counted = config.layers * layer_flops(body) + head_flops(config)
    assert needed_flops(config) == pytest.approx(counted, rel=0.02)


def small(config: TrainingConfig, store: Path) -> TrainingConfig:
    """The same run in two steps of a model a thousand times smaller; lengths keep their ratio."""
    sizes = config.model_for(0).model_dump(mode="json") | {"context": config.context // 128}
    for key in ("vocabulary_size", "sentinels"):
        del sizes[key]
    sizes |= {key: TINY_SIZES[key] for key in ("layers", "width", "ffn", "heads")}
    is_eva = isinstance(config.model_for(0).attention, EvaAttention)
    sizes["attention"] = {"kind": "causal", "kv_heads": 1}
    if is_eva:
        sizes["attention"] = {"kind": "eva", "window": 16, "chunk": 4}
    values = config.model_dump(mode="json")
    changes: dict[str, Any] = {
        "data": [source | {"store": str(store)} for source in values["data"]],
        "model": {"kind": "explicit", "sizes": sizes},
        "length": {"kind": "steps", "steps": 2},
        "symbols_per_step": config.symbols_per_step // 2048,
        "micro_batch_symbols": 1024,
        "learning_rate": values["learning_rate"] | {"warmup_steps": 1},
        "held_out": {"every_steps": 2, "max_bytes": 50},
        "device": "cpu",
    }
    return validate_config(TrainingConfig, values | changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("data") / "store", views=list(SYMBOL_COUNTS))


def two_steps(name: str, store: Path, tmp_path: Path) -> None:
    result = train(small(config_of(name), store), tmp_path / "run")
    assert result.steps == 2
    assert math.isfinite(result.loss)
    read_as = {"raw", "compressed"} if 0 < numbers_of(name).rates[-1] < 1 else set()
    assert set(result.held_out) >= read_as
    assert all(math.isfinite(bits) for bits in result.held_out.values())


@pytest.mark.parametrize(
    "name",
    [
        "paper/table1/0.5b-byte",
        "paper/table1/7b-tokenizer",
        "paper/table2/7b-proxy-neural",
        "paper/opencoder/8b",
        "paper/table13/always-cr",
        "paper/table14/90-10",
        "paper/figure17/1-bit",
        "paper/figure18/1.5b-byte-across",
        "paper/figure22/1.5b-without",
        "paper/late-raw-stage",
        "paper/token-heads/14b-two",
    ],
)
def test_one_of_each_kind_is_trained(name: str, store: Path, tmp_path: Path) -> None:
    two_steps(name, store, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", PAPER)
def test_each_is_trained(name: str, store: Path, tmp_path: Path) -> None:
    two_steps(name, store, tmp_path)
