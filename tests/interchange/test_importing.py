"""Importing pretrained models: the same logits as transformers, and refusals by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import proxylm
from foreign_models import MODELS, VOCABULARY, tokenizer, written
from proxylm.checkpoints.reading import load_module
from proxylm.cli.main import run
from proxylm.compressors.registry import load_compressor
from proxylm.errors import ProxylmError
from proxylm.interchange.byte_rows import ByteRows
from proxylm.interchange.importing import import_model
from proxylm.symbols import BOS, COMPRESSED_OFFSET, EOS, RAW_OFFSET


@pytest.mark.parametrize("kind", MODELS)
def test_token_logits_are_those_of_transformers(tmp_path: Path, kind: str) -> None:
    theirs = written(tmp_path / "theirs", kind)
    import_model(tmp_path / "theirs", tmp_path / "ours")
    ours = load_module(tmp_path / "ours").module
    ids = torch.randint(0, VOCABULARY, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = theirs(ids).logits
        found = ours.logits(ids + COMPRESSED_OFFSET)[:, :, 0, COMPRESSED_OFFSET:]
        cache = ours.new_cache(2)
        stepped = torch.cat(
            [ours.step(ids[:, n : n + 8] + COMPRESSED_OFFSET, cache) for n in range(0, 40, 8)], 1
        )[:, :, 0, COMPRESSED_OFFSET:]
    assert wanted.std() > 0.01
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(stepped, wanted, atol=1e-4, rtol=1e-4)
    assert sum(p.numel() for p in ours.parameters()) == ours.config.parameter_count
    assert ours.config.tied_embeddings == (kind == "llama-tied")


def test_shards_and_half_precision_are_read(tmp_path: Path) -> None:
    theirs = written(tmp_path / "theirs", "llama", max_shard_size="20KB")
    assert len(list((tmp_path / "theirs").glob("*.safetensors"))) > 1
    import_model(tmp_path / "theirs", tmp_path / "ours")
    rows = load_module(tmp_path / "ours").module.model.embed_tokens.weight
    assert torch.equal(rows[COMPRESSED_OFFSET:], theirs.model.embed_tokens.weight)
    theirs.half().save_pretrained(tmp_path / "half")
    tokenizer().save(str(tmp_path / "half" / "tokenizer.json"))
    import_model(tmp_path / "half", tmp_path / "from-half")
    assert load_module(tmp_path / "from-half").module.lm_head.weight.dtype == torch.float32


@pytest.mark.parametrize("rows", ByteRows)
def test_rows_of_bytes_begin_as_was_chosen(tmp_path: Path, rows: ByteRows) -> None:
    theirs = written(tmp_path / "theirs", "llama")
    import_model(tmp_path / "theirs", tmp_path / "ours", rows=rows)
    tokens, made = theirs.model.embed_tokens.weight.detach(), load_compressor(tmp_path / "theirs")
    found = load_module(tmp_path / "ours").module.model.embed_tokens.weight.detach()
    assert torch.equal(found[BOS], tokens[256]) and torch.equal(found[EOS], tokens[257])
    of_t = found[RAW_OFFSET + ord("t")]
    beginning = [n for n, spelled in enumerate(made.token_bytes) if spelled.startswith(b"t")]
    assert len(beginning) == 3
    single = made.token_bytes.index(b"t")
    wanted = {"single": tokens[single], "first": tokens[beginning].mean(dim=0)}
    if rows is ByteRows.FIT:
        assert_fitted(found[RAW_OFFSET:COMPRESSED_OFFSET], tokens, made.token_bytes)
    elif rows in wanted:
        torch.testing.assert_close(of_t, wanted[rows])
    else:
        spread = found[RAW_OFFSET:COMPRESSED_OFFSET].std() / tokens.std()
        assert 0.9 < spread < 1.1


def assert_fitted(raw: torch.Tensor, tokens: torch.Tensor, spelled: list[bytes]) -> None:
    """No other rows are nearer: small moves of a byte that merged tokens have make it worse."""

    def error(rows: torch.Tensor) -> float:
        means = [rows[list(one)].mean(dim=0) - tokens[n] for n, one in enumerate(spelled) if one]
        return float(torch.stack(means).square().sum())

    assert not torch.equal(raw[ord("t")], tokens[spelled.index(b"t")])
    for byte in b"the":
        for sign in (1, -1):
            moved = raw.clone()
            moved[byte] += sign * 0.01
            assert error(moved) > error(raw)


def test_an_imported_model_is_read_as_tokens_and_as_bytes(tmp_path: Path, capsys: Any) -> None:
    written(tmp_path / "theirs", "llama")
    assert run(["import", "hf", str(tmp_path / "theirs"), "--out", str(tmp_path / "ours")]) == 0
    assert "2 layers of width 32, 260 tokens" in capsys.readouterr().out
    text = tmp_path / "text.txt"
    text.write_bytes(b"the other thing")
    for read_as in ("tokens", "bytes"):
        command = ["evaluate", "bpb", str(tmp_path / "ours"), str(text), "--read-as", read_as]
        assert run([*command, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["total"]["bits_per_byte"] > 1
    command = ["generate", str(tmp_path / "ours"), "--prompt", "the", "--read-as", "tokens"]
    assert run([*command, "--max-new-symbols", "4"]) == 0
    scored = proxylm.score(str(tmp_path / "ours"), [b"the other thing"], read_as="tokens")
    assert scored.num_symbols.tolist() == [10]


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"model_type": "mamba"}, "model_type is 'mamba'; llama, qwen2, qwen3, olmo2"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope_type is 'yarn'"),
        ({"quantization_config": {"bits": 4}}, "quantization_config is"),
        ({"vocab_size": 100}, "vocab_size is 100, and the tokenizer has 260 tokens"),
        ({"layer_types": ["sliding_attention"] * 2}, "layer_types is 'sliding_attention'"),
        ({"layer_types": 5}, "layer_types is 5"),
        ({"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}, "factor is 0.5"),
        ({"eos_token_id": 4000}, "eos_token_id is 4000"),
        ({"num_hidden_layers": 3}, "is in none of its files"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], shown: str
) -> None:
    written(tmp_path / "theirs", "llama")
    path = tmp_path / "theirs" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ProxylmError) as caught:
        import_model(tmp_path / "theirs", tmp_path / "ours")
    assert shown in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "ours").exists()


def test_places_that_cannot_be_are_one_line(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and no more")
    for source, shown in (
        ("none", "no such folder or file"),
        ("notes.txt", "give a folder with config.json, or a .gguf file"),
        ("broken.gguf", "cannot be read as GGUF"),
    ):
        assert run(["import", "hf", str(tmp_path / source), "--out", str(tmp_path / "o")]) != 0
        assert shown in capsys.readouterr().err
