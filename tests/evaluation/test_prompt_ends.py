"""What evaluations read of a prompt's end: one answer, whichever way it is read."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

from benchmark_data import HUMANEVAL
from oracle_models import ReplayModel, ScriptedModule, token_scripts
from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.compressors.tokenizer.training import BpeTraining
from proxylm.errors import UsageError
from proxylm.evaluation.answers.options import SamplingPlan
from proxylm.evaluation.answers.run import Answering, sample_settings
from proxylm.evaluation.answers.writers import BytesWriter, TokensWriter
from proxylm.evaluation.benchmarks.humaneval import load_humaneval
from proxylm.evaluation.code_generation import PLAIN, evaluate_code
from proxylm.evaluation.prompt_boundary import evaluate_boundary
from proxylm.generation.byte_model import ByteModel
from proxylm.scoring.read_as import PromptEnd
from proxylm.symbols import (
    BOS,
    COMPRESSED_OFFSET,
    COMPRESSED_OPEN,
    vocabulary_size,
)
from small_models import small_model

BENCHMARK = load_humaneval(HUMANEVAL)
OPENING = [BOS, COMPRESSED_OPEN]


@cache
def tokenizer() -> TokenizerCompressor:
    texts = [(one.prompt + one.solution).decode() for one in BENCHMARK.problems]
    return TokenizerCompressor(BpeTraining(vocabulary_size=320).train(texts))


def ids(text: bytes) -> list[int]:
    return (tokenizer().compress([text])[0].astype(int) + COMPRESSED_OFFSET).tolist()


def trained() -> ReplayModel:
    """A model that has seen whole programs, cut into tokens without regard to the prompts."""
    scripts = token_scripts(BENCHMARK.problems, tokenizer())
    module = ScriptedModule(scripts, compressed_symbols=tokenizer().symbol_count)
    return ReplayModel((), module=module)


def test_programs_go_on_where_the_prompts_end(tmp_path: Path) -> None:
    """A model of tokens was trained on whole programs; what prompts have is not answered again."""
    writer = TokensWriter(trained(), tokenizer())
    answering = Answering(plan=SamplingPlan(), folder=tmp_path, execute=False)
    answers = answering.run(writer, {PLAIN: BENCHMARK})
    assert [one.completion for one in answers.samples] == [
        one.solution for one in BENCHMARK.problems
    ]
    report = evaluate_code(writer, BENCHMARK, None)
    assert (report.read_as, report.prompt_end) == ("tokens", "strip")
    assert report.solution_bits_per_byte < 1e-6
    kept = evaluate_code(writer.ending(PromptEnd.KEEP), BENCHMARK, None)
    assert kept.solution_bits_per_byte > 1


@torch.no_grad()
@pytest.mark.parametrize("end", [PromptEnd.STRIP, PromptEnd.KEEP, PromptEnd.HEAL])
def test_what_is_not_read_counts_with_the_solution(end: PromptEnd) -> None:
    model = ByteModel(
        small_model(seed=4, sharpness=6, vocabulary_size=vocabulary_size(320), context=512)
    )
    problem = BENCHMARK.problems[0]
    tokens = ids(problem.prompt)
    if end is PromptEnd.STRIP:
        read = ids(problem.prompt.rstrip())
    else:
        read = tokens if end is PromptEnd.KEEP else tokens[:-1]
    known = [symbol - COMPRESSED_OFFSET for symbol in read]
    covered = len(b"".join(tokenizer().token_bytes[one] for one in known))
    written = ids(problem.prompt[covered:] + problem.solution)
    row = [*OPENING, *read, *written]
    logits = model.module.logits(torch.tensor([row]))[0, :, 0].double()
    steps = torch.log2(torch.softmax(logits[:-1], -1)[range(len(row) - 1), row[1:]])
    expected = -float(steps[-len(written) :].sum())
    writer = TokensWriter(model, tokenizer(), end)
    assert writer.scorer.solution_bits([problem])[0] == pytest.approx(expected, rel=1e-4)


def test_samples_of_one_end_are_not_taken_for_anothers() -> None:
    model, plan = trained(), SamplingPlan()
    kept, healed, stripped = (
        sample_settings(TokensWriter(model, tokenizer(), end), plan)
        for end in (PromptEnd.KEEP, PromptEnd.HEAL, PromptEnd.STRIP)
    )
    assert stripped == sample_settings(TokensWriter(model, tokenizer()), plan)
    assert healed == kept | {"prompt_end": "heal"} and stripped == kept | {"prompt_end": "strip"}
    as_bytes = sample_settings(BytesWriter(model), plan)
    assert as_bytes == sample_settings(BytesWriter(model, PromptEnd.HEAL), plan)
    assert "prompt_end" not in as_bytes


def test_suffixes_cannot_be_stripped() -> None:
    writer = TokensWriter(trained(), tokenizer())
    with pytest.raises(UsageError, match="would take every suffix away"):
        evaluate_boundary(writer, BENCHMARK, None)
    report = evaluate_boundary(writer.ending(PromptEnd.KEEP), BENCHMARK, None)
    assert len(set(report.solution_bits_per_byte.by_suffix.values())) > 1
