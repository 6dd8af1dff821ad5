"""``export_gguf``: a causal byte model as one file for llama.cpp, with the byte vocabulary.

llama.cpp reads text by its SentencePiece tokenizer, for which every byte is a token ``<0xNN>``:
any bytes are read and written exactly, UTF-8 or not. The space alone is a token of its own, taken
out of the text before that tokenizer would write it as U+2581. ``<bos>`` is put in front by the
file; the sentinel is the prompt's to bring (``PROMPT_PREFIX``).
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from proxylm.checkpoints.layouts.choice import causal_layout_for
from proxylm.checkpoints.layouts.contract import Facts, common_values
from proxylm.checkpoints.reading import load_module
from proxylm.errors import UsageError
from proxylm.files import atomic_file, require_new
from proxylm.interchange.byte_vocabulary import end_symbols, suppressed_symbols
from proxylm.interchange.export import ExportResult
from proxylm.interchange.gguf_file import CONFIG_KEY, gguf_library, interleaved, stored_names
from proxylm.interchange.source import source_of
from proxylm.interchange.vocabulary import EMBEDDING, OUTPUT, Vocabulary, kept_tensors
from proxylm.models.config import EvaAttention, LinearRope, Llama3Rope, ModelConfig
from proxylm.models.rotary import inverse_frequencies
from proxylm.progress import TellCount, stage, untold
from proxylm.symbols import (
    BOS,
    BYTE_COUNT,
    COMPRESSED_OFFSET,
    EOS,
    PAD,
    RAW_CLOSE,
    RAW_OPEN,
    SPECIAL_COUNT,
    UNK,
    symbol_name,
)

PROMPT_PREFIX = symbol_name(RAW_OPEN)
"""What a prompt begins with, where the model was trained with sentinels."""

_OWN_HEAD_WIDTH = {"llama", "qwen3"}
"""Families whose heads may have a width of their own in llama.cpp."""


class WeightType(StrEnum):
    """How matrices are stored; vectors are float32 always."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"


_FILE_TYPES = {WeightType.F32: 0, WeightType.F16: 1, WeightType.Q8_0: 7, WeightType.BF16: 32}
"""``LlamaFileType`` by the type of most tensors."""


def export_gguf(
    source: Path,
    out: Path,
    *,
    weights: WeightType = WeightType.F32,
    progress: TellCount = untold,
) -> ExportResult:
    """Write the bytes of a causal model as a GGUF file.

    Args:
        source: whatever ``proxylm.load`` takes.
        out: the new file; it must not be there yet.
        weights: how matrices are stored.
        progress: hears what is under way.

    Raises:
        UsageError: ``out`` is there already; the model has no raw bytes; llama.cpp has nothing
            that computes what it does; or the package ``gguf`` is not installed.
        CheckpointError, DamagedFileError: ``source`` cannot be loaded.
    """
    require_new(out)
    gguf = gguf_library(out)
    with stage("reading the model", progress):
        loaded = load_module(source)
    config = loaded.module.config
    config.require_raw_bytes()
    if isinstance(config.attention, EvaAttention):
        raise UsageError(
            "attention eva has no counterpart in llama.cpp; --to hf brings modelling code along"
        )
    layout = causal_layout_for(config)
    exported = layout.expressible(Vocabulary.BYTES.of(config))
    _require_known(exported, layout.model_type, weights)
    tensors = kept_tensors(loaded.module, exported, Vocabulary.BYTES)
    facts = Facts(softmax=exported.softmax, sentinels=exported.sentinels)
    out.parent.mkdir(parents=True, exist_ok=True)
    with stage("writing the model", progress), atomic_file(out) as temporary:
        writer = gguf.GGUFWriter(temporary, layout.model_type)
        writer.add_name(out.stem)
        writer.add_description(_description(source, exported))
        writer.add_string(CONFIG_KEY, json.dumps(common_values(layout, exported, facts)))
        _add_sizes(writer, exported, gguf)
        _add_vocabulary(writer, exported, gguf)
        _add_tensors(writer, tensors, exported, weights, gguf)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return ExportResult.of(
        out, config, exported, architecture=layout.model_type, needs_remote_code=False
    )


