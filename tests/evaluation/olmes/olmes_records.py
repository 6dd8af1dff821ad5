"""Two invented records of each of the nine tasks, in the published data sets' own fields."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def lettered(question: str, choices: list[str], answer: str, labels: str = "ABCDE") -> dict:
    return {
        "question": question,
        "choices": {"text": choices, "label": list(labels[: len(choices)])},
        "answerKey": answer,
    }


ARC = [
    lettered("What falls from a dark cloud?", ["sand", "rain", "ink", "salt"], "B"),
    lettered("Which one melts in the sun?", ["a stone", "a nail", "ice"], "3", "123"),
]
RECORDS: dict[str, list[dict[str, Any]]] = {
    "arc_challenge": ARC,
    "arc_easy": ARC,
    "boolq": [
        {"passage": "The Orla is a river.", "question": "is the orla a river", "label": 1},
        {"passage": "Tin sinks in water.", "question": "does tin float", "answer": False},
    ],
    "csqa": [
        lettered("Where do you keep bread?", ["box", "sea", "sky", "road", "fire"], "A"),
        lettered("What barks?", ["cup", "leaf", "dog", "sock", "moon"], "C"),
    ],
    "hellaswag": [
        {
            "activity_label": "Baking bread",
            "ctx_a": "A man kneads the dough. [title] Rest",
            "ctx_b": "he",
            "endings": ["lets it rise. [step] Then", "sings", "flies  away", "swims"],
            "label": "0",
        },
        {
            "activity_label": "Rowing",
            "ctx_a": "Two girls carry a boat.",
            "ctx_b": "",
            "endings": ["Sand", "They row", "Ink", "Salt"],
            "label": 1,
        },
    ],
    "openbookqa": [
        {"question_stem": one["question"]} | {key: one[key] for key in ("choices", "answerKey")}
        for one in ARC
    ],
    "piqa": [
        {"goal": "Dry a wet floor.", "sol1": "use a mop", "sol2": "use a spoon", "label": 0},
        {"goal": "Open a tight jar.", "sol1": "sing", "sol2": "turn the lid", "label": 1},
    ],
    "socialiqa": [
        {
            "context": "Ana gave Bo her umbrella.",
            "question": "How would Bo feel?",
            "answerA": "thankful",
            "answerB": "angry",
            "answerC": "asleep",
            "label": "1",
        },
        {
            "context": "Cy broke a plate.",
            "question": "What will Cy do next?",
            "answerA": "swim",
            "answerB": "fly",
            "answerC": "sweep",
            "label": "3",
        },
    ],
    "winogrande": [
        {
            "sentence": "Tom thanked Max because _ had helped him.",
            "option1": "Tom",
            "option2": "Max",
            "answer": "2",
        },
        {
            "sentence": "The cup is not in the box as the _ is too big.",
            "option1": "cup",
            "option2": "box",
            "answer": "1",
        },
    ],
}


def write(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))


def write_folder(folder: Path) -> Path:
    """Each task with its first record as the question and its second as the one shot."""
    folder.mkdir(exist_ok=True)
    for name, (question, shot) in RECORDS.items():
        write(folder / f"{name}.jsonl", [question])
        write(folder / f"{name}.shots.jsonl", [shot])
    return folder
