"""GGUF files: every tensor where llama.cpp looks for it, the byte vocabulary, and back again.

llama.cpp itself reads them in the long form, where ``llama-cpp-python`` is installed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import proxylm
from foreign_models import MODELS, written
from proxylm.cli.main import run as run_command
from proxylm.errors import ProxylmError, UsageError
from proxylm.generation.request import prompt_symbols
from proxylm.interchange.gguf_export import WeightType, export_gguf
from proxylm.interchange.importing import import_model
from proxylm.models.config import LinearRope, Llama3Rope
from proxylm.symbols import BOS, COMPRESSED_OFFSET, EOS, RAW_CLOSE, RAW_OFFSET, RAW_OPEN, UNK
from small_models import ATTENTIONS, save_small_run

gguf = pytest.importorskip("gguf", reason="needs the extra 'gguf'")

THEIR_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_attention_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
"""As llama.cpp's documentation of the format has them."""

CAUSAL = {"attention": ATTENTIONS["causal"], "prediction_heads": 1}


def imported(folder: Path, kind: str) -> Path:
    written(folder / "theirs", kind, scale=8)
    import_model(folder / "theirs", folder / "ours")
    return folder / "ours"


def their_name(name: str, kind: str) -> str:
    layer = re.fullmatch(r"model\.layers\.(\d+)\.(.*)\.(weight|bias)", name)
    if layer is None:
        return f"{THEIR_NAMES[name.removesuffix('.weight')]}.weight"
    part = THEIR_NAMES[layer[2]]
    if kind == "olmo2" and part == "ffn_norm":
        part = "post_attention_norm"
    return f"blk.{layer[1]}.{part}.{layer[3]}"


