"""Training on several ranks: the numbers of one process, whatever ends a rank, nothing lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

import proxylm
import ranked_runs
from proxylm.checkpoints.checkpoint import newest_valid
from proxylm.checkpoints.reading import load_module
from proxylm.models.language_model import LanguageModel
from proxylm.training.metrics import read_metrics
from proxylm.training.run import train
from ranked_runs import CAUSAL, EVA, changes
from small_runs import SYMBOL_COUNT, make_store, tiny_config
from started_ranks import run_ranks

STEPS = 8


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("data") / "store")


@pytest.fixture(scope="module")
def eva_runs(store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The same run on one to four ranks; on four, two copies of the model (HSDP)."""
    folder = tmp_path_factory.mktemp("eva")
    for world in (1, 2, 3, 4):
        settings = changes(EVA, parallel={"shard": 2} if world == 4 else {})
        run_ranks(world, ranked_runs.trained, store, folder / str(world), STEPS, settings)
    return {world: folder / str(world) for world in (1, 2, 3, 4)}


def weights(run: Path) -> dict[str, Tensor]:
    """Of a run's newest checkpoint, as one process reads it."""
    checkpoint = newest_valid(run)
    assert checkpoint is not None
    assert checkpoint.state.step == len(read_metrics(run / "metrics.jsonl"))
    return checkpoint.model().state_dict()


def require_same_run(run: Path, alone: Path) -> None:
    """Both have the same contexts, and the same numbers up to rounding."""
    records, expected = (read_metrics(one / "metrics.jsonl") for one in (run, alone))
    for key in ("step", "contexts_hash", "symbols", "training_flops", "raw_bytes", "documents"):
        assert [one[key] for one in records] == [one[key] for one in expected], key
    for found, wanted in zip(records, expected, strict=True):
        assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-6)
        assert found["loss_by_format"] == pytest.approx(wanted["loss_by_format"], rel=1e-6)
        assert found["grad_norm"] == pytest.approx(wanted["grad_norm"], rel=1e-4)
        assert found.get("held_out", {}) == pytest.approx(wanted.get("held_out", {}), rel=1e-6)
    require_near(weights(run), weights(alone))


def require_near(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6, msg=name)


def require_same_bits(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("world", [2, 3, 4])
def test_any_number_of_ranks_trains_as_one_process(eva_runs: dict[int, Path], world: int) -> None:
    records = read_metrics(eva_runs[1] / "metrics.jsonl")
    assert len({record["contexts_hash"] for record in records}) == STEPS
    assert sum("held_out" in record for record in records) == 3
    require_same_run(eva_runs[world], eva_runs[1])


def test_one_process_is_divided_among_nobody(store: Path) -> None:
    settings = changes(parallel={"shard": 8}, held_out=None)
    assert train(tiny_config(store, steps=2, **settings)).steps == 2


def test_causal_attention_on_ranks(store: Path, tmp_path: Path) -> None:
    for world in (1, 2, 3, 4):
        out = tmp_path / str(world)
        run_ranks(world, ranked_runs.trained, store, out, STEPS, changes(CAUSAL))
        require_same_run(out, tmp_path / "1")


def test_a_rank_that_sees_no_raw_context_leaves_the_raw_heads_to_the_others(tmp_path: Path) -> None:
    for world in (1, 2):
        run_ranks(world, ranked_runs.trained_on_uneven, tmp_path / str(world))
    require_same_run(tmp_path / "2", tmp_path / "1")


def test_recomputed_activations_change_no_bit(
    store: Path, eva_runs: dict[int, Path], tmp_path: Path
) -> None:
    settings = changes(parallel={"recompute": "all"})
    run_ranks(2, ranked_runs.trained, store, tmp_path / "run", STEPS, settings)
    require_same_bits(weights(tmp_path / "run"), weights(eva_runs[2]))


@pytest.mark.parametrize(("world", "shard"), [(3, "all"), (4, 2)])
def test_ranks_draw_the_weights_that_one_process_draws(world: int, shard: object) -> None:
    settings = changes(parallel={"shard": shard}, seed=9)
    sizes = tiny_config(Path("none"), **settings).model_for(SYMBOL_COUNT)
    expected = LanguageModel(sizes, seed=9).state_dict()
    for weights_drawn in run_ranks(world, ranked_runs.drawn, settings):
        found = {name: torch.from_numpy(value) for name, value in weights_drawn.items()}
        require_same_bits(found, expected)


def test_ranks_start_from_the_weights_of_a_run(
    store: Path, eva_runs: dict[int, Path], tmp_path: Path
) -> None:
    settings = changes(init_from=str(eva_runs[1]), held_out=None)
    for world in (1, 2):
        run_ranks(world, ranked_runs.trained, store, tmp_path / str(world), 2, settings)
    require_same_run(tmp_path / "2", tmp_path / "1")


def test_the_largest_model_is_divided_in_less_than_a_gigabyte() -> None:
    [used] = run_ranks(1, ranked_runs.largest_model_on_meta)
    assert used < 1e9


@pytest.fixture(scope="module")
def stopped(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on two ranks, ended after its fourth step by one of them."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    reasons = run_ranks(2, ranked_runs.trained_until, store, out, STEPS, changes(), 4)
    assert reasons == ["enough", "enough"]
    return out


def test_a_callback_evaluates_the_whole_model(stopped: Path) -> None:
    last = read_metrics(stopped / "metrics.jsonl")[-1]
    [bits] = proxylm.load(stopped).bits_per_byte([ranked_runs.WORDS])
    assert last["words"] == pytest.approx(bits, rel=1e-6)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_what_two_ranks_saved_goes_on_with_any_number(
    store: Path, stopped: Path, eva_runs: dict[int, Path], tmp_path: Path, world: int
) -> None:
    run = tmp_path / "run"
    shutil.copytree(stopped, run)
    run_ranks(world, ranked_runs.trained, store, run, STEPS, changes())
    require_same_run(run, eva_runs[1])
    if world == 2:
        require_same_bits(weights(run), weights(eva_runs[2]))


def test_what_one_process_saved_goes_on_with_two(
    store: Path, eva_runs: dict[int, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(eva_runs[1], run)
    shutil.rmtree(run / "checkpoints" / f"step-{STEPS:08d}")
    run_ranks(2, ranked_runs.trained, store, run, STEPS, changes())
    require_same_run(run, eva_runs[1])


def test_a_sharded_checkpoint_is_read_and_exported_like_any(
    eva_runs: dict[int, Path], tmp_path: Path
) -> None:
    loaded = load_module(eva_runs[4])
    assert loaded.checkpoint is not None
    assert loaded.checkpoint.is_sharded
    texts = [b"def f():\n    return 1\n"]
    [bits] = proxylm.load(eva_runs[4]).bits_per_byte(texts)
    [alone] = proxylm.load(eva_runs[1]).bits_per_byte(texts)
    assert bits == pytest.approx(alone, rel=1e-5)
    proxylm.save(loaded, tmp_path / "saved")
    require_same_bits(load_module(tmp_path / "saved").module.state_dict(), weights(eva_runs[4]))
