"""The model card of an export: data, compressor, schedule, results, limits, from the run's files.

Nothing is claimed that the files do not say. Paths are given by their last part alone: the rest
is the exporter's machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proxylm.checkpoints.checkpoint import Checkpoint, TrainingState
from proxylm.checkpoints.layouts.contract import Layout
from proxylm.checkpoints.run_data import CONFIG_FILE, read_run_config, run_folder
from proxylm.config import validate_config
from proxylm.data.mixture_numbers import mixture_numbers
from proxylm.data.sources import SourceConfig
from proxylm.data.store.manifest import Manifest, read_manifest
from proxylm.errors import DataError
from proxylm.interchange.source import Source
from proxylm.interchange.vocabulary import Vocabulary
from proxylm.models.config import EvaAttention, ModelConfig
from proxylm.printable import printable
from proxylm.symbols import COMPRESSED_OFFSET, RAW_OFFSET, UNK, symbol_name
from proxylm.training.config import TrainingConfig
from proxylm.yaml_text import dump_yaml

FRONT_MATTER = """---
library_name: transformers
pipeline_tag: text-generation
tags: [byte-level, proxy-compression, proxylm]
---
"""
UNKNOWN = "Not known: no configuration of its training is beside the model."


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a card is written from.

    Attributes:
        name: its title.
        original: the model as it was trained.
        exported: the model as it is in the folder.
        vocabulary: which of its symbols are there.
        layout: how it is written.
        source: what it was imported from; None of a model of our own.
        checkpoint: where its weights come from; None without a run.
    """

    name: str
    original: ModelConfig
    exported: ModelConfig
    vocabulary: Vocabulary
    layout: Layout
    source: Source | None
    checkpoint: Checkpoint | None

    @property
    def training(self) -> TrainingConfig | None:
        """The configuration of the run, where it has one and its folder is still around.

        Raises:
            DamagedFileError, UsageError: it is there and cannot be read.
        """
        run = None if self.checkpoint is None else run_folder(self.checkpoint.path)
        if run is None or not (run / CONFIG_FILE).is_file():
            return None
        values = read_run_config(run)
        if "data" not in values:
            return None  # a run of objects, whose configuration has their names alone
        return validate_config(TrainingConfig, values, origin=str(run / CONFIG_FILE))


def describe(card: Card) -> str:
    """The card as Markdown."""
    training = card.training
    state = card.checkpoint.state if card.checkpoint else None
    sections = {
        "Use": _use(card),
        **({"Source": _source_model(card.source)} if card.source else {}),
        "Model": _model(card),
        "Data": _data(training),
        "Compressor": _compressor(card, training),
        "Schedule": _schedule(training, state),
        "Results": _results(card, state),
        "Limits": _limits(card, state),
    }
    body = "".join(f"\n## {title}\n\n{text.strip()}\n" for title, text in sections.items())
    introduction = (
        "A language model that reads and writes raw bytes, trained with proxylm by proxy "
        "compression (arXiv 2602.04289) and written by `proxylm export`.\n"
    )
    if card.vocabulary is Vocabulary.TOKENS:
        introduction = "A language model of tokens, written by `proxylm export`.\n"
    return f"{FRONT_MATTER}\n# {printable(card.name)}\n\n{introduction}{body}"


def _use(card: Card) -> str:
    remote = ", trust_remote_code=True" if card.layout.code else ""
    note = (
        "\n`trust_remote_code` runs `modeling_evabyte.py` of this folder; read it before.\n"
        if remote
        else ""
    )
    return (
        "```python\n"
        "from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast\n\n"
        'folder = "."  # where this file lies\n'
        "tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)\n"
        f"model = AutoModelForCausalLM.from_pretrained(folder{remote})\n"
        'inputs = tokenizer("def main(", return_tensors="pt")\n'
        "print(tokenizer.decode(model.generate(**inputs, max_new_tokens=80)[0], "
        "skip_special_tokens=True))\n"
        f"```\n{note}"
    )


