"""The nine tasks of the paper's Table 16 as the harness defines them, on documents of ours.

Each definition is the harness's own, with its data set replaced by two invented documents of the
same form. The texts that the model is asked for stand here by hand. A model that knows the right
ones scores 1, one that knows the wrong ones 0, read as bytes and as tokens.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from oracle_models import ReplayModel, ScriptedModule
from proxylm.compressors.registry import load_compressor
from proxylm.evaluation.answers.writers import BytesWriter, PromptWriter, TokensWriter
from proxylm.symbols import BOS, COMPRESSED_OPEN, RAW_OPEN

lm_eval = pytest.importorskip("lm_eval", reason="needs the extra 'lm-eval'")

from proxylm.evaluation.lm_harness import (  # noqa: E402 - only where lm-eval is
    OLMES_TASKS,
    evaluate_with_harness,
    find_tasks,
)

DEFINITIONS = Path(lm_eval.__file__).parent / "tasks"
UNITS = load_compressor("units:bits=8")
Pair = tuple[str, str]
"""A context and its continuation."""


@dataclass(frozen=True, kw_only=True)
class Miniature:
    """A task's definition, documents of its form, and the pairs that are right and wrong."""

    definition: str
    documents: list[dict[str, Any]]
    right: list[Pair]
    wrong: list[Pair]
    metrics: tuple[str, ...] = ("acc", "acc_norm")


def labelled(texts: list[str], labels: str = "ABCDE") -> dict[str, list[str]]:
    return {"text": texts, "label": list(labels[: len(texts)])}


def arc(definition: str) -> Miniature:
    return Miniature(
        definition=definition,
        documents=[
            {
                "question": "What falls from a dark cloud?",
                "choices": labelled(["sand", "rain", "ink", "salt"]),
                "answerKey": "B",
            },
            {
                "question": "Which one melts in the sun?",
                "choices": labelled(["a stone", "a nail", "ice"], "123"),
                "answerKey": "3",
            },
        ],
        right=[
            ("Question: What falls from a dark cloud?\nAnswer:", " rain"),
            ("Question: Which one melts in the sun?\nAnswer:", " ice"),
        ],
        wrong=[
            ("Question: What falls from a dark cloud?\nAnswer:", " ink"),
            ("Question: Which one melts in the sun?\nAnswer:", " a nail"),
        ],
    )


BOOLQ = (
    "The Orla is a river.\nQuestion: is the orla a river?\nAnswer:",
    "Tin sinks in water.\nQuestion: does tin float?\nAnswer:",
)
CSQA = (
    "Question: Where do you keep bread?\nA. box\nB. sea\nC. sky\nD. road\nE. fire\nAnswer:",
    "Question: What barks?\nA. cup\nB. leaf\nC. dog\nD. sock\nE. moon\nAnswer:",
)
HELLASWAG = (
    "Baking bread: A man kneads the dough. He",
    "Rowing. Getting in: Two girls carry a boat. They",
)
PIQA = (
    "Question: Dry a wet floor.\nAnswer:",
    "Question: Open a tight jar.\nAnswer:",
)
SIQA = (
    "Q: Ana gave Bo her umbrella. How would Bo feel?\nA:",
    "Q: Cy broke a plate. What will Cy do next?\nA:",
)

