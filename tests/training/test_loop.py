"""One update: passes add up to the whole step, the clip, the rate, and divergence."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from proxylm.data.batch import Batch
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import COMPRESSED_OFFSET, IGNORED_TARGET, vocabulary_size
from proxylm.threads import in_order, torch_threads
from proxylm.training.device import place_for
from proxylm.training.loop import Trainer, TrainingDivergedError, trained_positions
from proxylm.training.optimizer import build_optimizer
from small_runs import CONTEXT, SYMBOL_COUNT, tiny_config


@dataclass
class RandomBatches:
    """Four contexts a step, of two documents each; masked unevenly, one context wholly."""

    heads: int = 1
    asked: list[int] = field(default_factory=list)

    def batch(self, step: int) -> Batch:
        self.asked.append(step)
        generator = np.random.default_rng(step)
        shape = (4, CONTEXT)
        inputs = generator.integers(0, vocabulary_size(SYMBOL_COUNT), shape, dtype=np.int32)
        targets = np.repeat(np.roll(inputs, -1, axis=1)[..., None], self.heads, axis=2)
        targets[generator.random(targets.shape) < np.array([0, 0.3, 0.9, 1])[:, None, None]] = (
            IGNORED_TARGET
        )
        documents = np.tile(np.arange(CONTEXT, dtype=np.int32) // 40, (4, 1))
        positions = np.tile(np.arange(CONTEXT, dtype=np.int32) % 40, (4, 1))
        return Batch(
            inputs=inputs,
            targets=targets,
            segment_ids=documents,
            position_ids=positions,
            contexts=np.arange(4, dtype=np.int64) + 4 * step,
        )


def trainer(contexts_per_pass: int = 4, **changes: Any) -> Trainer:
    values = {"micro_batch_symbols": contexts_per_pass * CONTEXT, "precision": "float32"}
    config = tiny_config(Path("unused"), **(values | changes))
    place = place_for(config)
    model = LanguageModel(config.model_for(SYMBOL_COUNT), seed=5).to(place.device)
    return Trainer(
        model=model,
        optimizer=build_optimizer(model, config.optimizer),
        batches=RandomBatches(),
        settings=config,
        place=place,
        total_steps=config.total_steps,
    )


def gradient(made: Trainer) -> torch.Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in made.model.parameters()])


@pytest.mark.parametrize("contexts_per_pass", [1, 2, 3])
def test_passes_add_up_to_the_whole_step(contexts_per_pass: int) -> None:
    whole, parts = trainer(4), trainer(contexts_per_pass)
    expected, found = whole.update(0), parts.update(0)
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    assert found.grad_norm == pytest.approx(expected.grad_norm, rel=1e-4)
    assert found.loss_by_head == [pytest.approx(one, rel=1e-6) for one in expected.loss_by_head]
    torch.testing.assert_close(gradient(parts), gradient(whole), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_contexts_handed_out_give_the_update_of_passes(threads: int) -> None:
    one_after_the_other, handed_out = trainer(4), trainer(4)
    expected = one_after_the_other.update(0)
    with torch_threads(threads):
        found = handed_out.update(0)
        assert torch.get_num_threads() == threads
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    assert found.grad_norm == pytest.approx(expected.grad_norm, rel=1e-4)
    assert found.loss_by_head == [pytest.approx(one, rel=1e-6) for one in expected.loss_by_head]
    torch.testing.assert_close(
        gradient(handed_out), gradient(one_after_the_other), rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize(
    ("symbols", "contexts"), [(1, 1), (CONTEXT, 1), (2 * CONTEXT + 9, 2), (10**9, 4)]
)
def test_micro_batches_hold_whole_contexts(symbols: int, contexts: int) -> None:
    made = trainer(micro_batch_symbols=symbols)
    assert made._contexts_per_pass(made.batches.batch(0)) == contexts


def test_the_first_updates_may_train_rows_of_bytes_alone() -> None:
    made = trainer(byte_rows_steps=1)
    before = {name: value.clone() for name, value in made.model.state_dict().items()}

    def moved() -> dict[str, torch.Tensor]:
        now = made.model.state_dict()
        return {name: now[name] != value for name, value in before.items()}

    made.update(0)
    first = moved()
    assert {name for name, one in first.items() if one.any()} == {
        "model.embed_tokens.weight",
        "lm_head.weight",
    }
    assert first["model.embed_tokens.weight"][:COMPRESSED_OFFSET].any()
    assert not first["model.embed_tokens.weight"][COMPRESSED_OFFSET:].any()
    change = made.model.lm_head.weight - before["lm_head.weight"]
    decayed = change[COMPRESSED_OFFSET:].abs().max()
    assert decayed < change[:COMPRESSED_OFFSET].abs().max() / 10
    made.update(1)
    assert all(one.any() for one in moved().values())


def test_who_computes_a_context_does_not_change_a_bit() -> None:
    updates = []
    for threads in (2, 2, 4):
        made = trainer(4)
        with torch_threads(threads):
            updates.append([made.update(step) for step in range(3)])
    assert updates[0] == updates[1] == updates[2]


@pytest.mark.parametrize(
    ("threads", "contexts_per_pass", "expected"), [(1, 4, 1), (2, 4, 2), (8, 4, 4), (8, 1, 1)]
)
def test_as_many_threads_as_passes_have_contexts(
    threads: int, contexts_per_pass: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, asked = trainer(contexts_per_pass), []

    def spy(function: Any, items: Any, *, workers: int) -> Any:
        asked.append(workers)
        return in_order(function, items, workers=workers)

    monkeypatch.setattr("proxylm.training.loop.in_order", spy)
    with torch_threads(threads):
        made.update(0)
    assert asked == ([expected] if expected > 1 else [])


@pytest.mark.parametrize(("gradients", "expected"), [(0.5, 1), (2, 1), (3, 2), (4.9, 3), (9, 4)])
def test_a_large_model_has_as_many_workers_as_gradients_may_exist(
    gradients: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(4)
    most = int(gradients * made.model.config.parameter_count)
    monkeypatch.setattr("proxylm.training.loop.MOST_GRADIENTS_IN_FLIGHT", most)
    with torch_threads(4):
        assert made._workers(made.batches.batch(0)) == expected


def test_a_parameter_without_part_in_the_loss_keeps_no_gradient() -> None:
    made = trainer(4, mixing={"sentinels": True})
    made.model.register_parameter("unused", torch.nn.Parameter(torch.ones(3)))
    with torch_threads(2):
        made.update(0)
    assert made.model.unused.grad is None


def test_the_loss_is_the_mean_over_trained_positions() -> None:
    made = trainer()
    batch = made.batches.batch(0)
    inputs, targets, *layout = batch.tensors(made.place.device)
    with torch.no_grad():
        logits = made.model.logits(inputs, *layout)[:, :, 0]
    targets = targets[..., 0]
    kept = targets != IGNORED_TARGET
    expected = torch.nn.functional.cross_entropy(logits[kept], targets[kept])
    assert trained_positions(batch.targets) == int(kept.sum())
    assert made.update(0).loss == pytest.approx(float(expected), rel=1e-5)


def test_the_gradient_is_clipped_and_the_rate_set() -> None:
    made = trainer(optimizer={"clip_norm": 0.05})
    update = made.update(0)
    assert update.grad_norm > 0.05
    assert float(gradient(made).norm()) == pytest.approx(0.05, rel=1e-3)
    assert update.learning_rate == pytest.approx(5e-3)
    assert {group["lr"] for group in made.optimizer.param_groups} == {update.learning_rate}


def test_losses_fall_on_what_is_seen_again() -> None:
    made = trainer(learning_rate={"kind": "constant", "peak": 0.02, "warmup_steps": 0})
    losses = [made.update(0).loss for _ in range(30)]
    assert losses[-1] < losses[0] - 1


def test_divergence_stops_before_anything_changes() -> None:
    made = trainer()
    with torch.no_grad():
        made.model.lm_head.weight[3, 0] = float("nan")
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    with pytest.raises(TrainingDivergedError, match=r"^step 3: loss is nan") as caught:
        made.update(2)
    assert "\n" not in str(caught.value)
    assert not made.optimizer.state
    for name, value in made.model.state_dict().items():
        torch.testing.assert_close(value, before[name], equal_nan=True, rtol=0, atol=0)


def test_bfloat16_autocast_is_close_to_float32() -> None:
    exact, rounded = trainer(), trainer(precision="bfloat16")
    assert rounded.place.autocast
    assert not exact.place.autocast
    expected, found = exact.update(0), rounded.update(0)
    assert found.loss == pytest.approx(expected.loss, rel=0.02)
    assert found.loss != expected.loss
    with torch_threads(2):
        handed_out = trainer(precision="bfloat16").update(0)
    assert handed_out.loss == pytest.approx(found.loss, rel=1e-3)
    assert handed_out.loss != pytest.approx(expected.loss, rel=1e-6)


def test_the_same_step_gives_the_same_bits() -> None:
    first, second = trainer(), trainer()
    for step in range(3):
        assert first.update(step) == second.update(step)
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name])
