"""``--read-as mixed`` on commands, with a saved model that brings its compressor."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmark_data import HUMANEVAL
from mixed_reference import TEXT, compressor_of_kind, model_over
from proxylm.checkpoints.saving import save
from proxylm.cli.main import app
from proxylm.generation.byte_model import ByteModel
from proxylm.scoring.score import score
from small_models import endless

RAW = TEXT.encode()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compressor = compressor_of_kind("bpe")
    folder = tmp_path_factory.mktemp("mixed") / "mine"
    save(endless(model_over(compressor)), folder, compressor=compressor)
    return folder


def run_json(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def failure(*arguments: object) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code
    return f"{result.output} {result.exception}"


def test_a_prompt_goes_on_in_bytes(saved: Path) -> None:
    model = ByteModel(endless(model_over(compressor_of_kind("bpe"))))
    mixed = model.read_mixed(compressor_of_kind("bpe"))
    given = ("generate", saved, "--read-as", "mixed", "--prompt", TEXT, "--device", "cpu")
    result = run_json(*given, "--max-new-bytes", 9)
    assert base64.b64decode(result["bytes_base64"]) == mixed.generate(RAW, max_new_bytes=9)
    assert (result["prompt_bytes"], result["new_bytes"]) == (len(RAW), 9)
    assert "--max-new-symbols is for --read-as tokens" in failure(*given, "--max-new-symbols", 3)
    assert "is about tokens at a prompt's end" in failure(*given, "--prompt-end", "heal")


def test_documents_are_scored_in_stretches(saved: Path, tmp_path: Path) -> None:
    file = tmp_path / "text.py"
    file.write_bytes(RAW)
    command = ("evaluate", "bpb", saved, file, "--read-as", "mixed", "--device", "cpu")
    for stride in (None, 64):
        options = () if stride is None else ("--stride", stride)
        result = run_json(*command, *options)
        expected = score(saved, [RAW], "mixed", stride=stride).bits_per_byte
        assert result["total"]["bits_per_byte"] == pytest.approx(expected, rel=1e-6)
        assert result["total"]["symbols"] == len(RAW)
        assert (result["read_as"], result["about"]["stride"]) == ("mixed", stride or 256)
    assert "stride: must be between 1 and" in failure(*command, "--stride", 5000)


def test_benchmarks_take_it(saved: Path, tmp_path: Path) -> None:
    given = (saved, "--data", HUMANEVAL, "--read-as", "mixed", "--limit", 1, "--device", "cpu")
    code = run_json(
        "evaluate", "humaneval", *given, "--generate", "--max-new-bytes", 4, "--out", tmp_path / "o"
    )
    mutated = run_json("evaluate", "mutated", *given)
    assert (code["read_as"], code["prompt_end"], mutated["read_as"]) == ("mixed", "keep", "mixed")
    assert code["solution_bits_per_byte"] > 0
    settings = json.loads(next((tmp_path / "o").glob("*settings*")).read_text())
    assert settings["model"].endswith(compressor_of_kind("bpe").fingerprint)