MINIATURES = {
    "arc_challenge": arc("arc/arc_challenge.yaml"),
    "arc_easy": arc("arc/arc_easy.yaml"),
    "boolq": Miniature(
        definition="super_glue/boolq/default.yaml",
        documents=[
            {"passage": "The Orla is a river.", "question": "is the orla a river", "label": 1},
            {"passage": "Tin sinks in water.", "question": "does tin float", "label": 0},
        ],
        right=[(BOOLQ[0], " yes"), (BOOLQ[1], " no")],
        wrong=[(BOOLQ[0], " no"), (BOOLQ[1], " yes")],
        metrics=("acc",),
    ),
    "commonsense_qa": Miniature(
        definition="commonsense_qa/default.yaml",
        documents=[
            {
                "question": "Where do you keep bread?",
                "choices": labelled(["box", "sea", "sky", "road", "fire"]),
                "answerKey": "A",
            },
            {
                "question": "What barks?",
                "choices": labelled(["cup", "leaf", "dog", "sock", "moon"]),
                "answerKey": "C",
            },
        ],
        right=[(CSQA[0], " A"), (CSQA[1], " C")],
        wrong=[(CSQA[0], " E"), (CSQA[1], " A")],
        metrics=("acc",),
    ),
    "hellaswag": Miniature(
        definition="hellaswag/hellaswag.yaml",
        documents=[
            {
                "activity_label": "Baking bread",
                "ctx_a": "A man kneads the dough.",
                "ctx_b": "he",
                "endings": ["puts it in the oven.", "reads it.", "sells the sea.", "wears it."],
                "label": "0",
            },
            {
                "activity_label": "Rowing [title] Getting in",
                "ctx_a": "Two girls carry a boat.",
                "ctx_b": "they",
                "endings": ["eat it.", "fold it.", "paint the rain.", "[step] row away."],
                "label": "3",
            },
        ],
        right=[(HELLASWAG[0], " puts it in the oven."), (HELLASWAG[1], "  row away.")],
        wrong=[(HELLASWAG[0], " wears it."), (HELLASWAG[1], " fold it.")],
    ),
    "openbookqa": Miniature(
        definition="openbookqa/openbookqa.yaml",
        documents=[
            {
                "question_stem": "A plant needs",
                "choices": labelled(["light", "shoes", "noise", "glue"]),
                "answerKey": "A",
            },
            {
                "question_stem": "A magnet pulls",
                "choices": labelled(["wood", "water", "paper", "iron"]),
                "answerKey": "D",
            },
        ],
        right=[("A plant needs", " light"), ("A magnet pulls", " iron")],
        wrong=[("A plant needs", " glue"), ("A magnet pulls", " wood")],
    ),
    "piqa": Miniature(
        definition="piqa/piqa.yaml",
        documents=[
            {"goal": "Dry a wet floor.", "sol1": "Mop it.", "sol2": "Hose it.", "label": 0},
            {"goal": "Open a tight jar.", "sol1": "Freeze it.", "sol2": "Warm it.", "label": 1},
        ],
        right=[(PIQA[0], " Mop it."), (PIQA[1], " Warm it.")],
        wrong=[(PIQA[0], " Hose it."), (PIQA[1], " Freeze it.")],
    ),
    "social_iqa": Miniature(
        definition="siqa/siqa.yaml",
        documents=[
            {
                "context": "Ana gave Bo her umbrella.",
                "question": "How would Bo feel?",
                "answerA": "angry",
                "answerB": "thankful",
                "answerC": "hungry",
                "label": "2",
            },
            {
                "context": "Cy broke a plate.",
                "question": "What will Cy do next?",
                "answerA": "sweep",
                "answerB": "swim",
                "answerC": "marry",
                "label": "1",
            },
        ],
        right=[(SIQA[0], " thankful"), (SIQA[1], " sweep")],
        wrong=[(SIQA[0], " angry"), (SIQA[1], " marry")],
        metrics=("acc",),
    ),
    # The contexts differ, the continuation is the same.
    "winogrande": Miniature(
        definition="winogrande/default.yaml",
        documents=[
            {
                "sentence": "The cup did not fit in the box since the _ was too big.",
                "option1": "cup",
                "option2": "box",
                "answer": "1",
            },
            {
                "sentence": "Eva thanked Max because _ had helped.",
                "option1": "Eva",
                "option2": "Max",
                "answer": "2",
            },
        ],
        right=[
            ("The cup did not fit in the box since the cup", " was too big."),
            ("Eva thanked Max because Max", " had helped."),
        ],
        wrong=[
            ("The cup did not fit in the box since the box", " was too big."),
            ("Eva thanked Max because Eva", " had helped."),
        ],
        metrics=("acc",),
    ),
}


def on_local_data(miniature: Miniature, folder: Path) -> str:
    """The harness's definition with our documents in place of its data set."""
    data = folder / "documents.jsonl"
    data.write_text("".join(json.dumps(one) + "\n" for one in miniature.documents))
    splits = dict.fromkeys(("train", "validation", "test"), str(data))
    values = {
        "include": str(DEFINITIONS / miniature.definition),
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": splits, "cache_dir": str(folder / "cache")},
    }
    path = folder / "miniature.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


def writers_that_know(pairs: list[Pair]) -> list[PromptWriter]:
    """A model of these continuations alone, read as bytes and as tokens."""
    as_bytes = BytesWriter(ReplayModel(()))
    as_tokens = TokensWriter(ReplayModel(()), UNITS)
    for writer, opening in ((as_bytes, RAW_OPEN), (as_tokens, COMPRESSED_OPEN)):
        reading = writer.reading
        scripts = []
        for pair in pairs:
            before, after = (reading.read(text.encode()).ids.tolist() for text in pair)
            scripts.append(([BOS, opening, *before], after))
        writer.model = ReplayModel((), module=ScriptedModule(scripts))
    return [as_bytes, as_tokens]


def test_all_nine_have_a_miniature() -> None:
    assert tuple(MINIATURES) == OLMES_TASKS


@pytest.mark.timeout(300)
@pytest.mark.parametrize("task", MINIATURES)
def test_an_oracle_scores_one_and_its_opposite_none(task: str, tmp_path: Path) -> None:
    miniature = MINIATURES[task]
    tasks = find_tasks([on_local_data(miniature, tmp_path)])
    for pairs, score in ((miniature.right, 1.0), (miniature.wrong, 0.0)):
        for writer in writers_that_know(pairs):
            report = evaluate_with_harness(writer, tasks)
            scores = dict.fromkeys(miniature.metrics, score)
            assert report.tasks == {task: {**scores, "documents": 2, "num_fewshot": 0}}
            assert report.average == score