def as_llama_cpp_has_it(name: str, tensor: torch.Tensor, kind: str, config: Any) -> np.ndarray:
    """Rows of queries and keys of Llama: channel ``j`` of a half beside channel ``j`` of the other.

    Written out row by row.
    """
    values = tensor.numpy()
    projection = re.search(r"\.([qk])_proj\.weight", name)
    if projection is None or kind in ("qwen2", "qwen3", "olmo2"):
        return values
    width, rows = config.head_width, []
    for head in range(config.heads if projection[1] == "q" else config.kv_heads):
        for channel in range(width // 2):
            rows += [head * width + channel, head * width + width // 2 + channel]
    return values[rows]


def text_field(reader: Any, key: str) -> Any:
    return reader.fields[key].contents()


@pytest.mark.parametrize("kind", MODELS)
def test_every_tensor_is_where_llama_cpp_looks_for_it(kind: str, tmp_path: Path) -> None:
    folder = imported(tmp_path, kind)
    result = export_gguf(folder, tmp_path / "model.gguf")
    ours = proxylm.load(folder)
    config = ours.config
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    architecture = text_field(reader, "general.architecture")
    assert architecture == result.architecture == MODELS[kind][1].model_type
    stored = {tensor.name: tensor.data for tensor in reader.tensors}
    for name, tensor in ours.module.state_dict().items():
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            tensor = tensor[:COMPRESSED_OFFSET]
        found = stored.pop(their_name(name, kind))
        assert np.array_equal(found, as_llama_cpp_has_it(name, tensor, kind, config)), name
    rotation = stored.pop("rope_freqs.weight", None)
    assert not stored and (rotation is None) == (not isinstance(config.rope_scaling, Llama3Rope))
    wanted = {
        "context_length": config.context,
        "attention.head_count_kv": config.kv_heads,
        "attention.key_length": config.head_width,
        "rope.dimension_count": config.head_width,
        "rope.freq_base": config.rope_theta,
    }
    if isinstance(config.rope_scaling, LinearRope):
        wanted |= {"rope.scaling.type": "linear", "rope.scaling.factor": 2.0}
    for key, value in wanted.items():
        assert text_field(reader, f"{architecture}.{key}") == value
    import_model(tmp_path / "model.gguf", tmp_path / "again")
    again = proxylm.load(tmp_path / "again")
    assert again.config == config.model_copy(
        update={"vocabulary_size": COMPRESSED_OFFSET, "attention": again.config.attention}
    )
    for name, tensor in again.module.state_dict().items():
        assert torch.equal(tensor, ours.module.state_dict()[name][: len(tensor)]), name


def test_stretched_positions_are_divided_as_ours(tmp_path: Path) -> None:
    export_gguf(imported(tmp_path, "llama3-rope"), tmp_path / "model.gguf")
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    (factors,) = [one.data for one in reader.tensors if one.name == "rope_freqs.weight"]
    # Width 8: wavelengths 6, 63, 628 and 6283 against 16 positions, low 1, high 4, factor 4.
    turns = 16 / (2 * np.pi * np.array([1, 10, 100, 1000]))
    kept = np.clip((turns - 1) / 3, 0, 1)
    np.testing.assert_allclose(factors, 1 / (kept + (1 - kept) / 4), rtol=1e-6)
    assert factors[0] < 4 == factors[1]


@pytest.mark.parametrize("sentinels", [True, False])
def test_the_vocabulary_is_specials_and_bytes(sentinels: bool, tmp_path: Path) -> None:
    save_small_run(tmp_path / "run", **CAUSAL, sentinels=sentinels)
    out = tmp_path / "deep" / "model.gguf"
    assert run_command(["export", str(tmp_path / "run"), "--to", "gguf", "--out", str(out)]) == 0
    reader = gguf.GGUFReader(out)
    tokens = text_field(reader, "tokenizer.ggml.tokens")
    types = text_field(reader, "tokenizer.ggml.token_type")
    assert len(tokens) == len(set(tokens)) == COMPRESSED_OFFSET
    kinds = gguf.TokenType
    for byte in range(256):
        written_as = (" ", kinds.USER_DEFINED) if byte == 32 else (f"<0x{byte:02X}>", kinds.BYTE)
        assert (tokens[RAW_OFFSET + byte], types[RAW_OFFSET + byte]) == written_as
    assert tokens[RAW_OPEN] == "<raw>" and types[RAW_OPEN] == kinds.CONTROL
    assert types[UNK] == kinds.UNKNOWN
    assert text_field(reader, "tokenizer.ggml.bos_token_id") == BOS
    assert text_field(reader, "tokenizer.ggml.eos_token_id") == EOS
    assert ("tokenizer.ggml.eot_token_id" in reader.fields) == sentinels
    suppressed = set(text_field(reader, "tokenizer.ggml.suppress_tokens"))
    ends = {EOS, RAW_CLOSE} if sentinels else {EOS}
    assert suppressed == set(range(RAW_OFFSET)) - ends
    assert ("begin with <raw>" in text_field(reader, "general.description")) == sentinels


@pytest.mark.parametrize("weights", list(WeightType))
def test_matrices_are_rounded_and_vectors_are_not(weights: WeightType, tmp_path: Path) -> None:
    save_small_run(tmp_path / "run", **CAUSAL, ffn=64)
    command = ["export", str(tmp_path / "run"), "--to", "gguf", "--weights", weights]
    assert run_command([*command, "--out", str(tmp_path / "model.gguf")]) == 0
    kept = proxylm.load(tmp_path / "run").module.state_dict()
    import_model(tmp_path / "model.gguf", tmp_path / "again")
    for name, found in proxylm.load(tmp_path / "again").module.state_dict().items():
        tensor = kept[name][: len(found)]
        rounded = {
            WeightType.F32: tensor,
            WeightType.F16: tensor.half().float(),
            WeightType.BF16: tensor.bfloat16().float(),
        }
        if tensor.dim() == 1:
            assert torch.equal(found, tensor)
        elif weights in rounded:
            assert torch.equal(found, rounded[weights])
        else:
            blocks = tensor.reshape(-1, 32)
            # Half a step, and the step itself is stored in 11 bits.
            error = (found.reshape(-1, 32) - blocks).abs().amax(dim=1)
            largest = blocks.abs().amax(dim=1)
            assert error.max() > 0 and bool((error <= largest / 127 * 0.57).all())


def test_what_llama_cpp_does_not_compute_is_refused_by_name(tmp_path: Path) -> None:
    wide = ATTENTIONS["causal"].model_copy(update={"head_width": 20, "biases": True})
    stretched = {"kind": "llama3", "factor": 4.0, "low_frequency": 1.0, "high_frequency": 4.0}
    stretched["original_context"] = 16
    biased = ATTENTIONS["causal"].model_copy(update={"biases": True})
    cases: dict[str, dict[str, Any]] = {
        "attention eva has no counterpart": {"prediction_heads": 1},
        "no qwen2 whose heads have a width of their own": CAUSAL | {"attention": wide},
        "no qwen2 with rope_scaling llama3": CAUSAL
        | {"attention": biased, "rope_scaling": stretched},
        "rows of 32, 48 and 32 do not fill; choose f16": CAUSAL,
    }
    for number, (shown, values) in enumerate(cases.items()):
        save_small_run(tmp_path / f"run-{number}", **values)
        with pytest.raises(UsageError) as caught:
            export_gguf(tmp_path / f"run-{number}", tmp_path / "o.gguf", weights=WeightType.Q8_0)
        assert shown in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "o.gguf").exists()


def test_damaged_files_of_ours_are_named(tmp_path: Path) -> None:
    save_small_run(tmp_path / "run", **CAUSAL)
    path = tmp_path / "model.gguf"
    export_gguf(tmp_path / "run", path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"blk.1.ffn_up.weight", b"blk.7.ffn_up.weight"))
    with pytest.raises(ProxylmError, match=r"'blk\.1\.ffn_up\.weight' is missing"):
        import_model(path, tmp_path / "o")
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ProxylmError, match="cannot be read as GGUF"):
        import_model(path, tmp_path / "o")
    assert not (tmp_path / "o").exists()


