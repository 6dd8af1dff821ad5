"""OLMES: the texts by hand, the normalizations by hand, and models that know the answers."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from olmes_records import ARC, RECORDS, write, write_folder

from oracle_models import ScriptedModule
from proxylm.cli.main import run
from proxylm.compressors.registry import load_compressor
from proxylm.errors import DataError, UsageError
from proxylm.evaluation.likelihood import Scorer
from proxylm.evaluation.olmes.data import OlmesSettings, read_tasks
from proxylm.evaluation.olmes.evaluation import cloze_costs, evaluate_olmes, with_shots
from proxylm.evaluation.olmes.tasks import TASKS, Form
from proxylm.scoring.readings import CompressedReading, RawReading
from proxylm.symbols import BOS, COMPRESSED_OPEN, RAW_OPEN, Format
from small_models import save_small_run

CLOZE_SHOTS = {
    "arc_easy": "Question: Which one melts in the sun?\nAnswer: ice\n\n",
    "boolq": "Tin sinks in water.\nQuestion: does tin float?\nAnswer: no\n\n",
    "csqa": "Question: What barks?\nAnswer: dog\n\n",
    "hellaswag": "Rowing: Two girls carry a boat. They row\n\n",
    "openbookqa": "Question: Which one melts in the sun?\nAnswer: ice\n\n",
    "piqa": "Goal: Open a tight jar.\nAnswer: turn the lid\n\n",
    "socialiqa": "Question: Cy broke a plate. What will Cy do next?\nAnswer: sweep\n\n",
    "winogrande": "The cup is not in the box as the cup is too big.\n\n",
}
CLOZE = {
    "arc_easy": ("Question: What falls from a dark cloud?\nAnswer:", " rain"),
    "boolq": ("The Orla is a river.\nQuestion: is the orla a river?\nAnswer:", " yes"),
    "csqa": ("Question: Where do you keep bread?\nAnswer:", " box"),
    "hellaswag": (
        "Baking bread: A man kneads the dough. Rest He",
        " lets it rise. Then",
    ),
    "openbookqa": ("Question: What falls from a dark cloud?\nAnswer:", " rain"),
    "piqa": ("Goal: Dry a wet floor.\nAnswer:", " use a mop"),
    "socialiqa": (
        "Question: Ana gave Bo her umbrella. How would Bo feel?\nAnswer:",
        " thankful",
    ),
    "winogrande": ("Tom thanked Max because Max", " had helped him."),
}
LETTERS = {
    "arc_easy": (
        "Question: What falls from a dark cloud?\n A. sand\n B. rain\n C. ink\n D. salt\nAnswer:",
        " B",
    ),
    "boolq": (
        "The Orla is a river.\nQuestion: is the orla a river?\n A. yes\n B. no\nAnswer:",
        " A",
    ),
    "csqa": (
        "Question: Where do you keep bread?\n"
        " A. box\n B. sea\n C. sky\n D. road\n E. fire\nAnswer:",
        " A",
    ),
    "hellaswag": (
        "Baking bread: A man kneads the dough. Rest He\nChoose the best continuation:\n"
        " A. lets it rise. Then\n B. sings\n C. flies away\n D. swims\nAnswer:",
        " A",
    ),
    "openbookqa": (
        "Question: What falls from a dark cloud?\n A. sand\n B. rain\n C. ink\n D. salt\nAnswer:",
        " B",
    ),
    "piqa": ("Goal: Dry a wet floor.\n A. use a mop\n B. use a spoon\nAnswer:", " A"),
    "socialiqa": (
        "Question: Ana gave Bo her umbrella. How would Bo feel?\n"
        " A. thankful\n B. angry\n C. asleep\nAnswer:",
        " A",
    ),
    "winogrande": (
        "Fill in the blank: Tom thanked Max because ___ had helped him.\n A. Tom\n B. Max\nAnswer:",
        " B",
    ),
}
LETTER_SHOT = "Goal: Open a tight jar.\n A. sing\n B. turn the lid\nAnswer: B\n\n"
UNITS = load_compressor("units:bits=8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("olmes"))


def asked(folder: Path, *tasks: str, shots: int = 1, limit: int | None = None) -> OlmesSettings:
    return OlmesSettings(data=folder, tasks=tasks, shots=shots, limit=limit)


def right(form: Form) -> tuple[str, str]:
    return form.prompts[form.answer], form.continuations[form.answer]


@pytest.mark.parametrize("name", CLOZE)
def test_the_texts_are_those_of_olmes(name, folder):
    (data,) = read_tasks(asked(folder, name))
    (cloze,) = with_shots(data.task.cloze, data)
    prompt, continuation = CLOZE[name]
    assert right(cloze) == (CLOZE_SHOTS[name] + prompt, continuation)
    (letters,) = with_shots(data.task.multiple_choice, replace(data, shots=[]))
    assert right(letters) == LETTERS[name]


def test_shots_of_the_lettered_form_are_lettered(folder):
    (data,) = read_tasks(asked(folder, "piqa"))
    (letters,) = with_shots(data.task.multiple_choice, data)
    assert letters.prompts == [LETTER_SHOT + LETTERS["piqa"][0]] * 2
    assert letters.continuations == [" A", " B"]


def test_the_tasks_and_their_normalizations_are_those_of_olmes():
    assert {name: str(task.normalization) for name, task in TASKS.items()} == {
        "arc_challenge": "pmi",
        "arc_easy": "character",
        "boolq": "none",
        "csqa": "pmi",
        "hellaswag": "character",
        "openbookqa": "pmi",
        "piqa": "character",
        "socialiqa": "character",
        "winogrande": "none",
    }


class Priced:
    """Stands for a scorer: every continuation has a price, after the bare ``Answer:`` another."""

    def __init__(self, prices: dict[str, float], alone: dict[str, float]) -> None:
        self.reading = RawReading()
        self._prices, self._alone = prices, alone

    def bits(self, prompts: list[bytes], continuations: list[bytes]) -> np.ndarray:
        return np.array(
            [
                (self._alone if prompt == b"Answer:" else self._prices)[text.decode()]
                for prompt, text in zip(prompts, continuations, strict=True)
            ]
        )


def test_each_normalization_by_hand():
    form = Form(["Question: x\nAnswer:"] * 3, [" ö", " öäü", " abcdefg"], answer=0)
    prices = dict(zip(form.continuations, [6.0, 7.0, 12.0], strict=True))
    alone = dict(zip(form.continuations, [1.0, 5.0, 7.0], strict=True))
    costs = cloze_costs(Priced(prices, alone), [form])
    assert {str(name): cost.tolist() for name, cost in costs.items()} == {
        "none": [6.0, 7.0, 12.0],
        # " ö" is two characters and three bytes, " öäü" four and seven, " abcdefg" eight of both.
        "character": [6 / 2, 7 / 4, 12 / 8],
        "symbol": [6 / 3, 7 / 7, 12 / 8],
        "pmi": [5.0, 2.0, 5.0],
    }


@pytest.mark.parametrize(
    ("letters", "score", "form"),
    [((1.0, 2.0), 1.0, "multiple choice"), ((2.0, 1.0), 0.0, "cloze")],
)
def test_the_better_form_counts(folder, letters, score, form):
    # Per character the longer, wrong solution of PIQA's question is cheaper: 10/12 against 9/10.
    prices = {" use a mop": 9.0, " use a spoon": 10.0, " A": letters[0], " B": letters[1]}
    alone = {" use a mop": 1.0, " use a spoon": 1.0}
    report = evaluate_olmes(Priced(prices, alone), read_tasks(asked(folder, "piqa")))
    found = report.tasks["piqa"]
    assert found.cloze == {"none": 1.0, "character": 0.0, "symbol": 0.0, "pmi": 1.0}
    assert (found.normalization, found.multiple_choice) == ("character", score)
    assert (found.score, found.form, report.average) == (score, form, score)


@pytest.mark.parametrize("read_as", ["bytes", "tokens"])
@pytest.mark.parametrize("knows", ["right", "wrong"])
def test_a_model_that_knows_the_answers_scores_1_and_one_that_knows_wrong_ones_0(
    folder, read_as, knows
):
    tasks = read_tasks(asked(folder))
    forms = [
        form
        for data in tasks
        for ask in (data.task.cloze, data.task.multiple_choice)
        for form in with_shots(ask, data)
    ]
    scripts = []
    for form in forms:
        place = form.answer if knows == "right" else form.answer - 1
        scripts.append((form.prompts[place].encode(), form.continuations[place].encode()))
    reading, opening, offset = RawReading(), RAW_OPEN, Format.RAW.offset
    if read_as == "tokens":
        reading, opening = CompressedReading(UNITS), COMPRESSED_OPEN
        offset = Format.COMPRESSED.offset
    module = ScriptedModule(
        ([BOS, opening, *(byte + offset for byte in prompt)], [byte + offset for byte in text])
        for prompt, text in scripts
    )
    report = evaluate_olmes(Scorer(module, reading), tasks)
    assert [*report.tasks] == [*RECORDS] and (report.read_as, report.shots) == (read_as, 1)
    assert {task.score for task in report.tasks.values()} == {1.0 if knows == "right" else 0.0}


def test_of_larger_sets_olmes_takes_1000_questions(folder, tmp_path):
    many = [ARC[0] | {"question": f"{number}?"} for number in range(1200)]
    for name in ("arc_easy", "arc_challenge"):
        write(tmp_path / f"{name}.jsonl", many)
    easy, challenge = read_tasks(asked(tmp_path, "arc_easy", "arc_challenge", shots=0))
    expected = random.Random(1234).sample([f"{number}?" for number in range(1200)], 1000)
    assert [one.text for one in easy.questions] == expected
    assert len(challenge.questions) == 1200
    (few,) = read_tasks(asked(tmp_path, "arc_easy", shots=0, limit=3))
    assert few.questions == easy.questions[:3]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("arc_easy", {"answerKey": "F"}, "record 1 is none of arc_easy: 'answerKey' 'F' is none"),
        ("arc_easy", {"question": None}, "'question' is no text"),
        ("arc_easy", {"choices": ["a", "b"]}, "'choices' has no list 'text'"),
        ("arc_easy", {"choices": {"text": ["a", 1], "label": ["A", "B"]}}, "a choice is no text"),
        ("csqa", {"choices": {"text": ["a"], "label": ["A"]}}, "fewer than two choices"),
        ("boolq", {"label": 2}, "neither 'label' nor 'answer'"),
        ("hellaswag", {"endings": "x"}, "'endings' is no list of texts"),
        ("hellaswag", {"label": ""}, "'' is no number of a choice"),
        ("piqa", {"label": 2}, "its answer is none of the choices"),
        ("winogrande", {"sentence": "no blank"}, "has not one blank"),
    ],
)
def test_records_of_another_kind_are_one_line(name, changes, message, tmp_path):
    write(tmp_path / f"{name}.jsonl", [RECORDS[name][0] | changes])
    with pytest.raises(DataError, match=message) as caught:
        read_tasks(asked(tmp_path, name, shots=0))
    assert str(caught.value).startswith(f"{tmp_path}/{name}.jsonl: ")
    assert "\n" not in str(caught.value)


def test_missing_files_few_shots_and_unknown_tasks_are_one_line(folder, tmp_path):
    with pytest.raises(DataError, match=r"arc_challenge.jsonl"):
        read_tasks(asked(tmp_path))
    with pytest.raises(DataError, match=r"piqa.shots.jsonl: has 1 shots of 5"):
        read_tasks(asked(folder, "piqa", shots=5))
    with pytest.raises(UsageError, match="no task 'mmlu'; there are: arc_challenge, arc_easy"):
        read_tasks(asked(folder, "mmlu"))


def test_the_command(folder, tmp_path, capsys):
    save_small_run(tmp_path / "run", seed=3)
    arguments = ["evaluate", "olmes", str(tmp_path / "run"), "--data", str(folder), "--shots", "1"]
    tasks = ["--task", "piqa", "--task", "winogrande"]
    assert run([*arguments, *tasks, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [*found["tasks"]] == ["piqa", "winogrande"] and found["about"]["shots"] == 1
    scores = [task["score"] for task in found["tasks"].values()]
    assert found["average"] == sum(scores) / 2
    assert run([*arguments, *tasks]) == 0
    assert "read as bytes" in capsys.readouterr().out
