"""What an export writes, refuses, and gives back; without transformers."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from exported import FINGERPRINT, KEEPING, VARIANTS, make_export, make_run
from huggingface_hub import save_torch_state_dict

import proxylm
from proxylm.checkpoints.layouts.choice import read_config
from proxylm.errors import CannotWriteError, CheckpointError, UsageError
from proxylm.interchange.export import export_model
from proxylm.interchange.vocabulary import Vocabulary
from proxylm.symbols import COMPRESSED_OFFSET, EOS, RAW_CLOSE, RAW_OFFSET
from small_models import COMPRESSED_SYMBOLS, save_small_run

IDS = torch.tensor([[1, 12, 70, 80, 300, 90, 64]])


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("variant", KEEPING)
def test_an_export_loads_back(variant: str, tmp_path: Path) -> None:
    run, folder = make_export(tmp_path, variant)
    before, after = proxylm.load(run), proxylm.load(folder)
    heads = after.config.prediction_heads
    if variant == "llama-heads":
        assert (before.config.prediction_heads, heads) == (2, 1)
    else:
        assert after.config == before.config
    assert torch.equal(after.logits(IDS), before.logits(IDS)[:, :, :heads])
    assert after.compressor_fingerprint == FINGERPRINT
    if after.config.raw_prediction_heads:
        assert torch.equal(after.module.raw_logits(IDS), before.module.raw_logits(IDS))


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_without_compressed_symbols_byte_logits_are_the_same(variant: str, tmp_path: Path) -> None:
    run, folder = make_export(tmp_path, variant, vocabulary=Vocabulary.BYTES)
    before, after = proxylm.load(run), proxylm.load(folder)
    assert after.config.vocabulary_size == COMPRESSED_OFFSET
    assert after.compressor_fingerprint is None
    heads = after.config.prediction_heads
    wanted = before.logits(IDS)[:, :, :heads, :COMPRESSED_OFFSET]
    # As one product over fewer rows, the matrix product may round the last bit differently.
    torch.testing.assert_close(after.logits(IDS), wanted, atol=1e-5, rtol=0)
    kept = before.module.lm_head.weight.view(-1, COMPRESSED_OFFSET + COMPRESSED_SYMBOLS, 32)
    found = after.module.lm_head.weight.view(-1, COMPRESSED_OFFSET, 32)
    assert torch.equal(found, kept[:heads, :COMPRESSED_OFFSET])
    prompt = b"def area(radius):\n"
    assert after.generate(prompt, max_new_bytes=30) == before.generate(prompt, max_new_bytes=30)


def test_an_export_can_be_exported_again(tmp_path: Path) -> None:
    run, folder = make_export(tmp_path, "eva")
    result = export_model(folder, tmp_path / "again", vocabulary=Vocabulary.BYTES)
    assert result.dropped_symbols == COMPRESSED_SYMBOLS
    direct = export_model(run, tmp_path / "direct", vocabulary=Vocabulary.BYTES)
    assert direct.parameters == result.parameters
    first, second = proxylm.load(tmp_path / "again"), proxylm.load(tmp_path / "direct")
    assert torch.equal(first.logits(IDS), second.logits(IDS))
    assert "Not known" in (tmp_path / "again" / "README.md").read_text()


def test_generation_ends_where_the_text_does(tmp_path: Path) -> None:
    for variant in ("eva", "eva-no-sentinels", "llama"):
        _, folder = make_export(tmp_path, variant)
        settings = read(folder, "generation_config.json")
        ends = [EOS] if "no-sentinels" in variant else [EOS, RAW_CLOSE]
        assert settings["eos_token_id"] == ends
        suppressed = set(settings["suppress_tokens"])
        specials = {symbol for symbol in suppressed if symbol < RAW_OFFSET}
        assert specials == set(range(RAW_OFFSET)) - set(ends)
        compressed = set(range(COMPRESSED_OFFSET, COMPRESSED_OFFSET + COMPRESSED_SYMBOLS))
        assert suppressed - specials == compressed


def test_llama_runs_no_code_and_evabyte_brings_its_own(tmp_path: Path) -> None:
    _, llama = make_export(tmp_path, "llama")
    assert read(llama, "config.json")["architectures"] == ["LlamaForCausalLM"]
    assert "auto_map" not in read(llama, "config.json")
    assert not list(llama.glob("*.py"))
    _, eva = make_export(tmp_path, "eva")
    names = set(read(eva, "config.json")["auto_map"].values())
    assert names == {
        "configuration_evabyte.EvaByteConfig",
        "modeling_evabyte.EvaByteForCausalLM",
        "modeling_evabyte.EvaByteModel",
    }
    for name in names:
        code = (eva / f"{name.split('.')[0]}.py").read_text()
        assert "import proxylm" not in code and "from proxylm" not in code


def test_what_cannot_be_expressed_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path, "llama-by-format")
    with pytest.raises(UsageError, match="cannot express this model's softmax by_format; give"):
        export_model(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").touch()
    with pytest.raises(UsageError, match="taken: exists already"):
        export_model(run, taken, vocabulary=Vocabulary.BYTES)
    assert [path.name for path in taken.iterdir()] == ["file"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [run.name, "taken"]


def test_a_model_without_bytes_is_refused(golden: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without the raw bytes"):
        export_model(golden / "evabyte", tmp_path / "out")


def test_a_failure_while_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, "eva")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("proxylm.interchange.export.save_torch_state_dict", fail)
    with pytest.raises(CannotWriteError, match=r"out: cannot be written \(No space"):
        export_model(run, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [run.name]


def test_shards_load_back(tmp_path: Path) -> None:
    run, folder = make_export(tmp_path, "eva")
    (folder / "model.safetensors").unlink()
    save_torch_state_dict(proxylm.load(run).module.state_dict(), folder, max_shard_size="50KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    assert torch.equal(proxylm.load(folder).logits(IDS), proxylm.load(run).logits(IDS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"proxylm": None}, "a LlamaForCausalLM that proxylm did not export"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rope_type is 'yarn'; default, linear and"),
        ({"attention_bias": True}, "attention_bias is True, only False is supported"),
        ({"head_dim": 99}, "attention.head_width 99 must be even"),
        ({"num_key_value_heads": 3}, "heads 2 must be a multiple of kv_heads 3"),
        ({"rope_theta": None}, "key 'rope_theta' is missing"),
        ({"proxylm": {"softmax": "odd"}}, "config.json: proxylm: softmax"),
        ({"proxylm": {"symbols": {"raw_open": 5}}}, "differ from this program's layout"),
    ],
)
def test_foreign_llama_configurations_are_refused(
    change: dict, message: str, tmp_path: Path
) -> None:
    _, folder = make_export(tmp_path, "llama")
    values = read(folder, "config.json")
    assert read_config(values)[0] == proxylm.load(folder).config
    with pytest.raises((CheckpointError, UsageError), match=message) as caught:
        read_config(values | change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, "rope_scaling is 'linear', only"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rope_scaling is 'yarn', only 'default'"),
        ({"rope_scaling": {"factor": 4.0}}, "rope_scaling.factor is not supported"),
        ({"rope_scaling": 4.0}, "rope_scaling is 4.0, expected keys and values"),
        ({"num_key_value_heads": 1}, "num_key_value_heads is 1, only 2 is supported"),
        ({"head_dim": 99}, "head_dim is 99, only 16 is supported"),
        ({"attention_bias": True}, "attention_bias is True, only False is supported"),
        ({"mlp_bias": True}, "mlp_bias is True, only False is supported"),
        ({"qk_norm": True}, "qk_norm is True, only False is supported"),
        ({"attention_class": "softmax"}, "attention_class is 'softmax', only 'eva' is supported"),
        ({"num_attention_heads": "two"}, "heads"),
    ],
)
def test_published_configurations_that_compute_something_else_are_refused(
    change: dict, message: str, golden: Path
) -> None:
    values = read(golden / "evabyte", "config.json")
    agreeing = {"rope_scaling": None, "num_key_value_heads": 2, "attention_bias": False}
    assert read_config(values | agreeing) == read_config(values)
    with pytest.raises((CheckpointError, UsageError), match=message) as caught:
        read_config(values | change)
    assert "\n" not in str(caught.value)


def test_published_raw_heads_are_read(tmp_path: Path) -> None:
    save_small_run(tmp_path / "run", prediction_heads=1, raw_prediction_heads=2)
    export_model(tmp_path / "run", tmp_path / "out")
    values = read(tmp_path / "out", "config.json")
    assert values["apply_raw_multibyte_lm_head"] is True
    assert values["num_raw_pred_heads"] == 2
    with pytest.raises(CheckpointError, match="raw_vocab_size is 100"):
        read_config(values | {"raw_vocab_size": 100})


def test_the_export_says_what_it_leaves_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    result = export_model(make_run(tmp_path, "llama-heads"), tmp_path / "out")
    assert result.dropped_heads == 1
    assert result.dropped_symbols == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "1 further prediction heads of the trained model are left out" in card
    assert caplog.records == []
