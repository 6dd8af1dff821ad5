"""``proxylm export``: one object with --json, notes on stderr, wrong use in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import proxylm
from proxylm.cli.main import run as run_command
from proxylm.symbols import COMPRESSED_OFFSET
from small_models import ATTENTIONS, save_small_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "small"
    save_small_run(folder, attention=ATTENTIONS["causal"])
    return folder


def test_json_says_what_was_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "out"
    arguments = ["export", str(run), "--to", "hf", "--out", str(out)]
    assert run_command([*arguments, "--vocabulary", "bytes", "--json"]) == 0
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert result["folder"] == str(out)
    assert result["architecture"] == "LlamaForCausalLM"
    assert result["vocabulary_size"] == COMPRESSED_OFFSET
    assert result["dropped_heads"] == 1
    assert result["parameters"] == proxylm.load(out).config.parameter_count
    assert output.err == "LlamaForCausalLM has one prediction head: 1 further ones are left out\n"


def test_the_readable_form_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_small_run(tmp_path / "run")
    out = tmp_path / "out"
    assert run_command(["export", str(tmp_path / "run"), "--to", "hf", "--out", str(out)]) == 0
    output = capsys.readouterr()
    assert "EvaByteForCausalLM" in output.out and "trust_remote_code" in output.out
    assert output.out.count("\n") == 1
    assert output.err.startswith("the compressed symbols are kept and have no entry in tokenizer")
    assert output.err.count("\n") == 1 and "add --vocabulary bytes" in output.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "onnx", "--out", "x"], "--to"),
        (["--to", "gguf", "--out", "x", "--vocabulary", "both"], "--vocabulary both: --to gguf"),
        (["--to", "hf", "--out", "x", "--weights", "f16"], "--weights f16: --to hf writes f32"),
        (["--to", "hf", "--out", "x", "--vocabulary", "tokens"], "small: not imported"),
        (["--out", "x"], "--to"),
        (["--to", "hf"], "--out"),
        (["--to", "hf", "--out", "taken"], "taken: exists already"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(
    run: Path,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    assert run_command(["export", str(run), *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert output.err.count("\n") == 1


def test_a_run_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", str(tmp_path / "none"), "--to", "hf", "--out", str(tmp_path / "out")]
    assert run_command(arguments) == 2
    assert "none: no such folder; expected a run folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
