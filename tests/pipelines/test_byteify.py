"""Byteify: an ordinary run that starts from a model of tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from foreign_models import written
from proxylm.checkpoints.reading import load_module
from proxylm.cli.main import run as proxylm
from proxylm.errors import UsageError
from proxylm.interchange.importing import import_model
from proxylm.pipelines.byteify import byteify_run
from proxylm.symbols import COMPRESSED_OFFSET
from proxylm.training.inputs import open_inputs

SMALL = [
    "model.sizes.context=32",
    "symbols_per_step=64",
    "length.symbols=256",
    "learning_rate.warmup_steps=1",
    "held_out.max_bytes=200",
    "mixing.rate={kind: constant, rate: 0.5}",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an imported tied model, ``model``, and a store of its tokens, ``store``."""
    folder = tmp_path_factory.mktemp("byteify")
    written(folder / "theirs", "llama-tied")
    import_model(folder / "theirs", folder / "model")
    (folder / "text").mkdir()
    for number in range(20):
        text = f"the other thing number {number}, with all that then belongs there\n" * 8
        (folder / "text" / f"{number}.txt").write_text(text)
    command = ["prepare", "--corpus", str(folder / "text"), "--held-out", "0.2", "--workers", "1"]
    compressor = f"mine={folder / 'model' / 'compressor'}"
    assert proxylm([*command, "--compressor", compressor, "--out", str(folder / "store")]) == 0
    return folder


def test_it_starts_with_every_weight_of_the_model(place: Path) -> None:
    run = byteify_run(place / "model", [place / "store"], SMALL)
    assert run.config.data[0].view == "mine"
    begun, imported = open_inputs(run.config).new_model(), load_module(place / "model").module
    for name, value in imported.state_dict().items():
        assert torch.equal(begun.state_dict()[name], value)
    assert begun.config.tied_embeddings and begun.config.sentinels
    assert begun.config.normalizes_by_format and begun.config.context == 32


def test_the_command_trains_rows_of_bytes_and_goes_on(place: Path, capsys: Any) -> None:
    command = ["byteify", str(place / "model"), "--data", str(place / "store"), *SMALL, "--json"]
    assert proxylm([*command, "--out", str(place / "run")]) == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert result["steps"] == 4 and set(result["held_out"]) == {"raw", "compressed"}
    assert "of memory" in shown.err
    assert proxylm([*command, "--out", str(place / "run")]) == 0
    assert json.loads(capsys.readouterr().out) == result
    trained, imported = (load_module(place / name).module for name in ("run", "model"))
    moved = trained.lm_head.weight - imported.lm_head.weight
    assert moved[:COMPRESSED_OFFSET].abs().max() > 0
    for read_as in ("bytes", "tokens"):
        scored = ["evaluate", "bpb", str(place / "run"), str(place / "text" / "1.txt")]
        assert proxylm([*scored, "--read-as", read_as, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["total"]["bits_per_byte"] < 10


def test_more_memory_is_stated_for_more_symbols_at_a_time(place: Path) -> None:
    few = byteify_run(place / "model", [place / "store"], SMALL)
    many = byteify_run(place / "model", [place / "store"], [*SMALL, "micro_batch_symbols=64_000"])
    assert 16 * few.sizes.parameter_count < few.memory_bytes < many.memory_bytes


def test_a_store_of_other_tokens_is_refused(place: Path, tmp_path: Path) -> None:
    command = ["prepare", "--corpus", str(place / "text"), "--compressor", "units:bits=4"]
    assert proxylm([*command, "--out", str(tmp_path / "other"), "--workers", "1"]) == 0
    with pytest.raises(UsageError, match=r"none of its views \(units\).*--compressor tokens="):
        byteify_run(place / "model", [tmp_path / "other"])


def test_an_unknown_key_is_named(place: Path) -> None:
    with pytest.raises(UsageError, match=r"byteify \(with parts/byteify\): unknown key 'lenth'"):
        byteify_run(place / "model", [place / "store"], ["lenth.symbols=3"])


def test_a_teacher_changes_what_is_learned(place: Path, capsys: Any) -> None:
    mostly_bytes = [*SMALL, "mixing.rate={kind: constant, rate: 0.1}", "--json"]
    command = ["byteify", str(place / "model"), "--data", str(place / "store"), *mostly_bytes]
    taught = f"distillation.teacher={place / 'model'}"
    assert proxylm([*command, taught, "--out", str(place / "taught")]) == 0
    with_teacher = json.loads(capsys.readouterr().out)
    assert proxylm([*command, "--out", str(place / "alone")]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert with_teacher["loss"] > alone["loss"] + 1  # its part is in it
    assert with_teacher["held_out"]["raw"] != alone["held_out"]["raw"]
