"""The model card says what the run's files say, and nothing of the exporter's machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from proxylm.checkpoints.checkpoint import checkpoint_folders, open_checkpoint
from proxylm.interchange.export import export_model
from proxylm.interchange.vocabulary import Vocabulary
from proxylm.training.run import TrainResult, train
from small_runs import SYMBOL_COUNT, make_store, tiny_config


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainResult]:
    folder = tmp_path_factory.mktemp("trained")
    store = make_store(folder / "views-here")
    run = folder / "my-run"
    return run, train(tiny_config(store, steps=6), run)


def card_of(run: Path, out: Path, *, vocabulary: Vocabulary = Vocabulary.BOTH) -> str:
    export_model(run, out, vocabulary=vocabulary)
    return (out / "README.md").read_text(encoding="utf-8")


def section(card: str, title: str) -> str:
    return card.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_card_is_filled_from_the_runs_files(
    trained: tuple[Path, TrainResult], tmp_path: Path
) -> None:
    run, result = trained
    card = card_of(run, tmp_path / "fine-model")
    assert card.startswith("---\n")
    assert yaml.safe_load(card.split("---")[1])["library_name"] == "transformers"
    assert "\n# fine-model\n" in card
    data = section(card, "Data")
    assert "`views-here`" in data and "corpus `small`, 60 documents" in data
    assert "6 of the documents held out" in data
    compressor = section(card, "Compressor")
    assert f"`halves`: test, {SYMBOL_COUNT} symbols, reversible" in compressor
    assert f"its {SYMBOL_COUNT} symbols are ids from 320 on" in compressor
    schedule = section(card, "Schedule")
    assert "6 of 6 steps of 256 symbols, seed 0" in schedule
    assert "0.40 in the first step, 0.90 in the last" in schedule
    assert yaml.safe_load(schedule.split("```yaml\n")[1].split("```")[0])["mixing"]["sentinels"]
    results = section(card, "Results")
    assert f"read as bytes: {result.held_out['raw']:.4f}" in results
    assert f"read as compressed: {result.held_out['compressed']:.4f}" in results
    assert f"{result.raw_bytes:,} raw bytes of {result.documents:,} documents" in results
    assert "this export leaves out" not in results
    assert "symbols per parameter" in section(card, "Limits")
    assert "trust_remote_code=True" in section(card, "Use")
    assert str(run.parent) not in card, "paths of the exporter's machine"
    assert "\n\n\n" not in card


def test_dropped_symbols_and_lost_files_are_said(
    trained: tuple[Path, TrainResult], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained[0], tmp_path / "run"))
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("views-here", "views-gone"))
    card = card_of(run, tmp_path / "one", vocabulary=Vocabulary.BYTES)
    assert "`views-gone`, weight 1: the view store is not at hand" in section(card, "Data")
    assert f"its {SYMBOL_COUNT} symbols are left out" in section(card, "Compressor")
    assert "measured with the compressed symbols, which this export" in section(card, "Results")
    newest = checkpoint_folders(run / "checkpoints")[0]
    lone = Path(shutil.copytree(newest, tmp_path / "lone"))
    card = card_of(lone, tmp_path / "two")
    assert "Not known" in section(card, "Data") and "Not known" in section(card, "Schedule")
    loss = open_checkpoint(newest).state.loss
    assert f"{loss:.4f} nats" in section(card, "Results"), "the checkpoint itself is known"


def test_a_checkpoint_in_its_run_knows_the_run(
    trained: tuple[Path, TrainResult], tmp_path: Path
) -> None:
    oldest = checkpoint_folders(trained[0] / "checkpoints")[-1]
    step = open_checkpoint(oldest).state.step
    assert step < 6
    card = card_of(oldest, tmp_path / "early")
    assert f"{step} of 6 steps" in section(card, "Schedule")
    assert "corpus `small`" in section(card, "Data")
