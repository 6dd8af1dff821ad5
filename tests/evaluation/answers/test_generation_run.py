"""Completions and verdicts on disk: resumed, never mixed, never lost, refused in time."""

from __future__ import annotations

import json
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark_data import HUMANEVAL, need_sandbox
from oracle_models import WRONG, ReplayModel
from proxylm.errors import DamagedFileError, ProxylmError, UsageError
from proxylm.evaluation.answers import judging, samples
from proxylm.evaluation.answers.folder import Sample, SampleKey, opened_folder
from proxylm.evaluation.answers.options import Budget, SamplingPlan
from proxylm.evaluation.answers.run import Answering
from proxylm.evaluation.answers.samples import Wanted, sample_number, wanted_samples
from proxylm.evaluation.answers.writers import BytesWriter
from proxylm.evaluation.benchmarks.humaneval import load_humaneval
from proxylm.evaluation.benchmarks.problem import Benchmark
from proxylm.generation.decoding import Finish
from proxylm.sandbox import SandboxError, Status, Verdict

GREEDY = SamplingPlan()


@pytest.fixture
def benchmark() -> Benchmark:
    return load_humaneval(HUMANEVAL)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(model: ReplayModel, benchmark: Benchmark, folder: Path, **options: Any) -> Any:
    plan = options.pop("plan", GREEDY)
    answering = Answering(plan=plan, folder=folder, **{"execute": False} | options)
    return answering.run(BytesWriter(model), {"plain": benchmark})


def test_samples_and_verdicts_are_json_lines(benchmark: Benchmark, tmp_path: Path) -> None:
    need_sandbox()
    model = ReplayModel(benchmark.problems)
    results = run(model, benchmark, tmp_path / "out", execute=True)
    written = lines(tmp_path / "out" / "samples.jsonl")
    assert [line["task_id"] for line in written] == [p.task_id for p in benchmark.problems]
    assert written[2]["completion"] == "    return x + y\n"
    assert (written[0]["condition"], written[0]["sample"], written[0]["finish"]) == (
        "plain",
        0,
        "end",
    )
    verdicts = lines(tmp_path / "out" / "verdicts.jsonl")
    assert [line["status"] for line in verdicts] == ["passed"] * 3
    assert results.correct("plain") == {p.task_id: [True] for p in benchmark.problems}
    assert results.passes("plain").statuses == {"passed": 3}