def without(logits: np.ndarray, symbols: list[int]) -> np.ndarray:
    logits[symbols] = -np.inf
    return logits


@pytest.mark.long
@pytest.mark.parametrize("kind", [*MODELS, "sentinels"])
def test_llama_cpp_computes_and_continues_as_ours(kind: str, tmp_path: Path) -> None:
    llama_cpp = pytest.importorskip("llama_cpp", reason="needs llama-cpp-python, on a CPU")
    if kind == "sentinels":
        folder = tmp_path / "run"
        save_small_run(folder, **CAUSAL, softmax="by_format")
    else:
        folder = imported(tmp_path, kind)
    path = tmp_path / "model.gguf"
    export_gguf(folder, path)
    ours = proxylm.load(folder)
    sentinels = ours.config.sentinels
    theirs = llama_cpp.Llama(
        str(path),
        n_ctx=512,
        n_threads=1,
        logits_all=True,
        verbose=False,
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
    )
    # What llama.cpp's own programs do with the file's list; the Python package does not.
    suppressed = list(text_field(gguf.GGUFReader(path), "tokenizer.ggml.suppress_tokens"))
    processors = llama_cpp.LogitsProcessorList([lambda _, logits: without(logits, suppressed)])
    every = bytes(range(256)) + "\u2581 <0x41> <raw> \u00e9\U0001f600".encode() + b"\xe2\x96"
    ids = theirs.tokenize(every, add_bos=True, special=False)
    assert ids == prompt_symbols(every, sentinels=False).tolist()
    assert theirs.detokenize(ids[1:]) == every
    for prompt in (b"the other", "a\u00e9\u4e16".encode(), b"\xff\x00\xfe  x"):
        spelled = (b"<raw>" if sentinels else b"") + prompt
        ids = theirs.tokenize(spelled, add_bos=True, special=True)
        assert ids == prompt_symbols(prompt, sentinels=sentinels).tolist()
        theirs.reset()
        theirs.eval(ids)
        found = torch.from_numpy(np.array(theirs.scores[: len(ids)]))
        wanted = ours.logits(torch.tensor([ids]))[0, :, 0, :COMPRESSED_OFFSET]
        possible = wanted.isfinite()
        torch.testing.assert_close(found[possible], wanted[possible], atol=1e-4, rtol=1e-4)
        answer = b""
        for token in theirs.generate(ids, temp=0.0, top_k=1, logits_processor=processors):
            if token in (EOS, RAW_CLOSE) or len(answer) == 30:
                break
            answer += theirs.detokenize([token])
        assert answer == ours.generate(prompt, max_new_bytes=30)
    theirs.close()
