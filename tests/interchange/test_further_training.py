"""Published EvaByte folders, whole and in shards, trained further with a compressed vocabulary."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import save_torch_state_dict

import proxylm
from proxylm.checkpoints.checkpoint import checkpoint_folders, open_checkpoint
from proxylm.checkpoints.layouts.contract import FACTS_KEY
from proxylm.errors import UsageError
from proxylm.files import read_json, write_json
from proxylm.interchange.export import export_model
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import BOS, COMPRESSED_OFFSET, RAW_OFFSET
from proxylm.training.run import train
from proxylm.training.starting_weights import starting_model
from small_models import save_small_run
from small_runs import SYMBOL_COUNT, TINY_SIZES, make_store, tiny_config

HEADS = 4


@pytest.fixture(params=["single file", "shards"])
def published(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A byte model of four heads in the published layout alone, without anything of ours."""
    save_small_run(
        tmp_path / "run", vocabulary_size=COMPRESSED_OFFSET, prediction_heads=HEADS, **TINY_SIZES
    )
    folder = tmp_path / "published"
    export_model(tmp_path / "run", folder)
    values = read_json(folder / "config.json")
    for key in (FACTS_KEY, "auto_map", "num_raw_pred_heads", "apply_raw_multibyte_lm_head"):
        values.pop(key)
    (folder / "config.json").unlink()
    write_json(folder / "config.json", values)
    if request.param == "shards":
        (folder / "model.safetensors").unlink()
        tensors = proxylm.load(tmp_path / "run").module.state_dict()
        save_torch_state_dict(tensors, folder, max_shard_size="40KB")
        assert (folder / "model.safetensors.index.json").exists()
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store") / "views")


def further(store: Path, published: Path, **sizes: Any) -> Any:
    model = {"kind": "explicit", "sizes": TINY_SIZES | sizes}
    return tiny_config(store, steps=4, model=model, init_from=str(published), held_out=None)


def test_it_runs(published: Path) -> None:
    model = proxylm.load(published)
    assert model.config.prediction_heads == HEADS
    assert model.config.softmax == "full"
    assert len(model.generate(b"def ", max_new_bytes=20)) <= 20
    assert model.bits_per_byte([b"some text"])[0] > 0


def test_published_models_know_no_sentinels(published: Path, tmp_path: Path) -> None:
    model = proxylm.load(published)
    assert not model.config.sentinels
    with torch.no_grad():
        logits = model.module.logits(torch.tensor([[BOS, *(RAW_OFFSET + byte for byte in b"ab")]]))
    bits = torch.log_softmax(logits[0, :2, 0].double(), -1) / -math.log(2)
    expected = sum(float(bits[place, RAW_OFFSET + byte]) for place, byte in enumerate(b"ab")) / 2
    assert model.bits_per_byte([b"ab"])[0] == pytest.approx(expected, abs=1e-5)
    export_model(published, tmp_path / "again")
    assert not proxylm.load(tmp_path / "again").config.sentinels


@pytest.mark.parametrize("sentinels", [True, False])
def test_further_training_decides_about_sentinels(
    sentinels: bool, published: Path, store: Path
) -> None:
    config = further(store, published, prediction_heads=HEADS)
    mixing = config.mixing.model_copy(update={"sentinels": sentinels})
    config = config.model_copy(update={"mixing": mixing})
    assert starting_model(config, SYMBOL_COUNT, None).config.sentinels == sentinels


def test_a_compressed_vocabulary_is_added_and_every_old_row_kept(
    published: Path, store: Path
) -> None:
    old = proxylm.load(published).module
    config = further(store, published, prediction_heads=HEADS)
    model = starting_model(config, SYMBOL_COUNT, "f" * 32)
    vocabulary = COMPRESSED_OFFSET + SYMBOL_COUNT
    assert model.config.vocabulary_size == vocabulary
    assert torch.equal(
        model.model.embed_tokens.weight[:COMPRESSED_OFFSET], old.model.embed_tokens.weight
    )
    heads = model.lm_head.weight.view(HEADS, vocabulary, -1)
    assert torch.equal(
        heads[:, :COMPRESSED_OFFSET], old.lm_head.weight.view(HEADS, COMPRESSED_OFFSET, -1)
    )
    for name, weight in old.state_dict().items():
        if name not in ("model.embed_tokens.weight", "lm_head.weight"):
            assert torch.equal(model.state_dict()[name], weight), name


def test_further_heads_become_raw_heads(published: Path, store: Path) -> None:
    old = proxylm.load(published).module
    config = further(store, published, prediction_heads=1, raw_prediction_heads=HEADS - 1)
    model = starting_model(config, SYMBOL_COUNT, "f" * 32)
    ids = torch.tensor([[1, 12, 70, 80, 300]])
    with torch.no_grad():
        every_head = old.logits(ids)
        torch.testing.assert_close(
            model.logits(ids)[..., :COMPRESSED_OFFSET], every_head[:, :, :1], atol=1e-6, rtol=1e-6
        )
        torch.testing.assert_close(
            model.raw_logits(ids), every_head[:, :, 1:], atol=1e-6, rtol=1e-6
        )
    assert isinstance(model, LanguageModel) and model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_it_trains_and_the_run_can_be_exported(
    published: Path, store: Path, tmp_path: Path
) -> None:
    config = further(store, published, prediction_heads=1, raw_prediction_heads=HEADS - 1)
    result = train(config, tmp_path / "further")
    assert result.steps == 4
    trained = open_checkpoint(checkpoint_folders(tmp_path / "further" / "checkpoints")[0]).model()
    assert trained.config.vocabulary_size == COMPRESSED_OFFSET + SYMBOL_COUNT
    before = proxylm.load(published).module.model.embed_tokens.weight
    assert not torch.equal(trained.model.embed_tokens.weight[:COMPRESSED_OFFSET], before)
    export_model(tmp_path / "further", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "started from `published`" in card


def test_other_heads_than_the_folder_has_are_refused(published: Path, store: Path) -> None:
    config = further(store, published, prediction_heads=1, raw_prediction_heads=1)
    with pytest.raises(UsageError, match="prediction_heads: 4 → 1"):
        starting_model(config, SYMBOL_COUNT, None)
