"""Token reading and translation with compressors that have learned something: real symbols."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark_data import HUMANEVAL
from oracle_models import ReplayModel, ScriptedModule, raw_ids, token_scripts
from proxylm.compressors.neural.byte_lm.model import ByteLM
from proxylm.compressors.neural.coder.automaton_build import build_automaton
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.neural.compressor import NeuralCompressor
from proxylm.compressors.neural.segmentation.simple import FixedSegmentation
from proxylm.compressors.neural.settings import NeuralSettings
from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.compressors.tokenizer.training import BpeTraining
from proxylm.errors import UsageError
from proxylm.evaluation.answers.folder import opened_folder
from proxylm.evaluation.answers.options import Budget, SamplingPlan
from proxylm.evaluation.answers.run import Answering, sample_settings
from proxylm.evaluation.answers.writers import TokensWriter
from proxylm.evaluation.benchmarks.humaneval import load_humaneval
from proxylm.evaluation.benchmarks.problem import Benchmark
from proxylm.evaluation.code_generation import PLAIN, evaluate_code
from proxylm.evaluation.translation import (
    TranslationWriter,
    evaluate_translation,
)
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.decoding import Finish, complete
from proxylm.generation.options import generation_options
from proxylm.generation.request import ByteRequest
from proxylm.scoring.prompts import stripped
from proxylm.symbols import (
    BOS,
    COMPRESSED_CLOSE,
    COMPRESSED_OFFSET,
    COMPRESSED_OPEN,
    RAW_CLOSE,
    RAW_OPEN,
    vocabulary_size,
)
from small_models import ATTENTIONS, small_model

BENCHMARK = load_humaneval(HUMANEVAL)
PROBLEM = BENCHMARK.problems[-1]


@cache
def tokenizer() -> TokenizerCompressor:
    """BPE of 300 tokens, trained on the problems."""
    texts = [(one.prompt + one.solution).decode() for one in BENCHMARK.problems]
    return TokenizerCompressor(BpeTraining(vocabulary_size=300).train(texts))


@cache
def neural() -> NeuralCompressor:
    """Arithmetic codes of a byte LM with random weights: it has all parts and 65536 symbols."""
    lm = small_model(
        layers=1,
        sharpness=8.0,
        attention=ATTENTIONS["causal"],
        vocabulary_size=COMPRESSED_OFFSET,
        prediction_heads=1,
        sentinels=False,
    )
    coder = CoderSettings()
    byte_lm = ByteLM(lm, device="cpu")
    settings = NeuralSettings(segmentation=FixedSegmentation(length=16), coder=coder)
    return NeuralCompressor(byte_lm, settings, automaton=build_automaton(byte_lm, coder))


def compressed(symbols: np.ndarray) -> list[int]:
    return (symbols.astype(int) + COMPRESSED_OFFSET).tolist()


def job(folder: Path, budget: Budget | None = None) -> Answering:
    plan = SamplingPlan(budget=budget or Budget())
    return Answering(plan=plan, folder=folder, execute=False)


def tokens_writer() -> TokensWriter:
    """Its model continues every prompt with the tokens of the solution."""
    scripts = token_scripts(BENCHMARK.problems, tokenizer())
    module = ScriptedModule(scripts, compressed_symbols=tokenizer().symbol_count)
    return TokensWriter(ReplayModel((), module=module), tokenizer())


def test_tokens_of_a_tokenizer_are_spelled(tmp_path: Path) -> None:
    writer, job_here = tokens_writer(), job(tmp_path)
    report = evaluate_code(writer, BENCHMARK, job_here)
    assert report.solution_bits_per_byte < 1e-6
    with opened_folder(tmp_path, sample_settings(writer, job_here.plan)) as folder:
        samples = list(folder.samples().values())
    assert [one.completion for one in samples] == [one.solution for one in BENCHMARK.problems]
    assert {one.finish for one in samples} == {Finish.END}


def test_the_budget_of_tokens_is_counted_in_tokens(tmp_path: Path) -> None:
    budget = Budget(max_symbols=3, max_bytes=1)
    results = job(tmp_path, budget).run(tokens_writer(), {PLAIN: BENCHMARK})
    ends = [stripped(one.prompt)[1] for one in BENCHMARK.problems]
    whole = [end + one.solution for end, one in zip(ends, BENCHMARK.problems, strict=True)]
    symbols = tokenizer().compress(whole)
    written = tokenizer().decompress([one[:3] for one in symbols])  # with the prompts' ends
    beginnings = [text.removeprefix(end) for end, text in zip(ends, written, strict=True)]
    assert [one.completion for one in results.samples] == beginnings
    assert any(len(text) > 3 for text in beginnings), "some token has several bytes"


@pytest.mark.parametrize("jointly", [True, False])
def test_translation_from_tokens(jointly: bool, tmp_path: Path) -> None:
    blank = ReplayModel((), module=ScriptedModule([], compressed_symbols=300))
    prompts = TranslationWriter(blank, tokenizer(), jointly=jointly)
    scripts = []
    for problem, prefix in zip(
        BENCHMARK.problems, prompts.prefixes(BENCHMARK.problems), strict=True
    ):
        shown = [problem.prompt + problem.solution]
        shown = shown if jointly else [problem.prompt, problem.solution]
        symbols = np.concatenate(tokenizer().compress(shown))
        opening = [BOS, COMPRESSED_OPEN, *compressed(symbols), COMPRESSED_CLOSE, RAW_OPEN]
        assert prefix.tolist() == opening
        answer = [*raw_ids(problem.solution), RAW_CLOSE]
        scripts.append(([*opening, *raw_ids(problem.prompt)], answer))
    module = ScriptedModule(scripts, compressed_symbols=300)
    writer = TranslationWriter(ReplayModel((), module=module), tokenizer(), jointly=jointly)
    report = evaluate_translation(writer, BENCHMARK, job(tmp_path))
    assert report.compressor == "tokenizer"
    assert report.recovery is not None and report.recovery.exact_match == 1
    assert report.likelihood.gain is not None and report.likelihood.gain > 0.99


def test_prompts_beyond_the_context_count_with_their_bytes() -> None:
    [symbols] = tokenizer().compress([PROBLEM.prompt + PROBLEM.solution])
    prefix = len([BOS, COMPRESSED_OPEN, *symbols, COMPRESSED_CLOSE, RAW_OPEN])
    size = vocabulary_size(tokenizer().symbol_count)
    one = Benchmark(name="one", problems=(PROBLEM,), stop=(), origin="test")
    for room, beyond in ((len(PROBLEM.prompt), 0), (len(PROBLEM.prompt) - 1, 1)):
        sizes = {"vocabulary_size": size, "context": prefix + room}
        model = ByteModel(small_model(attention=ATTENTIONS["causal"], **sizes))
        writer = TranslationWriter(model, tokenizer())
        report = evaluate_translation(writer, one, None)
        assert report.beyond_context == beyond
        assert report.likelihood.left_out == 1  # with the solution, too long for either


@torch.no_grad()
def bits_per_byte(model: ByteModel, before: list[int], solution: bytes) -> float:
    """The definition, in one pass over everything."""
    ids = [*before, *raw_ids(solution)]
    logits = model.module.logits(torch.tensor([ids]))[0, :, 0].double()
    chosen = torch.log_softmax(logits, -1)[range(len(before) - 1, len(ids) - 1), ids[len(before) :]]
    return -float(chosen.sum()) / float(np.log(2)) / len(solution)


def test_translation_from_neural_codes(tmp_path: Path) -> None:
    size = vocabulary_size(neural().symbol_count)
    model = ByteModel(small_model(seed=3, sharpness=8, vocabulary_size=size, context=1024))
    one = Benchmark(name="one", problems=(PROBLEM,), stop=(), origin="test")
    [symbols] = neural().compress([PROBLEM.prompt + PROBLEM.solution])
    assert symbols.max() >= 256, "symbols that a byte could not be"
    prefix = [BOS, COMPRESSED_OPEN, *compressed(symbols), COMPRESSED_CLOSE, RAW_OPEN]
    options = generation_options(max_new_bytes=6)
    request = ByteRequest(prompt=PROBLEM.prompt, prefix=np.array(prefix), options=options, sample=0)
    [expected] = complete(model.module, [request])

    writer = TranslationWriter(model, neural())
    here = job(tmp_path, Budget(max_bytes=6))
    report = evaluate_translation(writer, one, here)
    with opened_folder(tmp_path, sample_settings(writer, here.plan)) as folder:
        [sample] = folder.samples().values()
    assert sample.completion == expected.data
    assert sample_settings(writer, here.plan)["read_as"] == "oracle"  # part of the folder's name
    assert (report.compressor, report.beyond_context) == ("neural", 0)

    gain, prompt = report.likelihood, raw_ids(PROBLEM.prompt)
    translated = bits_per_byte(model, [*prefix, *prompt], PROBLEM.solution)
    alone = bits_per_byte(model, [BOS, RAW_OPEN, *prompt], PROBLEM.solution)
    assert gain.translated_bits_per_byte == pytest.approx(translated, rel=1e-5)
    assert gain.bits_per_byte == pytest.approx(alone, rel=1e-5)
    assert gain.gain == pytest.approx(1 - translated / alone, abs=1e-5)


def test_neural_codes_cannot_be_read_as_tokens() -> None:
    model = ByteModel(small_model(vocabulary_size=vocabulary_size(neural().symbol_count)))
    with pytest.raises(UsageError, match="it is lossy"):
        TokensWriter(model, neural())
