"""``proxylm compressor``: train compressors, and say what one is and what it does to a corpus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli.options import Flags, options
from proxylm.cli.output import (
    JsonOption,
    bars_or_lines,
    byte_progress,
    counts_text,
    emit,
    note,
    plain_value,
    table,
)
from proxylm.errors import UsageError
from proxylm.files import require_new
from proxylm.progress import stage

if TYPE_CHECKING:
    from proxylm.compressors.contract import Compressor
    from proxylm.compressors.neural.compressor import NeuralCompressor
    from proxylm.compressors.token_bytes import TokenBytesSettings
    from proxylm.compressors.tokenizer.training import TokenizerSettings
    from proxylm.corpus.config import CorpusConfig
    from proxylm.corpus.contract import Corpus
    from proxylm.corpus.left_out import LeftOut

app = typer.Typer(no_args_is_help=True)
train = typer.Typer(no_args_is_help=True, help="Train a compressor on a corpus's training part.")
app.add_typer(train, name="train")

CORPUS_CLASS = "proxylm.corpus.config:CorpusConfig"
CORPUS = Flags(
    CORPUS_CLASS, ("corpus=path", "pattern", "files", "text_field", "max_document_bytes")
)

HeldOutOption = Annotated[
    float, typer.Option(help="Share of documents kept out of training, chosen by hash.")
]
OutOption = Annotated[Path, typer.Option("--out", help="A new folder for the compressor.")]
SampleOption = Annotated[
    int | None,
    typer.Option(help="Train on about this many bytes, spread over the corpus.", min=1),
]

DEFAULT_SHOWN = 10
DEFAULT_HELD_OUT = 0.02
DEFAULT_COUNTED_BYTES = 64 << 20


@train.command("tokenizer")
@options(
    corpus=CORPUS,
    settings=Flags(
        "proxylm.compressors.tokenizer.training:TokenizerSettings",
        (
            "algorithm=training.algorithm",
            "pre_tokenization=training.pre_tokenization.kind",
            "vocabulary_size=training.vocabulary_size",
        ),
        {"training.algorithm": "bpe", "training.pre_tokenization.kind": "default"},
    ),
)
def train_tokenizer(
    corpus: CorpusConfig,
    settings: TokenizerSettings,
    out: OutOption,
    sample_bytes: SampleOption = None,
    held_out: HeldOutOption = DEFAULT_HELD_OUT,
    json: JsonOption = False,
) -> None:
    """Train a byte-level tokenizer; its tokens become the symbols.

    Example: proxylm compressor train tokenizer --corpus stdlib --vocabulary-size 4096 --out bpe
    """
    from proxylm.compressors.tokenizer.training import train_on_corpus
    from proxylm.corpus.left_out import LeftOut

    require_new(out)  # before the work, not after it
    training = settings.training
    opened = opened_corpus(corpus)
    note(f"training {training.algorithm} with {training.vocabulary_size} tokens on {opened.name}")
    left_out = LeftOut()
    with byte_progress() as show:
        trained = train_on_corpus(
            training,
            opened,
            held_out_fraction=held_out,
            sample_bytes=sample_bytes,
            left_out=left_out,
            say=note,
            progress=show,
        )
    _save(trained, out, left_out, as_json=json)


@train.command("token-bytes")
@options(
    settings=Flags(
        "proxylm.compressors.token_bytes:TokenBytesSettings", ("encoding", "double_byte")
    ),
    corpus=CORPUS,
)
def train_token_bytes(
    tokenizer: Annotated[str, typer.Option(help="A tokenizer's folder or file.")],
    out: OutOption,
    settings: TokenBytesSettings,
    corpus: CorpusConfig | None = None,
    sample_bytes: SampleOption = None,
    held_out: HeldOutOption = DEFAULT_HELD_OUT,
    json: JsonOption = False,
) -> None:
    """Write a tokenizer's tokens as bytes; huffman counts tokens in a corpus.

    Example: proxylm compressor train token-bytes --tokenizer bpe --encoding gray --out gray
    """
    from proxylm.compressors.registry import load_compressor
    from proxylm.compressors.token_bytes import TokenBytesCompressor, count_tokens
    from proxylm.compressors.tokenizer import TokenizerCompressor
    from proxylm.corpus.left_out import LeftOut
    from proxylm.corpus.split import training_sample

    require_new(out)  # before the work, not after it
    inner = load_compressor(tokenizer)
    if not isinstance(inner, TokenizerCompressor):
        raise UsageError(f"{tokenizer}: is a {inner.kind} compressor, not a tokenizer")
    frequencies, left_out = None, LeftOut()
    if settings.needs_frequencies:
        if corpus is None:
            raise UsageError("--encoding huffman counts tokens: give a --corpus")
        opened = opened_corpus(corpus)
        note(f"counting tokens of {opened.name}")
        with byte_progress() as show:
            documents = training_sample(
                opened,
                wanted_bytes=sample_bytes or DEFAULT_COUNTED_BYTES,
                fraction=held_out,
                left_out=left_out,
                progress=show,
            )
            frequencies = count_tokens(inner, documents, left_out)
    _save(TokenBytesCompressor(inner, settings, frequencies), out, left_out, as_json=json)


@app.command()
@options(corpus=CORPUS)
def info(
    compressor: Annotated[
        str, typer.Argument(help="A folder, a tokenizer's file or a name (gzip, units:bits=4).")
    ],
    corpus: CorpusConfig | None = None,
    held_out: HeldOutOption = DEFAULT_HELD_OUT,
    symbol: Annotated[
        int | None, typer.Option(help="List the strings behind this symbol (neural only).")
    ] = None,
    shown: Annotated[int, typer.Option(help="How many of them.", min=0)] = DEFAULT_SHOWN,
    json: JsonOption = False,
) -> None:
    """Say what a compressor is and, with a corpus, its rate on the held-out documents.

    Of a neural compressor also: nodes and codes of its automaton, collisions, the strings behind
    a symbol and, with a corpus, bits per byte and a histogram of bytes per symbol.

    Example: proxylm compressor info gzip --corpus stdlib --held-out 0.1
    """
    from proxylm.analysis.compression import measure_held_out
    from proxylm.compressors.neural.compressor import NeuralCompressor
    from proxylm.compressors.registry import load_compressor
    from proxylm.corpus.left_out import LeftOut

    loaded, left_out = load_compressor(compressor), LeftOut()
    opened = None if corpus is None else opened_corpus(corpus)
    if isinstance(loaded, NeuralCompressor):
        facts = _neural_facts(loaded, opened, held_out, left_out, symbol, shown)
    elif symbol is not None:
        raise UsageError(f"--symbol: only neural compressors have it, {compressor} is another kind")
    else:
        facts = loaded.describe()
        if opened is not None:
            with byte_progress() as show:
                facts["corpus"] = measure_held_out(
                    loaded, opened, held_out, left_out, progress=show
                )
    note_left_out(left_out)
    emit(facts, as_json=json, text=_info_text(facts))


def _info_text(facts: dict[str, Any]) -> str:
    found = facts.get("strings_behind")
    if found is None:
        return facts_table(facts)
    rows = [[one["string"], " ".join(map(str, one["symbols"]))] for one in found["strings"]]
    title = f"{found['count']:,} {found['of']} with symbol {found['symbol']}"
    others = {key: value for key, value in facts.items() if key != "strings_behind"}
    return "\n\n".join([facts_table(others), table([title, "symbols"], rows)])


def _neural_facts(
    compressor: NeuralCompressor,
    corpus: Corpus | None,
    held_out: float,
    left_out: LeftOut,
    symbol: int | None,
    shown: int,
) -> dict[str, Any]:
    from proxylm.analysis.compression import measure_held_out
    from proxylm.analysis.neural_facts import CorpusObserver, automaton_facts, strings_behind

    facts = compressor.describe()
    facts["automaton"] = automaton_facts(compressor.automaton)
    observer = None
    if corpus is not None:
        observer = CorpusObserver(compressor)
        with byte_progress() as show:
            facts["corpus"] = measure_held_out(
                compressor, corpus, held_out, left_out, observer.add, show
            )
        facts["corpus"] |= observer.facts()
    if symbol is not None:
        facts["strings_behind"] = strings_behind(compressor, symbol, observer, shown=shown)
    return facts


def opened_corpus(config: CorpusConfig) -> Corpus:
    """The corpus that a command's options name; says what of its folder is skipped by rule."""
    from proxylm.corpus.opening import open_corpus

    with bars_or_lines() as show, stage("opening the corpus", show):
        corpus = open_corpus(config)
    note_skipped(corpus.skipped)
    return corpus


def note_skipped(skipped: Mapping[str, int]) -> None:
    """Tell what of a folder is no part of its corpus, by rule."""
    if skipped:
        note(f"skipped by rule: {counts_text(skipped)}")


def note_left_out(left_out: LeftOut) -> None:
    """Tell what a command could not read of its corpus, and what helps."""
    if left_out:
        note(f"documents left out: {left_out}")


def _save(compressor: Compressor, out: Path, left_out: LeftOut, *, as_json: bool) -> None:
    from proxylm.compressors.registry import save_compressor

    save_compressor(compressor, out)
    note_left_out(left_out)
    facts = {"path": str(out)} | compressor.describe() | {"left_out": left_out.to_json()}
    emit(facts, as_json=as_json, text=facts_table(facts))


def facts_table(facts: dict[str, Any]) -> str:
    """A compressor's facts for reading, one a line."""
    return table(["", "value"], list(_fact_rows(facts, "")))


def _fact_rows(facts: dict[str, Any], prefix: str) -> Iterator[list[str]]:
    for key, value in facts.items():
        if isinstance(value, dict):
            yield from _fact_rows(value, f"{prefix}{key}.")
        elif value != "":
            yield [prefix + key, plain_value(value)]
