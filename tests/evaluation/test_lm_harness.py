"""Tasks of lm-evaluation-harness from local data, beside what our own bits say."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from oracle_models import ReplayModel, ScriptedModule, raw_ids
from proxylm.cli.main import run as run_command
from proxylm.compressors.registry import load_compressor
from proxylm.errors import DataError, UsageError
from proxylm.evaluation.answers.writers import BytesWriter, TokensWriter
from proxylm.evaluation.likelihood import Scorer
from proxylm.generation.byte_model import ByteModel
from proxylm.symbols import BOS, RAW_OPEN
from small_models import save_small_run, small_model

lm_eval = pytest.importorskip("lm_eval", reason="needs the extra 'lm-eval'")

from proxylm.evaluation.lm_harness import (  # noqa: E402 - only where lm-eval is
    OLMES_TASKS,
    HarnessModel,
    average_of,
    evaluate_with_harness,
    find_tasks,
)

UNITS = load_compressor("units:bits=8")
QUESTIONS = [
    {"question": "Which letter follows a?", "choices": ["b", "see you"], "answer": 0},
    {"question": "Which letter follows y?", "choices": ["a", "z", "é"], "answer": 1},
    {"question": "And the first?", "choices": ["q", "a"], "answer": 1},
]


@pytest.fixture
def task(tmp_path: Path) -> str:
    """A multiple-choice task whose documents lie in a file of ours."""
    data = tmp_path / "questions.jsonl"
    data.write_text("".join(json.dumps(question) + "\n" for question in QUESTIONS))
    values = {
        "task": "letters",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(tmp_path / "c")},
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "doc_to_choice": "{{choices}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    path = tmp_path / "letters.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


def request(*arguments: object) -> object:
    from lm_eval.api.instance import Instance

    return Instance(request_type="loglikelihood", doc={}, arguments=arguments, idx=0)


@pytest.mark.parametrize("read_as", ["bytes", "tokens"])
def test_log_likelihoods_are_our_bits(read_as: str) -> None:
    model = ByteModel(small_model(seed=5, sharpness=8))
    writer = BytesWriter(model) if read_as == "bytes" else TokensWriter(model, UNITS)
    scorer = Scorer(model.module, writer.reading)
    pairs = [("A question?", " yes"), ("", "no"), ("é", "ü" * 60)]
    found = HarnessModel(writer).loglikelihood([request(*pair) for pair in pairs])
    bits = scorer.bits(*([pair[place].encode() for pair in pairs] for place in (0, 1)))
    assert [one for one, _ in found] == pytest.approx(-bits * math.log(2))
    [rolling] = HarnessModel(writer).loglikelihood_rolling([request("whole text")])
    assert rolling == pytest.approx(-scorer.bits([b""], [b"whole text"])[0] * math.log(2))


def test_greedy_continuations_are_recognized() -> None:
    module = ScriptedModule([([BOS, RAW_OPEN, *raw_ids(b"2 + 2 =")], raw_ids(b" 4.\n"))])
    model = HarnessModel(BytesWriter(ReplayModel((), module=module)))
    pairs = [("2 + 2 =", " 4."), ("2 + 2 =", " 5."), ("2 + 2 =", " 4,")]
    assert [greedy for _, greedy in model.loglikelihood([request(*pair) for pair in pairs])] == [
        True,
        False,
        False,
    ]


def test_one_forward_pass_gives_bits_and_greediness(monkeypatch: pytest.MonkeyPatch) -> None:
    module = small_model()
    forward, passes = module.hidden, []
    monkeypatch.setattr(module, "hidden", lambda ids: (passes.append(len(ids)), forward(ids))[1])
    HarnessModel(BytesWriter(ByteModel(module))).loglikelihood([request("A?", " b")])
    assert passes == [1]


def test_generation_stops_where_the_task_says() -> None:
    answers = {b"Q:": b" one\nQ: two", b"R:": b"x" * 100}
    module = ScriptedModule(
        ([BOS, RAW_OPEN, *raw_ids(prompt)], raw_ids(answer)) for prompt, answer in answers.items()
    )
    model = HarnessModel(BytesWriter(ReplayModel((), module=module)))
    assert model.generate_until(
        [request("Q:", {"until": ["\nQ:"]}), request("R:", {"max_gen_toks": 5})]
    ) == [" one", "x" * 20]


@pytest.mark.timeout(300)
def test_a_task_from_local_data(task: str) -> None:
    scripts = [
        (
            [BOS, RAW_OPEN, *raw_ids(question["question"].encode())],
            raw_ids(f" {question['choices'][question['answer']]}".encode()),
        )
        for question in QUESTIONS
    ]
    right = BytesWriter(ReplayModel((), module=ScriptedModule(scripts)))
    found = find_tasks([task])
    report = evaluate_with_harness(right, found)
    assert report.tasks == {
        "letters": {"acc": 1.0, "acc_norm": 1.0, "documents": 3, "num_fewshot": 0}
    }
    assert report.average == 1.0
    wrong = BytesWriter(ReplayModel((), module=ScriptedModule(scripts[:1])))
    report = evaluate_with_harness(wrong, found, limit=1)
    assert report.tasks["letters"]["documents"] == 1


def altered(task: str, **values: object) -> str:
    definition = yaml.safe_load(Path(task).read_text()) | values
    Path(task).write_text(yaml.safe_dump(definition))
    return task


@pytest.mark.timeout(300)
@pytest.mark.parametrize("num_fewshot", [pytest.param(None, marks=pytest.mark.long), 2])
def test_tasks_are_prepared_as_the_harness_does(
    task: str, num_fewshot: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.evaluator import simple_evaluate

    asked: list[list[tuple[str, str]]] = []

    def answer(self: HarnessModel, requests: list[Any]) -> list[tuple[float, bool]]:
        asked.append([one.args for one in requests])
        return [(-float(len(one.args[1])), False) for one in requests]

    monkeypatch.setattr(HarnessModel, "loglikelihood", answer)
    altered(task, fewshot_split="test")
    writer = BytesWriter(ByteModel(small_model()))
    found = find_tasks([task])
    report = evaluate_with_harness(writer, found, num_fewshot=num_fewshot)
    theirs = simple_evaluate(
        model=HarnessModel(writer),
        tasks=[task],
        num_fewshot=num_fewshot,
        task_manager=found.manager,
        bootstrap_iters=0,
    )
    assert theirs is not None
    assert asked[0] == asked[1]
    assert asked[0][0][0].count("?") == 1 + (num_fewshot or 0)
    for metric in ("acc", "acc_norm"):
        assert report.tasks["letters"][metric] == theirs["results"]["letters"][f"{metric},none"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"doc_to_text": "{{nothing.there}}"}, "UndefinedError"),
        ({"doc_to_target": "{{answer"}, "TemplateSyntaxError"),
        ({"test_split": "exam"}, "ValueError|KeyError"),
        ({"dataset_kwargs": {"data_files": "nowhere.jsonl"}}, "FileNotFoundError"),
    ],
)
def test_errors_of_the_harness_are_one_line_with_the_task(
    task: str, values: dict[str, object], reason: str
) -> None:
    writer = BytesWriter(ByteModel(small_model()))
    found = find_tasks([altered(task, **values)])
    with pytest.raises(DataError, match=rf"letters\.yaml': cannot be used \(({reason}): ") as error:
        evaluate_with_harness(writer, found)
    assert "\n" not in str(error.value)


def test_a_task_that_fails_does_not_cost_the_others(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    definition = yaml.safe_load(Path(task).read_text())
    broken = tmp_path / "broken.yaml"
    # The harness loads it with its first document; the second has no prompt.
    text = "{{question / 2 if 'follows y' in question else question}}"
    broken.write_text(yaml.safe_dump(definition | {"task": "broken", "doc_to_text": text}))
    save_small_run(tmp_path / "run")
    command = ["evaluate", "lm-eval", str(tmp_path / "run"), "--tasks", f"{broken},{task}"]
    assert run_command([*command, "--json"]) == 1
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert set(result["tasks"]) == {"letters"}
    assert result["average"] is None
    assert "TypeError" in result["failed"][str(broken)]
    assert output.err.splitlines()[-1].startswith(f"proxylm: task '{broken}': cannot be used")
    assert run_command(["evaluate", "all", *command[2:], "--json"]) == 1
    everything = json.loads(capsys.readouterr().out)
    assert everything["lm-eval"]["bytes"] == {k: v for k, v in result.items() if k != "about"}
    assert everything["failed"] == {f"{broken} (bytes)": result["failed"][str(broken)]}


def test_the_average_prefers_normalized_accuracy() -> None:
    tasks = {"a": {"acc": 0.2, "acc_norm": 0.6, "documents": 1}, "b": {"acc_norm": 0.1, "acc": 0.3}}
    assert average_of(tasks) == pytest.approx(0.35)
    assert average_of(tasks | {"c": {"acc": 0.5}}) == pytest.approx(0.4)
    assert average_of(tasks | {"c": {"exact_match": 0.5}}) is None


def test_yaml_that_is_none_is_one_line(task: str) -> None:
    Path(task).write_text("task: [\n")
    with pytest.raises(DataError, match=r"letters\.yaml': cannot be used \(ParserError: "):
        evaluate_with_harness(BytesWriter(ByteModel(small_model())), find_tasks([task]))
    with pytest.raises(UsageError, match=r"gone\.yaml: no such file"):
        find_tasks(["gone.yaml"])


def test_our_own_mistakes_keep_their_traceback(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = BytesWriter(ByteModel(small_model()))
    monkeypatch.setattr(Scorer, "_sequences", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate_with_harness(writer, find_tasks([task]))


@pytest.mark.timeout(300)
def test_the_command(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_small_run(tmp_path / "run", seed=5, compressor_fingerprint=UNITS.fingerprint)
    arguments = ["evaluate", "lm-eval", str(tmp_path / "run"), "--tasks", task, "--json"]
    assert run_command(arguments) == 0
    bytes_result = json.loads(capsys.readouterr().out)
    assert 0 <= bytes_result["average"] <= 1
    assert bytes_result["about"]["compressor"] == UNITS.fingerprint
    tokens = ["--read-as", "tokens", "--compressor", "units:bits=8"]
    assert run_command([*arguments, *tokens]) == 0
    assert json.loads(capsys.readouterr().out)["read_as"] == "tokens"
    everything = ["evaluate", "all", str(tmp_path / "run"), "--limit", "1", "--tasks", task]
    assert run_command([*everything[:-1], "gone.yaml"]) == 2
    assert "gone.yaml: no such file" in capsys.readouterr().err
    assert run_command(everything) == 0
    [row] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("lm-eval")]
    assert "average" in row


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_papers_tasks_are_the_harness_s() -> None:
    from lm_eval.tasks import TaskManager

    assert set(OLMES_TASKS) <= set(TaskManager().all_tasks)
    assert len(OLMES_TASKS) == 9
    with pytest.raises(UsageError, match="no task 'olmess'"):
        find_tasks(["olmess"])


@pytest.mark.parametrize("command", [["lm-eval"], ["all", "--tasks", "arc_easy"]])
def test_without_the_harness_it_says_what_to_install(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "proxylm.evaluation.lm_harness", None)
    assert run_command(["evaluate", *command, str(tmp_path)]) == 2
    assert "pip install 'proxylm[lm-eval]'" in capsys.readouterr().err