def test_a_second_run_does_nothing_again(
    benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_sandbox()
    first = run(ReplayModel(benchmark.problems), benchmark, tmp_path, execute=True)
    content = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def judged_nothing(submissions: Any, **_: Any) -> Any:
        assert list(submissions) == []
        return iter(())

    monkeypatch.setattr(judging, "check_many", judged_nothing)
    model = ReplayModel(benchmark.problems)
    assert run(model, benchmark, tmp_path, execute=True) == first
    assert model.asked == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == content


def test_a_killed_run_goes_on_to_the_same_samples(
    benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "BATCH_ROWS", 2)
    whole = run(ReplayModel(benchmark.problems), benchmark, tmp_path / "whole")
    kept = (tmp_path / "whole" / "samples.jsonl").read_bytes()
    for length in range(0, len(kept), 97):  # a kill can leave any number of bytes
        folder = tmp_path / f"killed-{length}"
        folder.mkdir()
        (folder / "settings.json").write_bytes((tmp_path / "whole/settings.json").read_bytes())
        (folder / "samples.jsonl").write_bytes(kept[:length])
        assert run(ReplayModel(benchmark.problems), benchmark, folder) == whole
        assert len({line["task_id"] for line in lines(folder / "samples.jsonl")}) == 3


def test_a_batch_with_a_gap_is_made_again_as_a_whole(benchmark: Benchmark, tmp_path: Path) -> None:
    run(ReplayModel(benchmark.problems), benchmark.select(limit=2), tmp_path)
    model = ReplayModel(benchmark.problems)
    run(model, benchmark, tmp_path)
    assert model.asked == 3  # rounding may depend on the company, so it is always the same


def test_another_prompt_is_not_the_same_sample(benchmark: Benchmark, tmp_path: Path) -> None:
    one = benchmark.select(limit=1)
    run(ReplayModel(one.problems), one, tmp_path)
    [problem] = one.problems
    changed = Benchmark(
        name=one.name,
        problems=(type(problem)(**{**_fields(problem), "prompt": b"# x\n" + problem.prompt}),),
        stop=one.stop,
        origin=one.origin,
    )
    # The weights of all these models are equal: the folder accepts it, but must not take the old
    # answer.
    model = ReplayModel(changed.problems, lambda _: WRONG)
    [sample] = run(model, changed, tmp_path).samples
    assert sample.completion == WRONG


def test_another_stop_list_is_not_the_same_sample(benchmark: Benchmark, tmp_path: Path) -> None:
    [first, *_] = run(ReplayModel(benchmark.problems), benchmark, tmp_path).samples
    shorter = replace(benchmark, stop=(b"return",))
    [again, *_] = run(ReplayModel(benchmark.problems), shorter, tmp_path).samples
    assert b"return" in first.completion and b"return" not in again.completion
    # A solution that translation shows is part of what is read.
    [one] = benchmark.select(limit=1).problems
    for change in ({"solution": b"    pass\n"}, {"prompt": b"x"}):
        key = SampleKey(condition="c", task_id="t", sample=0)
        names = [
            Wanted(key=key, problem=problem, stop=(b"a",)).prompt_fingerprint
            for problem in (one, replace(one, **change))
        ]
        assert names[0] != names[1]


def test_device_and_dtype_are_settings(benchmark: Benchmark, tmp_path: Path) -> None:
    run(ReplayModel(benchmark.problems), benchmark, tmp_path)
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert (settings["device"], settings["dtype"]) == ("cpu", "float32")
    (tmp_path / "settings.json").write_text(json.dumps(settings | {"device": "cuda"}))
    with pytest.raises(UsageError, match="device: cuda → cpu"):
        run(ReplayModel(benchmark.problems), benchmark, tmp_path)


def test_what_a_kill_left_of_the_settings_does_not_block_the_folder(
    benchmark: Benchmark, tmp_path: Path
) -> None:
    (tmp_path / ".partial-0123-settings.json").write_text('{"mod')
    run(ReplayModel(benchmark.problems), benchmark, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {".lock", "settings.json", "samples.jsonl"}


def _fields(problem: Any) -> dict[str, Any]:
    return {name: getattr(problem, name) for name in problem.__slots__}


def test_invalid_utf8_is_kept_and_judged_invalid(benchmark: Benchmark, tmp_path: Path) -> None:
    need_sandbox()
    one = benchmark.select(limit=1)
    # Dropping the bad byte would leave a right program.
    model = ReplayModel(one.problems, lambda p: p.solution.replace(b"return", b"re\xffturn"))
    results = run(model, one, tmp_path, execute=True)
    assert results.passes("plain").statuses == {"invalid": 1}
    [line] = lines(tmp_path / "samples.jsonl")
    assert "completion" not in line and "completion_base64" in line
    assert run(model, one, tmp_path).samples == results.samples
    assert b"\xff" in results.samples[0].completion


def test_equal_programs_run_once(
    benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_sandbox()
    judged = []
    original = judging.check_many

    def counted(submissions: Any, **options: Any) -> Any:
        submissions = list(submissions)
        judged.extend(submissions)
        return original(submissions, **options)

    monkeypatch.setattr(judging, "check_many", counted)
    plan = SamplingPlan(samples=4, temperature=0.5)
    results = run(ReplayModel(benchmark.problems), benchmark, tmp_path, execute=True, plan=plan)
    assert len(judged) == 3
    assert results.correct("plain") == {p.task_id: [True] * 4 for p in benchmark.problems}
    assert len(lines(tmp_path / "verdicts.jsonl")) == 12


def test_a_verdict_is_known_only_under_the_same_limits_and_judge(
    benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_the_clock(submissions: Any, **_: Any) -> Any:
        for submission in submissions:
            judged.append(submission)
            late = submission.timeout_s < 1
            yield Verdict(status=Status.TIMED_OUT if late else Status.PASSED)

    judged: list[Any] = []
    monkeypatch.setattr(judging, "check_many", by_the_clock)
    monkeypatch.setattr(judging, "usable_tier", lambda: "bubblewrap")

    def statuses(**changes: Any) -> Any:
        judged.clear()
        problems = tuple(replace(problem, **changes) for problem in benchmark.problems)
        changed = replace(benchmark, problems=problems)
        return run(ReplayModel(problems), changed, tmp_path, execute=True).passes("plain").statuses

    assert statuses(timeout_s=0.5) == {"timed_out": 3}
    assert statuses(timeout_s=20.0) == {"passed": 3}
    statuses(timeout_s=20.0)
    assert judged == []
    statuses(timeout_s=20.0, max_result_bytes=100)
    assert len(judged) == 3
    monkeypatch.setattr(judging, "usable_tier", lambda: "landlock")
    statuses(timeout_s=20.0)
    assert len(judged) == 3
    monkeypatch.setattr(judging.platform, "python_version", lambda: "3.99.0")
    statuses(timeout_s=20.0)
    assert len(judged) == 3


def test_budgets_and_stop_strings_reach_the_model(benchmark: Benchmark, tmp_path: Path) -> None:
    plan = SamplingPlan(budget=Budget(max_bytes=10))
    results = run(ReplayModel(benchmark.problems), benchmark, tmp_path / "short", plan=plan)
    assert {sample.finish for sample in results.samples} == {Finish.LIMIT}
    assert {len(sample.completion) for sample in results.samples} == {10}
    chatty = ReplayModel(benchmark.problems, lambda p: p.solution + b"\ndef other():\n    pass\n")
    results = run(chatty, benchmark, tmp_path / "chatty")
    assert {sample.finish for sample in results.samples} == {Finish.STOP}
    assert [s.completion for s in results.samples] == [p.solution for p in benchmark.problems]


def test_without_a_sandbox_nothing_is_generated(
    benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str | None = None) -> str:
        raise SandboxError("none works here")

    monkeypatch.setattr("proxylm.evaluation.answers.run.usable_tier", refuse)
    model = ReplayModel(benchmark.problems)
    with pytest.raises(SandboxError):
        run(model, benchmark, tmp_path / "out", execute=True)
    assert model.asked == 0
    assert not (tmp_path / "out").exists()
    assert run(model, benchmark, tmp_path / "out").verdicts is None


def test_other_settings_and_foreign_folders_are_refused(
    benchmark: Benchmark, tmp_path: Path
) -> None:
    run(ReplayModel(benchmark.problems), benchmark, tmp_path / "out")
    plan = SamplingPlan(temperature=0.2, samples=2)
    with pytest.raises(UsageError, match=r"other settings \(temperature: 0.0 → 0.2; "):
        run(ReplayModel(benchmark.problems), benchmark, tmp_path / "out", plan=plan)
    other = ReplayModel(benchmark.problems)
    other.module.lm_head.weight.data[0, 0] = 2
    with pytest.raises(UsageError, match=r"model: .* → "):
        run(other, benchmark, tmp_path / "out")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").touch()
    with pytest.raises(UsageError, match=r"no evaluation's .it holds thesis\.txt"):
        run(other, benchmark, tmp_path / "foreign")
    with pytest.raises(UsageError, match="is a file"):
        run(other, benchmark, tmp_path / "foreign" / "thesis.txt")


def test_what_has_no_effect_is_no_setting(benchmark: Benchmark, tmp_path: Path) -> None:
    first = SamplingPlan(budget=Budget(max_symbols=5))
    same = SamplingPlan(seed=3, top_p=0.5, budget=Budget(max_symbols=6))
    model = ReplayModel(benchmark.problems)
    run(model, benchmark, tmp_path, plan=first)
    model.asked = 0
    run(model, benchmark, tmp_path, plan=same)
    assert model.asked == 0
    with pytest.raises(UsageError, match=r"other settings \(budget: 2048 → 7\)"):
        run(model, benchmark, tmp_path, plan=SamplingPlan(budget=Budget(max_bytes=7)))


def test_one_evaluation_at_a_time(tmp_path: Path) -> None:
    with opened_folder(tmp_path, {}):
        second = opened_folder(tmp_path, {})
        with pytest.raises(ProxylmError, match="another evaluation is at work"):
            second.__enter__()
    with opened_folder(tmp_path, {}):
        pass


def test_a_damaged_line_is_named(benchmark: Benchmark, tmp_path: Path) -> None:
    run(ReplayModel(benchmark.problems), benchmark, tmp_path)
    path = tmp_path / "samples.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"finish": "end"', b'"finish": "and"', 1))
    with pytest.raises(DamagedFileError, match=r"samples\.jsonl:1: damaged line"):
        run(ReplayModel(benchmark.problems), benchmark, tmp_path)


def test_any_flipped_bit_of_a_line_is_found(benchmark: Benchmark, tmp_path: Path) -> None:
    whole = run(ReplayModel(benchmark.problems), benchmark, tmp_path).samples
    path = tmp_path / "samples.jsonl"
    data = path.read_bytes()
    for place in range(0, len(data), 5):
        flipped = bytes([data[place] ^ (1 << place % 8)])
        path.write_bytes(data[:place] + flipped + data[place + 1 :])
        with opened_folder(
            tmp_path, json.loads((tmp_path / "settings.json").read_text())
        ) as folder:
            try:
                # At most another way to write the same, such as \\u00Ff.
                assert set(folder.samples().values()) <= set(whole)
            except DamagedFileError:
                continue


@pytest.mark.parametrize(
    "change",
    [
        {"condition": ["plain"]},
        {"task_id": 3},
        {"sample": "0"},
        {"sample": True},
        {"prompt": None},
        {"completion": 3},
        {"completion": "\ud800"},
    ],
)
def test_values_of_another_type_are_damage(tmp_path: Path, change: dict) -> None:
    key = SampleKey(condition="c", task_id="t", sample=0)
    sample = Sample(key=key, prompt="p", completion=b"x", finish=Finish.END)
    with opened_folder(tmp_path, {}) as folder:
        changed = types.SimpleNamespace(to_json=lambda: sample.to_json() | change)
        folder.add_samples([changed])  # type: ignore[list-item]
        with pytest.raises(DamagedFileError, match=r"samples\.jsonl:1: damaged line"):
            folder.samples()


def test_a_line_separator_in_a_completion_ends_no_line(tmp_path: Path) -> None:
    key = SampleKey(condition="c", task_id="t", sample=0)
    text = "\u2028\u0085 \r\n\0 \U0001f600".encode()
    sample = Sample(key=key, prompt="p", completion=text, finish=Finish.END)
    with opened_folder(tmp_path, {}) as folder:
        folder.add_samples([sample])
        assert folder.samples() == {key: sample}


def test_sample_numbers_tell_samples_apart(benchmark: Benchmark) -> None:
    wanted = wanted_samples({"a": benchmark, "b": benchmark}, 20)
    numbers = [sample_number(one.key) for one in wanted]
    assert len(set(numbers)) == 2 * 3 * 20
    assert all(0 <= number < 2**63 for number in numbers)


def test_several_greedy_samples_are_refused() -> None:
    with pytest.raises(UsageError, match="all the same"):
        SamplingPlan(samples=2)
