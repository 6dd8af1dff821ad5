"""``proxylm generate``: exact bytes out, text on a terminal, one object with --json."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import proxylm
from proxylm.cli.main import run as run_command
from proxylm.compressors.registry import load_compressor, save_compressor
from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.compressors.tokenizer.training import BpeTraining
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.options import SymbolOptions
from proxylm.generation.token_reading import TokenReading
from proxylm.printable import printable
from proxylm.scoring.read_as import PromptEnd
from proxylm.symbols import vocabulary_size
from small_models import save_small_run

PROMPT = b"def area(radius):\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "small"
    save_small_run(folder, seed=3)
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> ByteModel:
    return proxylm.load(run)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_into_a_pipe_go_the_exact_bytes(
    run: Path, model: ByteModel, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    arguments = ["generate", str(run), "--prompt", PROMPT.decode(), "--max-new-bytes", "30"]
    assert run_command(arguments) == 0
    expected = model.generate(PROMPT, max_new_bytes=30)
    assert capfdbinary.readouterr().out == expected
    assert expected.decode("utf-8", "replace").encode() != expected, "should hold invalid UTF-8"


def test_a_terminal_shows_text_and_no_control_characters(
    run: Path, model: ByteModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    assert run_command(["generate", str(run), "--prompt", "x", "--max-new-bytes", "30"]) == 0
    expected = model.generate(b"x", max_new_bytes=30).decode("utf-8", "replace")
    assert "\x13" in expected, "the terminal would stop there"
    assert screen.getvalue() == printable(expected, "\n\t") + "\n"
    assert "bytes/s" in capsys.readouterr().err


def test_json_carries_text_and_exact_bytes(
    run: Path, model: ByteModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = b"\xff\x00 not text"
    (tmp_path / "prompt").write_bytes(prompt)
    arguments = ["generate", str(run), "--prompt-file", str(tmp_path / "prompt"), "--json"]
    options = ["--max-new-bytes", "20", "--temperature", "0.8", "--top-p", "0.9", "--seed", "4"]
    assert run_command(arguments + options) == 0
    result = json.loads(capsys.readouterr().out)
    expected = model.generate(prompt, max_new_bytes=20, temperature=0.8, top_p=0.9, seed=4)
    assert base64.b64decode(result["bytes_base64"]) == expected
    assert result["text"] == expected.decode("utf-8", "replace")
    assert result["new_bytes"] == len(expected)
    assert result["prompt_bytes"] == len(prompt)
    assert result["finish"] in ("limit", "end")


def test_stop_strings_may_be_given_repeatedly(
    run: Path, model: ByteModel, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = model.generate(PROMPT, max_new_bytes=60)
    place = next(i for i, value in enumerate(whole) if i > 2 and 33 <= value < 127)
    stop = chr(whole[place])
    arguments = ["generate", str(run), "--prompt", PROMPT.decode(), "--max-new-bytes", "60"]
    assert run_command([*arguments, "--stop", "never there", "--stop", stop, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["finish"] == "stop"
    assert base64.b64decode(result["bytes_base64"]) == whole[: whole.index(stop.encode())]


@pytest.mark.parametrize("drafter", ["chain", "tree", "lookup"])
def test_drafts_change_no_byte(
    run: Path, model: ByteModel, drafter: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    arguments = ["generate", str(run), "--prompt", PROMPT.decode(), "--max-new-bytes", "30"]
    assert run_command([*arguments, "--drafter", drafter]) == 0
    output = capfdbinary.readouterr()
    assert output.out == model.generate(PROMPT, max_new_bytes=30)
    assert b"one head" not in output.err


@pytest.mark.parametrize("drafter", ["none", "lookup"])
def test_weights_may_be_kept_as_bfloat16(
    run: Path, drafter: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    arguments = ["generate", str(run), "--prompt", PROMPT.decode(), "--max-new-bytes", "30"]
    assert run_command([*arguments, "--weights", "bf16", "--drafter", drafter]) == 0
    stored = proxylm.load(run, weights="bfloat16")
    assert stored.module.lm_head.weight.dtype is torch.bfloat16
    assert capfdbinary.readouterr().out == stored.generate(PROMPT, max_new_bytes=30)


def test_a_model_of_one_head_drafts_nothing_and_says_so(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    save_small_run(tmp_path / "run", seed=3, prediction_heads=1)
    arguments = ["generate", str(tmp_path / "run"), "--prompt", "a", "--max-new-bytes", "9"]
    for drafter, says_so in (("tree", True), ("lookup", False)):
        assert run_command([*arguments, "--drafter", drafter]) == 0
        output = capfdbinary.readouterr()
        assert output.out == proxylm.load(tmp_path / "run").generate(b"a", max_new_bytes=9)
        assert (b"this model has one head, which drafts nothing" in output.err) == says_so


def test_the_prompt_can_be_piped_in(
    run: Path,
    model: ByteModel,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xffabc")))
    assert run_command(["generate", str(run), "--max-new-bytes", "9"]) == 0
    assert capfdbinary.readouterr().out == model.generate(b"\xffabc", max_new_bytes=9)


def test_arguments_that_are_not_utf_8_reach_the_model_as_they_are(
    run: Path, model: ByteModel
) -> None:
    script = "from proxylm.cli.main import main; main()"
    options = ["--max-new-bytes", "9", "--prompt"]
    command = [sys.executable, "-c", script, "generate", str(run), *options]
    raw_command = [*map(os.fsencode, command), b"\xffabc"]
    result = subprocess.run(raw_command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert result.stdout == model.generate(b"\xffabc", max_new_bytes=9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temperature", "-1"], "--temperature: "),
        (["--temperature", "nan"], "--temperature: "),
        (["--top-p", "0"], "--top-p: "),
        (["--top-p", "1.5"], "--top-p: "),
        (["--top-p", "nan"], "--top-p: "),
        (["--max-new-bytes", "-1"], "--max-new-bytes: "),
        (["--stop", ""], "--stop: "),
        (["--device", "tpu"], "device"),
        (["--drafter", "bush"], "unknown drafter 'bush'"),
        (["--prompt-file", "no-such-file"], "no-such-file"),
        (["--temperature", "warm"], "--temperature: "),
        (["--utf8", "loose"], "--utf8: "),
        (["--regex", "("], "invalid regex"),
        (["--regex", "a", "--grammar", "g.lark"], "one of --regex"),
        (["--json-schema", "no-such-schema"], "no-such-schema"),
        (["--json-schema", __file__], "not JSON"),
        (["--drafter", "three"], "none, chain, tree"),
        (["--read-as", "words"], "bytes, tokens or mixed"),
        (["--max-new-symbols", "9"], "--max-new-bytes"),
        (["--read-as", "tokens", "--max-new-bytes", "9"], "--max-new-symbols"),
        (["--read-as", "tokens"], "--compressor"),
        (["--read-as", "tokens", "--compressor", "units:bits=16"], "room for 256"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(
    run: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = [] if "--prompt-file" in arguments else ["--prompt", "a"]
    assert run_command(["generate", str(run), *prompt, *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert output.err.count("\n") == 1


def test_a_schema_of_many_brackets_is_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "deep.json"
    file.write_text("[" * 200_000)
    command = ["generate", str(run), "--prompt", "a", "--json-schema", str(file)]
    assert run_command(command) == 2
    assert capsys.readouterr().err.endswith("deep.json: nested too deeply\n")


def test_a_run_that_is_not_there_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["generate", str(tmp_path / "none"), "--prompt", "a"]) == 2
    assert "none: no such folder; expected a run folder" in capsys.readouterr().err


def test_two_prompts_or_none_are_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ["generate", str(run), "--prompt", "a", "--prompt-file", "b"]
    assert run_command(both) == 2
    assert "not both" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert run_command(["generate", str(run)]) == 2
    assert "no prompt" in capsys.readouterr().err


def test_structured_output_and_drafts_from_the_command_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"enum": ["yes", "no"]}')
    command = ["generate", str(run), "--prompt", "a", "--utf8", "strict", "--json"]
    assert run_command([*command, "--json-schema", str(schema), "--drafter", "chain"]) == 0
    assert json.loads(json.loads(capsys.readouterr().out)["text"]) in ("yes", "no")


def test_a_tokenizer_proxy_is_read_as_tokens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, compressor = tmp_path / "proxy", load_compressor("units:bits=4")
    save_small_run(folder, seed=4, vocabulary_size=vocabulary_size(compressor.symbol_count))
    command = ["generate", str(folder), "--prompt", "ab", "--json", "--read-as", "tokens"]
    command += ["--compressor", "units:bits=4", "--max-new-symbols", "8"]
    assert run_command(command) == 0
    printed = json.loads(capsys.readouterr().out)
    reading = TokenReading(proxylm.load(folder), compressor)
    [expected] = reading.complete([b"ab"], SymbolOptions(max_new_symbols=8), samples=[0])
    assert base64.b64decode(printed["bytes_base64"]) == expected.data
    assert expected.data, "eight half bytes spell four bytes at most, and some here"
    assert run_command([*command, "--drafter", "tree"]) == 2


def test_a_prompts_end_is_kept_stripped_or_healed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, place = tmp_path / "proxy", str(tmp_path / "bpe")
    compressor = TokenizerCompressor(BpeTraining(vocabulary_size=260).train(["ab\n  ab\n  ba"]))
    save_compressor(compressor, Path(place))
    save_small_run(folder, seed=4, vocabulary_size=vocabulary_size(compressor.symbol_count))
    command = ["generate", str(folder), "--prompt", "ab\n", "--json"]
    tokens = ["--read-as", "tokens", "--compressor", place, "--max-new-symbols", "8"]

    def generated(*arguments: str) -> bytes:
        assert run_command([*command, *arguments]) == 0
        return base64.b64decode(json.loads(capsys.readouterr().out)["bytes_base64"])

    reading = TokenReading(proxylm.load(folder), compressor)
    for end in PromptEnd:
        options = SymbolOptions(max_new_symbols=8, prompt_end=end)
        [expected] = reading.complete([b"ab\n"], options, samples=[0])
        assert generated(*tokens, "--prompt-end", end) == expected.data
        bare = proxylm.load(folder).generate(b"ab\n", max_new_bytes=8, prompt_end=end)
        assert generated("--max-new-bytes", "8", "--prompt-end", end) == bare
    assert generated(*tokens) == generated(*tokens, "--prompt-end", "strip")
    assert generated("--max-new-bytes", "8") == generated(
        "--max-new-bytes", "8", "--prompt-end", "keep"
    )
    assert run_command([*command, "--regex", "a*", "--prompt-end", "strip"]) == 2
    assert "a stripped prompt takes no structured output" in capsys.readouterr().err
