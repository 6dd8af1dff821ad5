"""Imported models on their way out: in transformers as bytes, with all symbols, and as tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import proxylm
from foreign_models import MODELS, VOCABULARY, written
from proxylm.checkpoints.run_data import CONFIG_FILE as RUN_CONFIG
from proxylm.cli.main import run as run_command
from proxylm.errors import UsageError
from proxylm.interchange.export import export_model
from proxylm.interchange.importing import import_model
from proxylm.interchange.source import source_of
from proxylm.interchange.vocabulary import Vocabulary
from proxylm.models.config import CausalAttention
from proxylm.symbols import BOS, COMPRESSED_OFFSET, RAW_OFFSET
from small_models import save_small_run

transformers = pytest.importorskip("transformers", reason="needs the extra 'hf'")

SCALE = 8
"""Of the random models' matrices: logits of some size, attention that depends on positions."""


def imported(folder: Path, kind: str) -> tuple[Any, Path]:
    """A random model as transformers has it, and the folder of its import."""
    theirs = written(folder / "theirs", kind, scale=SCALE)
    import_model(folder / "theirs", folder / "ours")
    return theirs, folder / "ours"


@pytest.mark.parametrize("kind", MODELS)
def test_every_family_leaves_as_its_own_class(kind: str, tmp_path: Path) -> None:
    _, folder = imported(tmp_path, kind)
    ours = proxylm.load(folder)
    for vocabulary, size in (
        (Vocabulary.BYTES, COMPRESSED_OFFSET),
        (Vocabulary.BOTH, COMPRESSED_OFFSET + VOCABULARY),
    ):
        out = tmp_path / vocabulary
        result = export_model(folder, out, vocabulary=vocabulary)
        assert result.architecture == type(MODELS[kind][0](MODELS[kind][1])).__name__
        model = transformers.AutoModelForCausalLM.from_pretrained(out)
        assert type(model).__name__ == result.architecture
        ids = torch.randint(RAW_OFFSET, size, (2, 60), generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            found = model(ids).logits
        assert found.std() > 0.1
        torch.testing.assert_close(found, ours.logits(ids)[:, :, 0, :size], atol=1e-4, rtol=1e-4)
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(out)
        inputs = tokenizer("the other", return_tensors="pt")
        assert inputs["input_ids"][0, 0] == BOS
        new = model.generate(**inputs, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :]
        answer = bytes(int(symbol) - RAW_OFFSET for symbol in new if symbol >= RAW_OFFSET)
        assert answer == ours.generate(b"the other", max_new_bytes=12)
        again = proxylm.load(out)
        assert again.config == ours.config.model_copy(update={"vocabulary_size": size})
        rows = again.module.model.embed_tokens.weight
        assert torch.equal(rows, ours.module.model.embed_tokens.weight[:size])


@pytest.mark.parametrize("kind", MODELS)
def test_tokens_come_back_bit_for_bit(kind: str, tmp_path: Path) -> None:
    theirs, folder = imported(tmp_path, kind)
    (folder / "source" / "chat_template.jinja").write_text("{{ messages }}")
    result = export_model(folder, tmp_path / "out", vocabulary=Vocabulary.TOKENS)
    assert result.vocabulary_size == VOCABULARY and result.dropped_symbols == COMPRESSED_OFFSET
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    kept = model.state_dict()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(kept[name], tensor), name
    assert model.config.eos_token_id == theirs.config.eos_token_id
    sizes = ("vocab_size", "max_position_embeddings")
    assert [getattr(model.config, one) for one in sizes] == [
        getattr(theirs.config, one) for one in sizes
    ]
    for name in ("tokenizer.json", "generation_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == "{{ messages }}"
    import_model(tmp_path / "out", tmp_path / "again")
    for name in ("model.safetensors", "model.json", "compressor/compressor.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_a_run_that_started_from_an_import_knows_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = imported(tmp_path, "llama-tied")
    monkeypatch.chdir(tmp_path)
    config = proxylm.load(folder).config
    save_small_run(
        tmp_path / "run", **config.model_dump() | {"softmax": "by_format", "sentinels": True}
    )
    (tmp_path / "run" / RUN_CONFIG).write_text(yaml.safe_dump({"init_from": "ours"}))
    assert source_of(tmp_path / "run").description.name == "theirs"
    with pytest.raises(UsageError, match="softmax by_format; give --vocabulary bytes"):
        export_model(tmp_path / "run", tmp_path / "both")
    export_model(tmp_path / "run", tmp_path / "bytes", vocabulary=Vocabulary.BYTES)
    assert "imported from `theirs`" in (tmp_path / "bytes" / "README.md").read_text()
    with pytest.raises(UsageError, match="tokenizer that it was trained with is not at hand"):
        export_model(tmp_path / "run", tmp_path / "tokens", vocabulary=Vocabulary.TOKENS)
    (tmp_path / "run" / RUN_CONFIG).write_text(yaml.safe_dump({"init_from": "run"}))
    assert source_of(tmp_path / "run") is None, "a circle ends"


def test_cards_say_what_was_dequantized(tmp_path: Path) -> None:
    _, folder = imported(tmp_path, "llama-tied")
    description = {"name": "small-Q4_1.gguf", "tensor_types": {"F32": 5, "Q4_1": 15}}
    (folder / "source" / "source.json").write_text(json.dumps(description))
    for vocabulary in Vocabulary:
        export_model(folder, tmp_path / vocabulary, vocabulary=vocabulary)
        card = (tmp_path / vocabulary / "README.md").read_text()
        assert "Imported from small-Q4_1.gguf, whose weights were dequantized" in card
        assert "(tensors: 5 F32, 15 Q4_1)" in card
        assert str(tmp_path) not in card
    tokens = (tmp_path / "tokens" / "README.md").read_text()
    assert f"the {VOCABULARY} tokens of its tokenizer" in tokens
    assert "raw bytes" not in tokens and "U+FFFD" not in tokens


def test_what_no_family_has_is_refused_by_name(tmp_path: Path, capsys: Any) -> None:
    attention = CausalAttention(kv_heads=2, biases=True, query_key_norm="head")
    save_small_run(tmp_path / "run", attention=attention, prediction_heads=1)
    command = ["export", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--to"]
    for to in ("hf", "gguf"):
        assert run_command([*command, to]) == 2
        error = capsys.readouterr().err
        assert "attention.biases True with attention.query_key_norm 'head'" in error
        assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
