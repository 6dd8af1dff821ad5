"""Training a model and batches that are there already: the same loop, with and without a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import proxylm
from proxylm.data import batches as drawn
from proxylm.errors import DataError, UsageError
from proxylm.interchange.export import export_model
from proxylm.models.language_model import LanguageModel
from proxylm.training.metrics import read_metrics
from proxylm.training.run import train
from proxylm.training.schedule import CosineRate
from small_runs import make_store, tiny_config

STEPS = 6
SETTINGS: dict[str, Any] = {
    "learning_rate": CosineRate(peak=1e-2, warmup_steps=2),
    "micro_batch_symbols": 128,
    "checkpoints": {"every_steps": 2, "keep_last": 3},
}


class OtherBatches:
    """Batches of somebody else: what a training needs, and a name."""

    def __init__(self, loader: drawn.Batches, fingerprint: str = "b" * 32) -> None:
        self.batch = loader.batch
        self.statistics = loader.statistics
        self.compressor_fingerprint = loader.compressor_fingerprint
        self.fingerprint = fingerprint
        self.steps = len(loader)

    def __len__(self) -> int:
        return self.steps


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("data") / "store")


@pytest.fixture(scope="module")
def batches(store: Path) -> OtherBatches:
    config = tiny_config(store, steps=STEPS)
    return OtherBatches(
        drawn.batches(
            config.data,
            config.mixing,
            context=config.context,
            contexts_per_step=config.contexts_per_step,
            steps=STEPS,
        )
    )


def new_model(store: Path) -> LanguageModel:
    return LanguageModel(tiny_config(store).model_for(40), seed=0)


def require_same_weights(found: LanguageModel, expected: LanguageModel) -> None:
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def test_objects_train_as_the_configuration_that_names_them(
    store: Path, batches: OtherBatches, tmp_path: Path
) -> None:
    model, records = new_model(store).eval(), []
    result = train(
        model=model, batches=batches, callbacks=[lambda run, record: records.append(record)],
        **SETTINGS,
    )  # fmt: skip
    configured = train(tiny_config(store, steps=STEPS, held_out=None), tmp_path)
    assert (result.model, result.run) == (model, None)
    require_same_weights(model, configured.model)
    assert result.loss == configured.loss
    assert result.raw_bytes == configured.raw_bytes
    assert records[-1].keys() == read_metrics(tmp_path / "metrics.jsonl")[-1].keys()
    assert model.training


def test_a_stopped_run_of_objects_goes_on(
    store: Path, batches: OtherBatches, tmp_path: Path
) -> None:
    whole = train(model=new_model(store), batches=batches, **SETTINGS).model
    stopped = train(
        model=new_model(store), batches=batches, out=tmp_path, **SETTINGS,
        callbacks=[lambda run, record: run.stop("enough") if run.step == 3 else None],
    )  # fmt: skip
    assert stopped.steps == 3
    again = new_model(store)
    assert train(model=again, batches=batches, out=tmp_path, **SETTINGS).steps == STEPS
    require_same_weights(again, whole)
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == STEPS


def test_other_objects_are_refused(store: Path, batches: OtherBatches, tmp_path: Path) -> None:
    train(model=new_model(store), batches=batches, out=tmp_path, **SETTINGS)
    other = OtherBatches.__new__(OtherBatches)
    other.__dict__ = batches.__dict__ | {"fingerprint": "c" * 32}
    with pytest.raises(UsageError, match=r"batches: b+ → c+"):
        train(model=new_model(store), batches=other, out=tmp_path, **SETTINGS)
    with pytest.raises(UsageError, match="another configuration"):
        train(tiny_config(store), tmp_path)


def test_the_folder_is_a_run_like_any_other(
    store: Path, batches: OtherBatches, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    result = train(model=new_model(store), batches=batches, out=run, **SETTINGS)
    loaded = proxylm.load(run)
    require_same_weights(loaded.module, result.model)
    known = loaded.compressor_fingerprint, loaded.data_fingerprint
    assert known == (batches.compressor_fingerprint, batches.fingerprint)
    export_model(run, tmp_path / "exported")
    card = (tmp_path / "exported" / "README.md").read_text()
    assert "Not known" in card
    assert f"{result.loss:.4f} nats" in card


def test_frozen_weights_stay(store: Path, batches: OtherBatches) -> None:
    model = new_model(store)
    model.model.embed_tokens.weight.requires_grad_(False)
    train(model=model, batches=batches, learning_rate=1e-2)
    fresh = new_model(store)
    assert torch.equal(model.model.embed_tokens.weight, fresh.model.embed_tokens.weight)
    assert not torch.equal(model.lm_head.weight, fresh.lm_head.weight)


def sized(store: Path, **changes: Any) -> LanguageModel:
    return LanguageModel(tiny_config(store).model_for(40).model_copy(update=changes))


def test_mistakes_are_one_line_and_leave_nothing(
    store: Path, batches: OtherBatches, tmp_path: Path
) -> None:
    model, empty = new_model(store), OtherBatches.__new__(OtherBatches)
    empty.__dict__ = batches.__dict__ | {"steps": 0}
    numbered = OtherBatches.__new__(OtherBatches)
    numbered.__dict__ = batches.__dict__ | {"fingerprint": 3}
    frozen = new_model(store).requires_grad_(False)
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({}, "give a configuration alone, or a model and batches"),
        ({"model": model}, "give a configuration alone"),
        ({"config": tiny_config(store), "precision": "float32"}, "give a configuration alone"),
        ({"model": proxylm.load, "batches": batches}, "model is a function; give a LanguageModel"),
        ({"model": frozen, "batches": batches}, "no weight of the model is to be trained"),
        (
            {"model": sized(store, vocabulary_size=329), "batches": batches, "learning_rate": 1e-3},
            "make it with vocabulary_size=",
        ),
        (
            {"model": sized(store, prediction_heads=2), "batches": batches, "learning_rate": 1e-3},
            "give batches heads=2",
        ),
        ({"model": model, "batches": [1]}, r"batches \(list\) lack 'batch'"),
        (
            {"model": model, "batches": numbered, "learning_rate": 1e-3},
            "train: batches: .* valid string",
        ),
        ({"config": "run.yaml"}, "expected a TrainingConfig, found str"),
        ({"model": model, "batches": batches}, "warmup_steps 500 exceed the run's 6 steps"),
        ({"model": model, "batches": batches, "learning_rat": 1}, "did you mean 'learning_rate'"),
        ({"model": model, "batches": batches, "learning_rate": -1}, "learning_rate.peak"),
        ({"model": model, "batches": empty, "learning_rate": 1e-3}, "does not fill the contexts"),
    ]
    for arguments, shown in mistakes:
        with pytest.raises((UsageError, DataError), match=shown) as caught:
            train(out=tmp_path / "run", **arguments)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