def _source_model(source: Source) -> str:
    described = source.description
    if described.quantized_types:
        return _list(described.dequantized)
    return _list(f"imported from `{printable(described.name)}`")


def _model(card: Card) -> str:
    config = card.exported
    attention = f"causal, {config.kv_heads} key-value heads"
    if isinstance(config.attention, EvaAttention):
        attention = f"EVA, window {config.attention.window}, chunk {config.attention.chunk}"
    heads = f"{config.prediction_heads} over all symbols"
    if config.raw_prediction_heads:
        heads += f", {config.raw_prediction_heads} over bytes alone"
    return _list(
        f"`{card.layout.class_name}`, {config.parameter_count:,} parameters, float32",
        f"{config.layers} layers, width {config.width}, feed-forward {config.ffn}, "
        f"{config.heads} attention heads",
        f"attention: {attention}; trained on contexts of {config.context} symbols",
        _symbols(card),
        f"prediction heads: {heads}; softmax `{config.softmax}`",
    )


def _symbols(card: Card) -> str:
    config = card.exported
    if card.vocabulary is Vocabulary.TOKENS:
        return f"vocabulary: the {config.vocabulary_size} tokens of its tokenizer"
    return (
        f"vocabulary: {config.vocabulary_size} symbols (specials below {RAW_OFFSET}, bytes from "
        f"there to {COMPRESSED_OFFSET - 1}, compressed symbols after that); "
        f"{'with' if config.sentinels else 'without'} sentinels around raw text"
    )


def _data(training: TrainingConfig | None) -> str:
    if training is None:
        return UNKNOWN
    return _list(*(_source(source) for source in training.data))


def _source(source: SourceConfig) -> str:
    name = f"`{printable(Path(source.store).name)}`, weight {source.weight:g}"
    manifest = _manifest(source)
    if manifest is None:
        return f"{name}: the view store is not at hand any more"
    documents = sum(shard.rows for shard in manifest.shards)
    held_out = sum(shard.held_out_rows for shard in manifest.shards)
    num_bytes = sum(shard.num_bytes for shard in manifest.shards)
    return (
        f"{name}: corpus `{printable(Path(manifest.corpus.name).name)}`, {documents:,} documents, "
        f"{num_bytes:,} bytes, {held_out:,} of the documents held out; "
        f"fingerprint `{manifest.fingerprint}`"
    )


def _compressor(card: Card, training: TrainingConfig | None) -> str:
    symbols = card.original.vocabulary_size - COMPRESSED_OFFSET
    if not symbols:
        return "None: the vocabulary is the specials and the bytes alone."
    lines = []
    for source in training.data if training else ():
        manifest = _manifest(source)
        if manifest is not None and source.view in manifest.views:
            record = manifest.views[source.view]
            lines.append(
                f"`{source.view}`: {record.kind}, {record.symbol_count:,} symbols, "
                f"{'reversible' if record.reversible else 'lossy'}, "
                f"fingerprint `{record.compressor_fingerprint}`"
            )
    if card.vocabulary is Vocabulary.BYTES:
        lines.append(f"its {symbols:,} symbols are left out of this export")
    elif card.vocabulary is Vocabulary.TOKENS:
        lines.append(f"its {symbols:,} symbols are the tokens of this export")
    else:
        lines.append(f"its {symbols:,} symbols are ids from {COMPRESSED_OFFSET} on")
    return _list(*lines)


def _manifest(source: SourceConfig) -> Manifest | None:
    try:
        return read_manifest(Path(source.store))
    except (DataError, OSError):
        return None  # moved, removed or damaged since: the card says that it is not at hand


