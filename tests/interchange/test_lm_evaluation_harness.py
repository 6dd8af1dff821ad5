"""lm-evaluation-harness on exported models: one of its own tasks from local data, and scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from exported import make_export

import proxylm
from proxylm.generation.request import prompt_symbols
from proxylm.interchange.vocabulary import Vocabulary
from proxylm.symbols import COMPRESSED_OFFSET

pytest.importorskip("transformers", reason="needs the extra 'lm-eval'")
lm_eval = pytest.importorskip("lm_eval", reason="needs the extra 'lm-eval'")

QUESTIONS = [
    {
        "id": str(number),
        "question": f"Which letter follows {letter}?",
        "choices": {"text": ["b", "c", "some longer answer"], "label": ["A", "B", "C"]},
        "answerKey": "ABC"[number],
    }
    for number, letter in enumerate("abz")
]


@pytest.fixture
def task(tmp_path: Path) -> str:
    """The harness's ARC-easy, its documents from a file of ours."""
    data = tmp_path / "questions.jsonl"
    data.write_text("".join(json.dumps(question) + "\n" for question in QUESTIONS))
    files = dict.fromkeys(("train", "validation", "test"), str(data))
    values = {
        "include": str(Path(lm_eval.__file__).parent / "tasks" / "arc" / "arc_easy.yaml"),
        "task": "arc_easy_local",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files, "cache_dir": str(tmp_path / "cache")},
    }
    path = tmp_path / "arc_easy_local.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


def log_likelihood(model: proxylm.ByteModel, context: bytes, continuation: bytes) -> float:
    """Natural log of the continuation's probability after ``<bos> <raw> context``."""
    symbols = prompt_symbols(context + continuation, sentinels=True)
    logits = model.logits(torch.from_numpy(symbols)[None])[0, :, 0].double()
    chosen = torch.log_softmax(logits[:-1], -1)[np.arange(len(symbols) - 1), symbols[1:]]
    return float(chosen[-len(continuation) :].sum())


@pytest.mark.timeout(300)
def test_arc_easy_scores_what_our_logits_say(task: str, tmp_path: Path) -> None:
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    _, folder = make_export(tmp_path, "llama", vocabulary=Vocabulary.BYTES)
    results = lm_eval.simple_evaluate(
        model=HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=2),
        tasks=[task],
        task_manager=TaskManager(include_defaults=False),
        bootstrap_iters=0,
    )
    ours = proxylm.load(folder)
    right = 0
    samples = results["samples"]["arc_easy_local"]
    assert len(samples) == len(QUESTIONS)
    for sample in samples:
        expected = [
            log_likelihood(ours, *(text.encode() for text in request))
            for request in sample["arguments"]
        ]
        found = [response[0][0] for response in sample["resps"]]
        np.testing.assert_allclose(found, expected, rtol=1e-4)
        right += int(np.argmax(expected)) == sample["target"]
    assert results["results"]["arc_easy_local"]["acc,none"] == pytest.approx(right / 3)


@pytest.mark.timeout(300)
def test_log_likelihoods_of_an_evabyte_export_are_ours(tmp_path: Path) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    _, folder = make_export(tmp_path, "eva")
    ours = proxylm.load(folder)
    assert ours.config.vocabulary_size > COMPRESSED_OFFSET
    model = HFLM(
        pretrained=str(folder), device="cpu", dtype="float32", batch_size=2, trust_remote_code=True
    )
    pairs = [("def area(radius):", " return"), ("a", "\u00e9\u4e16"), ("x" * 40, "y")]
    requests = [
        Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=0) for pair in pairs
    ]
    found = [score for score, _ in model.loglikelihood(requests)]
    expected = [log_likelihood(ours, *(text.encode() for text in pair)) for pair in pairs]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
