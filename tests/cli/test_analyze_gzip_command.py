"""``proxylm analyze gzip-continuation`` on a run whose store has a view of gzip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxylm.cli.main import run as run_command
from proxylm.compressors.registry import load_compressor
from proxylm.data.sources import data_fingerprint
from proxylm.data.store.store import ViewStore
from small_models import save_small_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, its store with half of it held out, and a run of random weights."""
    folder = tmp_path_factory.mktemp("gzip")
    (folder / "corpus").mkdir()
    for number in range(6):
        text = "".join(f"def f{n}(x):\n    return x * {n}\n" for n in range(number, 9))
        (folder / "corpus" / f"{number}.py").write_text(text)
    prepare = ["--corpus", folder / "corpus", "--out", folder / "store", "--compressor", "gzip"]
    command = ["prepare", *prepare, "--held-out", 0.5, "--workers", 1, "--json"]
    assert run_command([*map(str, command)]) == 0
    store = ViewStore.open(folder / "store")
    save_small_run(
        folder / "run",
        seed=6,
        sharpness=8,
        compressor_fingerprint=load_compressor("gzip").fingerprint,
        data_fingerprint=data_fingerprint([store]),
    )
    config = {"data": [{"store": str(store.folder), "view": "gzip"}]}
    (folder / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def probed(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    command = ["analyze", "gzip-continuation", folder / "run", *arguments, "--json"]
    capsys.readouterr()
    assert run_command([*map(str, command)]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_held_out_documents_or_a_corpus(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held_out = ViewStore.open(folder / "store").ordinals(held_out=True)
    assert 0 < len(held_out) < 6
    result = probed(folder, capsys, "--max-new-symbols", 20)
    assert result["documents"] == len(held_out)
    assert result["about"]["drawing"]["max_new_symbols"] == 20
    assert result["about"]["probe"] == {"documents": 100, "document_bytes": 2048, "cut": 0.5}
    model, chance = result["model"], result["random"]
    assert 0 < model["symbols"] == chance["symbols"] <= 20 * len(held_out)
    assert model["valid_fraction"] == model["valid_symbols"] / model["symbols"]
    assert model["whole"] == chance["whole"] == 0
    assert probed(folder, capsys, "--max-new-symbols", 20) == result
    given = ["--corpus", folder / "corpus", "--documents", 4, "--max-new-symbols", 3]
    result = probed(folder, capsys, *given)
    assert (result["documents"], result["about"]["corpus"]) == (4, str(folder / "corpus"))
    command = ["analyze", "gzip-continuation", str(folder / "run"), "--documents", "1"]
    assert run_command(command) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("1 gzip streams (") and "right ones" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--read-as", "bytes"], "is to be read as gzip's symbols, and not as 'bytes'"),
        (["--compressor", "units:bits=4"], "and this one is"),
        (["--cut", "1"], "--cut: "),
    ],
)
def test_wrong_use_is_one_line(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["analyze", "gzip-continuation", str(folder / "run"), *arguments]) == 2
    assert message in capsys.readouterr().err