def _require_known(config: ModelConfig, architecture: str, weights: WeightType) -> None:
    if config.query_width != config.width and architecture not in _OWN_HEAD_WIDTH:
        raise UsageError(
            f"llama.cpp has no {architecture} whose heads have a width of their own "
            f"(attention.head_width {config.head_width})"
        )
    if isinstance(config.rope_scaling, Llama3Rope) and architecture != "llama":
        raise UsageError(f"llama.cpp has no {architecture} with rope_scaling llama3")
    if weights is WeightType.Q8_0 and any(
        width % 32 for width in (config.width, config.ffn, config.query_width)
    ):
        raise UsageError(
            f"q8_0 stores blocks of 32 weights, which rows of {config.width}, {config.ffn} and "
            f"{config.query_width} do not fill; choose f16"
        )


def _description(source: Path, config: ModelConfig) -> str:
    said = ["A language model of raw bytes, written by proxylm export."]
    if config.sentinels:
        said.append(f"Prompts begin with {PROMPT_PREFIX}.")
    imported = source_of(source)
    if imported is not None and imported.description.quantized_types:
        said.append(imported.description.dequantized)
    return " ".join(said)


def _add_sizes(writer: Any, config: ModelConfig, gguf: ModuleType) -> None:
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.ffn)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_width)
    writer.add_value_length(config.head_width)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_vocab_size(config.vocabulary_size)
    writer.add_rope_dimension_count(config.head_width)
    writer.add_rope_freq_base(config.rope_theta)
    if isinstance(config.rope_scaling, LinearRope):
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_scaling.factor)


def _add_vocabulary(writer: Any, config: ModelConfig, gguf: ModuleType) -> None:
    kinds = gguf.TokenType
    tokens = [symbol_name(symbol) for symbol in range(SPECIAL_COUNT)]
    types = [kinds.CONTROL] * SPECIAL_COUNT
    types[UNK] = kinds.UNKNOWN
    for byte in range(BYTE_COUNT):
        is_space = byte == ord(" ")
        tokens.append(" " if is_space else f"<0x{byte:02X}>")
        types.append(kinds.USER_DEFINED if is_space else kinds.BYTE)
    assert len(tokens) == COMPRESSED_OFFSET == config.vocabulary_size
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(types)
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    if RAW_CLOSE in end_symbols(sentinels=config.sentinels):
        writer.add_eot_token_id(RAW_CLOSE)
    writer.add_pad_token_id(PAD)
    writer.add_unk_token_id(UNK)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_array("tokenizer.ggml.suppress_tokens", suppressed_symbols(config))


def _add_tensors(
    writer: Any,
    tensors: dict[str, Tensor],
    config: ModelConfig,
    weights: WeightType,
    gguf: ModuleType,
) -> None:
    names = stored_names([*tensors, OUTPUT], config, gguf)
    wanted = gguf.GGMLQuantizationType[weights.name]
    for name, tensor in tensors.items():
        values = interleaved(name, tensor, config).numpy()
        stored_as = wanted if values.ndim > 1 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(names[name], gguf.quantize(values, stored_as), raw_dtype=stored_as)
    if config.norms_after and config.tied_embeddings:  # llama.cpp's OLMo 2 has no tied one
        tied = gguf.quantize(tensors[EMBEDDING].numpy(), wanted)
        writer.add_tensor(names[OUTPUT], tied, raw_dtype=wanted)
    if isinstance(config.rope_scaling, Llama3Rope):
        plain = inverse_frequencies(config.head_width, config.rope_theta)
        stretched = inverse_frequencies(config.head_width, config.rope_theta, config.rope_scaling)
        writer.add_tensor("rope_freqs.weight", (plain / stretched).numpy())
    writer.add_file_type(_FILE_TYPES[weights])
    if weights is WeightType.Q8_0:
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