def _schedule(training: TrainingConfig | None, state: TrainingState | None) -> str:
    if training is None:
        return UNKNOWN
    steps = training.total_steps
    mixture = "views mixed by objects of the program that trained it, named below"
    if not training.mixing.has_own_objects:
        numbers = mixture_numbers(training.mixing, steps)
        mixture = (
            f"share of views shown compressed: {numbers.rates[0]:.2f} in the first step, "
            f"{numbers.rates[-1]:.2f} in the last, {numbers.rates.mean():.2f} on average; "
            f"translation pairs in the first {numbers.steps_with_pairs:,} steps"
        )
    done = f"{state.step:,} of {steps:,}" if state else f"{steps:,}"
    summary = _list(
        f"{done} steps of {training.symbols_per_step:,} symbols, seed {training.seed}",
        mixture,
    )
    if training.init_from:
        summary += f"- started from `{printable(Path(training.init_from).name)}`\n"
    chosen = training.model_dump(mode="json", include={"mixing", "optimizer", "learning_rate"})
    return f"{summary}\n```yaml\n{dump_yaml(chosen)}```\n"


def _results(card: Card, state: TrainingState | None) -> str:
    if state is None:
        return UNKNOWN
    held_out = [
        f"held-out bits per byte, read as {'bytes' if view == 'raw' else view}: {bits:.4f}"
        for view, bits in state.held_out.items()
    ]
    if held_out and card.vocabulary is Vocabulary.BYTES and card.original.compressed_symbol_count:
        held_out.append(
            "these were measured with the compressed symbols, which this export leaves out"
        )
    loss = [] if state.loss is None else [f"loss of the last update: {state.loss:.4f} nats"]
    return _list(
        *(held_out or ["held-out bits per byte were not measured"]),
        *loss,
        f"trained on {state.symbols:,} symbols, which show {state.raw_bytes:,} raw bytes of "
        f"{state.documents:,} documents",
        f"{state.training_flops:.3g} floating-point operations in {state.seconds:,.0f} s of "
        "training steps",
    )


def _limits(card: Card, state: TrainingState | None) -> str:
    lines = [
        "a base model: it continues text; it was not tuned to follow instructions, and nothing "
        "filters what it writes",
        f"text longer than {card.exported.context} symbols was not seen in one piece in training",
        *_limits_of_vocabulary(card),
        "the licence of the training data is not known to the exporter",
    ]
    if state is not None and state.symbols:
        ratio = state.symbols / card.original.parameter_count
        lines.append(f"it was trained on {ratio:.2g} symbols per parameter")
    return _list(*lines, *_limits_of_layout(card))


def _limits_of_vocabulary(card: Card) -> tuple[str, ...]:
    if card.vocabulary is Vocabulary.TOKENS:
        if not card.original.sentinels:
            return ()
        return (
            "trained with `<bos>` and a sentinel before every text, which this export cannot have",
        )
    return (
        f"the literal spellings of special tokens (`{symbol_name(UNK)}` and its kin) in a text are "
        "read as those tokens; `split_special_tokens=True` reads them as text",
        'for training, pad on the right (`tokenizer.padding_side = "right"`): with padding on the '
        "left, the loss of transformers also asks for `<bos>` after padding",
        "what it writes may be invalid UTF-8, which the tokenizer shows as U+FFFD",
    )


def _limits_of_layout(card: Card) -> Iterator[str]:
    heads = card.original.target_heads - card.exported.target_heads
    if heads:
        yield f"{heads} further prediction heads of the trained model are left out"
    if card.layout.code:
        yield (
            "one document per row: packed contexts and `position_ids` other than a row's own are "
            "refused, as is `output_attentions`; columns that `attention_mask` leaves out are "
            "skipped, so that rows can be padded"
        )
    elif card.exported.normalizes_by_format and card.vocabulary is Vocabulary.BYTES:
        yield (
            "trained with softmax by_format: inside raw text the probabilities are the trained "
            "ones, after a closing sentinel this export also gives bytes some"
        )
    if card.vocabulary is Vocabulary.BOTH and card.original.compressed_symbol_count:
        yield (
            "compressed symbols keep their logits and have no entry in `tokenizer.json`; "
            "`generation_config.json` suppresses them"
        )


def _list(*lines: str) -> str:
    return "".join(f"- {line}\n" for line in lines)
