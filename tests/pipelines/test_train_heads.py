"""train-heads: an ordinary run that leaves the model as it is and adds what drafts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import proxylm
from foreign_models import written
from proxylm.checkpoints.reading import load_module
from proxylm.checkpoints.run_data import read_run_config
from proxylm.cli.main import run as command
from proxylm.data.mixture import PieceGranularity
from proxylm.errors import UsageError
from proxylm.generation.drafts import Tree
from proxylm.interchange.importing import import_model
from proxylm.pipelines.train_heads import HEADS, train_heads_run
from proxylm.training.inputs import open_inputs
from small_models import save_small_run
from small_runs import TINY_SIZES, make_store

NEW = "raw_multibyte_lm_head.weight"
SHORT = [
    "symbols_per_step=64",
    "length={kind: steps, steps: 4}",
    "learning_rate={kind: constant, peak: 1.0e-2, warmup_steps: 0}",
    "checkpoints={every_steps: 1, keep_last: 9}",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run of one head, ``run``, its store, and an imported model, ``tied``."""
    folder = tmp_path_factory.mktemp("heads")
    store = make_store(folder)
    (folder / "run.yaml").write_text(
        f"data: [{{store: {store}, view: halves}}]\n"
        f"model: {{kind: explicit, sizes: {TINY_SIZES}}}\n"
        "length: {kind: steps, steps: 2}\nsymbols_per_step: 64\nheld_out:\n"
        "learning_rate: {kind: constant, peak: 1.0e-3, warmup_steps: 0}\n"
    )
    assert command(["train", str(folder / "run.yaml"), "--out", str(folder / "run")]) == 0
    written(folder / "theirs", "llama-tied")
    import_model(folder / "theirs", folder / "tied")
    return folder


def test_only_the_new_heads_are_trained_and_they_draft(place: Path, capsys: Any) -> None:
    line = ["train-heads", str(place / "run"), "--out", str(place / "heads"), *SHORT]
    assert command(line) == 0
    before, after = (load_module(place / name).module for name in ("run", "heads"))
    assert after.config.raw_prediction_heads == HEADS
    for name, value in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], value), name
    bytes_of_head_0 = before.lm_head.weight[:320]
    for head in after.state_dict()[NEW].unflatten(0, (HEADS, -1)):
        assert not torch.equal(head, bytes_of_head_0)
    model = proxylm.load(place / "heads")
    drafted = model.generate(b"abc", max_new_bytes=20, drafter=Tree(least_probability=0))
    assert drafted == proxylm.load(place / "run").generate(b"abc", max_new_bytes=20)


def test_a_run_that_stopped_goes_on_with_the_same_bits(place: Path, tmp_path: Path) -> None:
    line = ["train-heads", str(place / "run"), "--out", str(tmp_path / "heads"), *SHORT]
    assert command(line) == 0
    whole = load_module(tmp_path / "heads").module.state_dict()
    for step in (3, 4):
        shutil.rmtree(tmp_path / f"heads/checkpoints/step-{step:08}")
    assert command(line) == 0
    resumed = load_module(tmp_path / "heads").module.state_dict()
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_an_imported_model_is_given_data(place: Path) -> None:
    with pytest.raises(UsageError, match="nothing says what it was trained on; give --data"):
        train_heads_run(place / "tied")
    sizes = load_module(place / "tied").module.config
    store = Path(train_heads_run(place / "run").data[0].store)
    config = train_heads_run(place / "tied", [store], SHORT[1:3])
    assert config.symbols_per_step % sizes.context == 0
    begun, imported = open_inputs(config).new_model(), load_module(place / "tied").module
    for name, value in imported.state_dict().items():
        assert torch.equal(begun.state_dict()[name], value)
    trained = [name for name, value in begun.named_parameters() if value.requires_grad]
    assert trained == [NEW]
    assert torch.equal(begun.state_dict()[NEW][:320], imported.lm_head.weight[:320])


def test_a_model_that_knows_pieces_is_read_in_pieces(place: Path, tmp_path: Path) -> None:
    assert train_heads_run(place / "run").mixing.granularity.kind == "document"
    shutil.copytree(place / "run", tmp_path / "run")
    values = read_run_config(tmp_path / "run")
    values["mixing"]["granularity"] = {"kind": "piece", "min_symbols": 5}
    (tmp_path / "run/config.yaml").write_text(json.dumps(values))
    mixing = train_heads_run(tmp_path / "run").mixing
    assert mixing.granularity == PieceGranularity(min_symbols=5)


def test_nothing_is_kept_of_a_model_that_stays(place: Path) -> None:
    model = open_inputs(train_heads_run(place / "run", (), SHORT)).new_model()
    keeps: list[bool] = []
    model.model.norm.register_forward_hook(lambda *_: keeps.append(torch.is_grad_enabled()))
    ids = torch.full((1, 64), 70)
    loss = model.loss(ids, ids[..., None].expand(-1, -1, 1 + HEADS)).loss
    assert keeps == [False]
    loss.backward()
    assert model.raw_multibyte_lm_head.weight.grad is not None


def test_what_cannot_be(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="trains: heads needs raw_prediction_heads"):
        train_heads_run(place / "run", (), ["model.sizes.raw_prediction_heads=0"])
    save_small_run(tmp_path / "run", prediction_heads=3)
    with pytest.raises(UsageError, match="has 2 further heads already"):
        train_heads_run(tmp_path / "run")
