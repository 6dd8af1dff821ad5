"""``compressor train neural`` and everything after it: views, training, generation, scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from proxylm.cli.main import run
from proxylm.compressors.registry import load_compressor
from proxylm.data.store.store import ViewStore
from proxylm.pipelines import byte_lm_training
from proxylm.pipelines.byte_lm_training import RUN_FOLDER
from proxylm.pipelines.neural_compressor import WORK_SUFFIX
from proxylm.training.loop import Trainer
from small_neural import RECIPE, write_corpus

HELD_OUT = ("--held-out", 0.2)


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    status = run([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    (line,) = captured.out.splitlines()
    return json.loads(line)


def train_command(corpus: Path, out: Path, *more: object) -> list[str]:
    command = ("compressor", "train", "neural", "--corpus", corpus, "--out", out, *HELD_OUT, *more)
    return [str(argument) for argument in command]


@pytest.fixture
def small_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(byte_lm_training.RECIPES, "tiny", RECIPE)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory) -> Path:
    """A compressor that the command line has trained."""
    out = tmp_path_factory.mktemp("compressors") / "neural"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(byte_lm_training.RECIPES, "tiny", RECIPE)
        assert run(train_command(corpus, out)) == 0
    return out


def test_one_folder_comes_out_and_nothing_is_left_beside_it(trained, corpus, capsys):
    assert [path.name for path in trained.parent.iterdir()] == ["neural"]
    facts = run_json(capsys, "compressor", "info", trained, "--corpus", corpus, *HELD_OUT)
    assert (facts["kind"], facts["engine"], facts["reversible"]) == ("neural", "automaton", False)
    assert facts["settings"]["segmentation"]["thresholds"]["cross_entropy"] > 0
    assert facts["training"]["threshold_bytes"] > 0
    assert facts["training"]["held_out_fraction"] == 0.2
    assert facts["corpus"]["bytes_per_symbol"] > 1


def test_a_stopped_training_goes_on(small_recipe, trained, corpus, tmp_path, capsys, monkeypatch):
    """Stopped in the middle and called again, it ends with the compressor of one go."""
    out = tmp_path / "neural"
    update, made = Trainer.update, []

    def recorded_update(self, step, losses_before=()):
        made.append(step)
        return update(self, step, losses_before)

    def failing_update(self, step, losses_before=()):
        if step == 25:
            raise KeyboardInterrupt
        return recorded_update(self, step, losses_before)

    monkeypatch.setattr(Trainer, "update", failing_update)
    assert run(train_command(corpus, out)) == 130
    work = tmp_path / f"neural{WORK_SUFFIX}"
    assert not out.exists() and (work / RUN_FOLDER / "checkpoints").is_dir()
    monkeypatch.setattr(Trainer, "update", recorded_update)
    assert run(train_command(corpus, out)) == 0
    assert made == [*range(25), *range(24, RECIPE.symbols // RECIPE.symbols_per_step)]
    assert not work.exists()
    assert load_compressor(out).fingerprint == load_compressor(trained).fingerprint


def test_settings_are_configurations_over_one_byte_lm(trained, corpus, tmp_path, capsys):
    facts = {
        name: run_json(capsys, *train_command(corpus, tmp_path / name, "--lm", trained, *options))
        for name, options in {
            "98": ("--percentile", 98),
            "lines": ("--segmentation", "lines", "--window-bits", "none", "--pack-bits", 8),
            "fixed": ("--segmentation", "fixed", "--length", 8, "--window-bits", 32),
            "automaton": ("--segmentation", "automaton", "--termination", "minimal"),
        }.items()
    }
    assert facts["98"]["settings"]["segmentation"]["percentile"] == 98
    assert facts["lines"]["settings"]["coder"]["window_bits"] is None
    assert (facts["lines"]["symbol_count"], facts["lines"]["engine"]) == (256, "lazy")
    assert facts["fixed"]["settings"]["segmentation"] == {"kind": "fixed", "length": 8}
    assert facts["automaton"]["settings"]["coder"]["termination"] == {"kind": "minimal"}
    assert len({one["fingerprint"] for one in facts.values()}) == 4
    lms = {load_compressor(tmp_path / name).lm.fingerprint for name in facts}
    assert lms == {load_compressor(trained).lm.fingerprint}


def test_short_contexts_give_another_lm(small_recipe, trained, corpus, tmp_path, capsys):
    options = ("--contexts", "short", "--symbols", 4096)
    facts = run_json(capsys, *train_command(corpus, tmp_path / "short", *options))
    assert facts["training"]["lm"]["contexts"]["kind"] == "short"
    assert facts["training"]["lm"]["recipe"]["symbols"] == 4096


@pytest.mark.parametrize("engine", ["naive", "batched", "lazy", "automaton"])
def test_compress_prints_the_same_symbols_with_every_engine(trained, tmp_path, capsys, engine):
    file = tmp_path / "file"
    file.write_bytes(b"def value(x):\n    self.index = x\n\xff")
    command = ("compress", "--compressor", trained, file)
    expected = run_json(capsys, *command)
    assert run_json(capsys, *command, "--engine", engine) == expected


FAILURES = [
    (("--preset", "huge"), "no byte LM preset 'huge'; choose one of tiny, 40m"),
    (("--contexts", "medium"), "long, short"),
    (("--segmentation", "words"), "entropy, fixed, lines, automaton"),
    (("--window-bits", "20"), "window_bits 20 is no multiple of pack_bits 16"),
    (("--window-bits", "wide"), "--window-bits: "),
    (("--termination", "early"), "determined, minimal"),
    (("--segmentation", "lines", "--percentile", "9"), "unknown key '--percentile'"),
    (("--percentile", "100"), "--percentile: "),
    (("--lm", "{trained}", "--symbols", "5"), "--symbols is about training a byte LM"),
    (("--device", "tpu"), "--device: "),
]


@pytest.mark.parametrize(("options", "message"), FAILURES)
def test_what_is_wrong_is_one_line(trained, corpus, tmp_path, capsys, options, message):
    given = [str(trained) if option == "{trained}" else option for option in options]
    assert run(train_command(corpus, tmp_path / "out", *given)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_a_share_beyond_the_whole_is_refused_before_any_work(corpus, tmp_path, capsys):
    command = train_command(corpus, tmp_path / "out")
    command[command.index("--held-out") + 1] = "2"
    assert run(command) == 2
    assert "--held-out: Input should be less than or equal to 1" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_already_or_not_is_said(trained, corpus, tmp_path, capsys):
    assert run(["compress", "--compressor", "gzip", "--engine", "lazy", str(trained)]) == 2
    assert "a gzip compressor has no engines" in capsys.readouterr().err
    assert run(train_command(corpus, trained)) == 2
    assert "exists already" in capsys.readouterr().err
    assert run(train_command(corpus, tmp_path / "out", "--lm", tmp_path / "nowhere")) == 1
    assert "model.json: no such file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def store(trained, corpus, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("views") / "store"
    command = ("prepare", "--corpus", corpus, "--compressor", f"neural={trained}", "--out", out)
    options = (*HELD_OUT, "--workers", 1, "--part-bytes", 30_000)
    assert run([str(argument) for argument in (*command, *options)]) == 0
    return out


def test_views_do_not_depend_on_workers_and_keep_their_segments(store, trained, corpus, tmp_path):
    other = tmp_path / "two"
    command = ("prepare", "--corpus", corpus, "--compressor", f"neural={trained}", "--out", other)
    options = (*HELD_OUT, "--workers", 2, "--part-bytes", 30_000)
    assert run([str(argument) for argument in (*command, *options)]) == 0
    files = sorted(path.name for path in store.glob("*.arrow"))
    assert len(files) >= 4
    for name in files:
        assert (store / name).read_bytes() == (other / name).read_bytes()
    opened = ViewStore.open(store, verify=True)
    view, compressor = opened.view("neural"), load_compressor(trained)
    for ordinal in range(3):
        (expected,) = compressor.encode([opened.raw(ordinal).tobytes()])
        np.testing.assert_array_equal(view.symbols(ordinal), expected.symbols)
        np.testing.assert_array_equal(view.segment_lengths(ordinal), expected.segment_lengths)
        np.testing.assert_array_equal(
            view.segment_symbol_counts(ordinal), expected.segment_symbol_counts
        )


def test_a_proxy_model_trains_on_neural_views_and_runs_on_bytes(store, corpus, tmp_path, capsys):
    """The whole way: train on codes and bytes, then generate and score raw bytes alone."""
    config = tmp_path / "run.yaml"
    config.write_text(
        json.dumps(
            {
                "data": [{"store": str(store), "view": "neural"}],
                "model": {
                    "kind": "preset",
                    "name": "demo",
                    "overrides": {"layers": 1, "width": 16, "ffn": 16, "heads": 2},
                },
                "length": {"kind": "steps", "steps": 4},
                "symbols_per_step": 1024,
                "learning_rate": {"kind": "cosine", "peak": 1e-2, "warmup_steps": 1},
                "held_out": {"every_steps": 4, "max_bytes": 2000},
            }
        )
    )
    result = run_json(capsys, "train", config, "--out", tmp_path / "run")
    assert set(result["held_out"]) == {"raw"}, "codes have no way back to bytes"
    generated = run_json(
        capsys, "generate", tmp_path / "run", "--prompt", "def ", "--max-new-bytes", 5
    )
    assert generated
    scored = run_json(capsys, "evaluate", "bpb", tmp_path / "run", corpus / "000.txt")
    assert json.dumps(scored).count("bits_per_byte")
    shown = run_json(capsys, "views", "show", store, "--view", "neural", "--context", 1024)
    assert "#" in json.dumps(shown)


def test_help_has_an_example(capsys):
    assert run(["compressor", "train", "neural", "--help"]) == 0
    assert "Example: proxylm compressor train neural" in " ".join(capsys.readouterr().out.split())
