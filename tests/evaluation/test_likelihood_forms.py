"""Likelihood forms beside their definitions, and by hand."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark_data import HUMANEVAL
from proxylm.compressors.registry import load_compressor
from proxylm.errors import DataError, UsageError
from proxylm.evaluation.answers.folder import Sample, SampleKey
from proxylm.evaluation.answers.options import SamplingPlan
from proxylm.evaluation.answers.run import Answering
from proxylm.evaluation.benchmarks.humaneval import load_humaneval
from proxylm.evaluation.benchmarks.problem import Benchmark, Problem
from proxylm.evaluation.likelihood import Bits, Scorer, solution_bits_per_byte
from proxylm.evaluation.prompt_boundary import SUFFIXES, spread, suffix_name, with_suffix
from proxylm.evaluation.recode.folder import FAMILIES, FamilyData
from proxylm.evaluation.recode.likelihood import (
    PromptBits,
    RobustBits,
    measure_family,
    rivals_of,
    robust_bits,
)
from proxylm.evaluation.recode.statistics import aggregated, mean_of
from proxylm.evaluation.translation import (
    Recovery,
    TranslationWriter,
    evaluate_translation,
    recovery,
    translation_gain,
)
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.decoding import Finish
from proxylm.models.language_model import LanguageModel
from proxylm.scoring.readings import CompressedReading, RawReading
from proxylm.symbols import (
    BOS,
    COMPRESSED_CLOSE,
    COMPRESSED_OFFSET,
    COMPRESSED_OPEN,
    RAW_OFFSET,
    RAW_OPEN,
)
from small_models import small_model

UNITS = load_compressor("units:bits=8")
PROBLEM = Problem(
    task_id="T/1",
    prompt=b"def f():\n    '''?'''\n",
    solution=b"    return 1\n",
    entry_point="f",
    test="",
    timeout_s=1.0,
)


@torch.no_grad()
def plain_bits(model: LanguageModel, before: list[int], scored: list[int]) -> float:
    """The definition, in one pass over everything."""
    logits = model.logits(torch.tensor([before + scored]))[0, :, 0].double()
    chosen = torch.log_softmax(logits, -1)
    places = range(len(before) - 1, len(before) + len(scored) - 1)
    return -sum(
        float(chosen[place, symbol]) for place, symbol in zip(places, scored, strict=True)
    ) / float(np.log(2))


def raw(data: bytes) -> list[int]:
    return [byte + RAW_OFFSET for byte in data]


def test_solutions_cost_what_they_cost_after_their_prompts() -> None:
    model = small_model(seed=3, sharpness=8)
    bits = Scorer(model, RawReading()).solution_bits([PROBLEM])
    expected = plain_bits(model, [BOS, RAW_OPEN, *raw(PROBLEM.prompt)], raw(PROBLEM.solution))
    assert bits == pytest.approx([expected], rel=1e-5)
    rate = solution_bits_per_byte(Scorer(model, RawReading()), [PROBLEM, PROBLEM])
    assert rate == pytest.approx(expected / len(PROBLEM.solution), rel=1e-5)


def test_read_as_symbols_both_parts_are_compressed() -> None:
    model, compressor = small_model(seed=3, sharpness=8), load_compressor("units:bits=4")
    scorer = Scorer(model, CompressedReading(compressor))
    # The model has room for 256 symbols; these have 16. Two of them are a byte.
    prompt, solution = compressor.compress([PROBLEM.prompt, PROBLEM.solution])
    assert len(solution) == 2 * len(PROBLEM.solution)
    short = replace(PROBLEM, prompt=PROBLEM.prompt[:6])
    prompt, _ = compressor.compress([short.prompt, short.solution])
    expected = plain_bits(
        model,
        [BOS, COMPRESSED_OPEN, *(prompt.astype(int) + COMPRESSED_OFFSET)],
        (solution.astype(int) + COMPRESSED_OFFSET).tolist(),
    )
    assert scorer.solution_bits([short]) == pytest.approx([expected], rel=1e-5)


def test_a_long_prompt_costs_nothing_and_leaves_the_solution_in_windows() -> None:
    model = small_model(seed=3, sharpness=8)  # its context has 64 symbols
    scorer = Scorer(model, RawReading())
    text = bytes(range(65, 91)) * 8 + PROBLEM.solution
    whole = scorer.bits([b""], [text])
    for cut in (90, 199):
        # Windows lie by content, so a prompt's own symbols cost the same in the whole.
        prompt = scorer.bits([b""], [text[:cut]])
        rest = scorer.bits([text[:cut]], [text[cut:]])
        assert prompt + rest == pytest.approx(whole, rel=1e-5)
        assert 0 < rest[0] < whole[0]
    with pytest.raises(DataError, match="T/1: its canonical solution is empty"):
        solution_bits_per_byte(scorer, [replace(PROBLEM, solution=b"")])


def test_every_suffix_leaves_a_program_that_means_the_same() -> None:
    problems = [*load_humaneval(HUMANEVAL).problems, PROBLEM]
    for problem in problems:
        namespaces = []
        for suffix in SUFFIXES:
            changed = with_suffix(problem, suffix)
            assert changed.prompt == problem.prompt.rstrip() + suffix
            source = (changed.prompt + changed.solution).decode()
            code = compile(source, "program", "exec")
            namespaces.append(next(part for part in code.co_consts if hasattr(part, "co_code")))
        assert len({part.co_code for part in namespaces}) == 1


def test_what_a_suffix_leaves() -> None:
    left = {suffix: with_suffix(PROBLEM, suffix).solution for suffix in SUFFIXES}
    assert left[b""] == b"\n    return 1\n"
    assert left[b"\n"] == left[b" \n"] == left[b"\n\n"] == b"    return 1\n"
    assert left[b"\n   "] == b" return 1\n"
    assert left[b"\n    "] == b"return 1\n"
    assert left[b"\n\t"] == b"\n    return 1\n"


def test_the_spread_is_of_the_population() -> None:
    result = spread({"a": 0.2, "b": 0.4, "c": 0.9})
    assert result.mean == pytest.approx(0.5)
    assert result.standard_deviation == pytest.approx(statistics.pstdev([0.2, 0.4, 0.9]))
    assert suffix_name(b"\n\t") == '"\\n\\t"'
    assert len(SUFFIXES) == len(set(SUFFIXES)) == 9


def test_translation_gain_is_what_the_compressed_form_saves() -> None:
    model = ByteModel(small_model(seed=3, sharpness=8, context=128))
    for jointly in (True, False):
        prompts = TranslationWriter(model, UNITS, jointly=jointly)
        gain = translation_gain(prompts, [PROBLEM])
        whole = PROBLEM.prompt + PROBLEM.solution
        before = [BOS, COMPRESSED_OPEN, *(byte + COMPRESSED_OFFSET for byte in whole)]
        before += [COMPRESSED_CLOSE, RAW_OPEN, *raw(PROBLEM.prompt)]
        num_bytes = len(PROBLEM.solution)
        translated = plain_bits(model.module, before, raw(PROBLEM.solution)) / num_bytes
        alone = solution_bits_per_byte(Scorer(model.module, RawReading()), [PROBLEM])
        assert gain.translated_bits_per_byte == pytest.approx(translated, rel=1e-5)
        assert gain.bits_per_byte == pytest.approx(alone, rel=1e-6)
        assert gain.gain == pytest.approx(1 - translated / alone, abs=1e-6)


def test_prompts_that_do_not_fit_are_left_out_and_counted() -> None:
    model = ByteModel(small_model(seed=3, context=128))
    prompts = TranslationWriter(model, UNITS)
    long = replace(PROBLEM, prompt=PROBLEM.prompt + b"# x\n" * 30)
    both = translation_gain(prompts, [PROBLEM, long])
    assert (both.problems, both.left_out) == (1, 1)
    assert both == replace(translation_gain(prompts, [PROBLEM]), left_out=1)
    none = translation_gain(prompts, [long])
    assert (none.problems, none.left_out, none.gain) == (0, 1, None)


def test_joint_and_separate_prompts_differ_for_gzip() -> None:
    model, gzip = ByteModel(small_model()), load_compressor("gzip")
    jointly, separately = (TranslationWriter(model, gzip, jointly=joint) for joint in (True, False))
    [joint], [apart] = (prompts.prefixes([PROBLEM]) for prompts in (jointly, separately))
    first, second = gzip.compress([PROBLEM.prompt, PROBLEM.solution])
    assert len(apart) == len(first) + len(second) + 4
    assert len(joint) == len(gzip.compress([PROBLEM.prompt + PROBLEM.solution])[0]) + 4
    with pytest.raises(UsageError, match="a model with sentinels"):
        TranslationWriter(ByteModel(small_model(sentinels=False)), gzip)
    with pytest.raises(UsageError, match="was trained with compressor 00"):
        TranslationWriter(ByteModel(small_model(), compressor_fingerprint="00"), gzip)


def test_recovery_ignores_white_space_at_the_end_and_nothing_else() -> None:
    def sample(completion: bytes) -> Sample:
        key = SampleKey(condition="oracle", task_id="T/1", sample=0)
        return Sample(key=key, prompt="", completion=completion, finish=Finish.END)

    problems = {"T/1": PROBLEM}
    assert recovery([sample(b"    return 1\n\n  ")], problems) == Recovery(
        exact_match=1.0, edit_similarity=1.0
    )
    # Of 12 bytes one differs; the other sample lacks all of them.
    found = recovery([sample(b"    return 2"), sample(b"")], problems)
    assert found.exact_match == 0
    assert found.edit_similarity == pytest.approx((11 / 12 + 0) / 2)


def test_without_rapidfuzz_nothing_is_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidfuzz.distance", None)
    writer = TranslationWriter(ByteModel(small_model()), UNITS)
    benchmark = Benchmark(name="one", problems=(PROBLEM,), stop=(), origin="test")
    job = Answering(plan=SamplingPlan(), folder=Path("unused"), execute=False)
    with pytest.raises(UsageError, match=r"pip install 'proxylm\[evaluation\]'"):
        evaluate_translation(writer, benchmark, job)
    assert evaluate_translation(writer, benchmark, None).recovery is None


def bits(*values: float, beats: tuple[bool, ...] = (True, True)) -> PromptBits:
    return PromptBits(np.array(values), np.array(beats))


def test_robust_bits_by_hand() -> None:
    # Two problems of 4 and 6 bytes; bits per byte of each.
    num_bytes = np.array([4.0, 6.0])
    nominal = bits(2, 2)
    first, second = bits(2.5, 1.5, beats=(True, False)), bits(2.25, 3)
    one = robust_bits(nominal, [first, second], num_bytes)
    assert one.nominal == pytest.approx(2.0)
    assert one.robust == pytest.approx((4 * 2.5 + 6 * 3) / 10)
    assert one.drop == pytest.approx(28 / 20 - 1)
    assert one.flip_rate == 0.5
    family = aggregated(
        {"a": [first, second], "b": [bits(2, 2)]},
        lambda variants: robust_bits(nominal, variants, num_bytes),
    )
    assert family.mean.robust == pytest.approx((2.8 + 2.0) / 2)
    assert family.mean.flip_rate == 0.25
    assert family.worst == one
    assert mean_of([robust_bits(bits(0, 0), [first], num_bytes), one]).drop is None


class BytesCostTheirValue:
    """In the place of a ``Scorer``: a byte costs as many bits as its value, whatever the prompt."""

    def bits(self, prompts: Sequence[bytes], continuations: Sequence[bytes]) -> Bits:
        return np.array([sum(text) for text in continuations], dtype=np.float64)

    def solution_bits(self, problems: Sequence[Problem]) -> Bits:
        return self.bits([], [problem.solution for problem in problems])


def robust_form(nominal: Sequence[bytes], variant: Sequence[bytes]) -> RobustBits:
    """Of solutions alone, under one variant that changes them."""

    def form(solutions: Sequence[bytes]) -> Benchmark:
        problems = [
            replace(PROBLEM, task_id=f"T/{index}", solution=solution)
            for index, solution in enumerate(solutions)
        ]
        return Benchmark(name="recode", problems=tuple(problems), stop=(), origin="test")

    perturbations = {"one": [form(variant)]}
    data = FamilyData(family=FAMILIES[0], nominal=form(nominal), perturbations=perturbations)
    return measure_family(BytesCostTheirValue(), data).worst  # type: ignore[arg-type]


def test_the_rival_is_the_next_problem_s_nominal_solution_under_every_variant() -> None:
    # Nominally the first wins (2 < 3), the second loses (3 > 2). The variant makes the second's own
    # solution cheap: it wins, and nothing changes for the first.
    assert robust_form([b"\2\2", b"\3\3"], [b"\2\2", b"\1\1"]).flip_rate == 0.5


def test_a_variant_s_solution_counts_over_its_own_bytes() -> None:
    # Twice or half as many bytes at the same price each are no loss and no gain.
    same = robust_form([b"\2\2", b"\3\3"], [b"\2", b"\3\3\3\3"])
    assert (same.nominal, same.robust, same.drop, same.flip_rate) == (2.5, 2.5, 0.0, 0.0)
    # Weighted by nominal bytes: (1 · 4 + 3 · 2) / 4 beside (1 · 2 + 3 · 2) / 4.
    dearer = robust_form([b"\2", b"\2\2\2"], [b"\4\4\4", b"\2"])
    assert (dearer.nominal, dearer.robust, dearer.drop) == (2.0, 2.5, 0.25)


def test_bits_per_byte_are_measured_under_each_prompt() -> None:
    scorer = Scorer(small_model(seed=3, sharpness=8), RawReading())
    other = replace(PROBLEM, task_id="T/2", prompt=b"def g():\n", solution=b"    pass\n")
    problems = [PROBLEM, other]
    assert rivals_of(problems) == [other.solution, PROBLEM.solution]
    measured = PromptBits.measure(scorer, problems, rivals_of(problems))
    own = scorer.bits([PROBLEM.prompt], [PROBLEM.solution])[0] / len(PROBLEM.solution)
    rival = scorer.bits([PROBLEM.prompt], [other.solution])[0] / len(other.solution)
    assert measured.beats[0] == (own < rival)
    assert measured.bits_per_byte[0] == pytest.approx(own)
