"""The next line: which lines are asked for, and what counts as right."""

from __future__ import annotations

import pytest

from oracle_models import ReplayModel, ScriptedModule, raw_ids, token_scripts
from proxylm.compressors.registry import load_compressor
from proxylm.errors import DataError
from proxylm.evaluation.answers.writers import BytesWriter, TokensWriter
from proxylm.evaluation.benchmarks.problem import Problem
from proxylm.evaluation.next_line import (
    NextLine,
    NextLineSettings,
    _begun,
    evaluate_next_line,
    next_lines,
)
from proxylm.symbols import BOS, RAW_CLOSE, RAW_OPEN

DOCUMENT = b"import os\n\ndef area(radius):\n    return 3 * radius\n# a\nlast_line_without_end"
SETTINGS = NextLineSettings(min_bytes=8, max_bytes=40, prompt_bytes=25)


def problem_of(line: NextLine, end: bytes) -> Problem:
    return Problem(
        task_id="x", prompt=line.prompt, solution=line.line + end, entry_point="f", test="",
        timeout_s=1.0,
    )  # fmt: skip


def test_lines_have_text_before_them_and_bytes_enough() -> None:
    found = next_lines([DOCUMENT, b"one_line_alone\n"], SETTINGS)
    assert [one.line for one in found] == [b"def area(radius):", b"    return 3 * radius"]
    assert found[0].prompt == b"import os\n\n"
    # Of what does not fit, whole lines are read.
    assert found[1].prompt == b"\ndef area(radius):\n"
    short = next_lines([DOCUMENT], NextLineSettings(min_bytes=8, prompt_bytes=5))
    assert short[1].prompt == b"us):\n"


def test_lines_are_drawn_by_the_seed() -> None:
    documents = [b"".join(b"line number %d\n" % number for number in range(50))]
    settings = NextLineSettings(lines=10)
    found = next_lines(documents, settings)
    assert len(found) == 10 and next_lines(documents, settings) == found
    assert next_lines(documents, NextLineSettings(lines=10, seed=1)) != found
    assert [len(one.prompt) for one in found] == sorted(len(one.prompt) for one in found)
    with pytest.raises(DataError, match="no line has 8 to 80 bytes"):
        next_lines([b"a\nb\n"], NextLineSettings())


def test_the_line_counts_to_its_end_in_both_readings() -> None:
    lines = next_lines([DOCUMENT], SETTINGS)
    compressor = load_compressor("units:bits=8")
    for ending, expected in ((b"\nmore", 1.0), (b" \n", 0.0), (b"", 0.0)):
        scripts = [
            ([BOS, RAW_OPEN, *raw_ids(one.prompt)], [*raw_ids(one.line + ending), RAW_CLOSE])
            for one in lines
        ]
        problems = [problem_of(one, ending) for one in lines]
        of_tokens = ScriptedModule(token_scripts(problems, compressor))
        for writer in (
            BytesWriter(ReplayModel((), module=ScriptedModule(scripts))),
            TokensWriter(ReplayModel((), module=of_tokens), compressor),
        ):
            report = evaluate_next_line(writer, lines)
            assert (report.exact_match, report.lines) == (expected, 2), (ending, writer.read_as)
            assert report.begun == 1.0


def test_half_of_the_lines_right_has_a_standard_error() -> None:
    lines = next_lines([DOCUMENT], SETTINGS)
    one = lines[0]
    scripts = [([BOS, RAW_OPEN, *raw_ids(one.prompt)], [*raw_ids(one.line + b"\n"), RAW_CLOSE])]
    report = evaluate_next_line(BytesWriter(ReplayModel((), module=ScriptedModule(scripts))), lines)
    assert (report.exact_match, report.begun) == (0.5, 0.5)
    assert report.standard_error == pytest.approx((0.25 / 2) ** 0.5)


def test_a_line_is_begun_up_to_the_first_mistake_indentation_left_out() -> None:
    assert _begun(b"    return 3 +", b"    return 3 * radius") == 9 / 17
    assert _begun(b"    ", b"    return") == _begun(b"\treturn", b"    return") == 0.0
    assert _begun(b"x = 1 and more", b"x = 1") == 1.0
