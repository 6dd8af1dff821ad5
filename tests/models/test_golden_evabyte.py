"""Golden values of the published EvaByte: plain, packed documents, greedy decoding."""

import json

import pytest
import torch
from safetensors.torch import load_file

from proxylm.checkpoints.layouts.choice import read_config
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import EOS


@pytest.fixture(scope="module")
def model(golden):
    folder = golden / "evabyte"
    config, _ = read_config(json.loads((folder / "config.json").read_text()))
    model = LanguageModel(config)
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    return model


@pytest.fixture(scope="module")
def cases(golden):
    return load_file(golden / "evabyte" / "cases.safetensors")


def relative_error(found, wanted):
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("case", range(4))
def test_plain_inputs(model, cases, case):
    with torch.no_grad():
        logits = model.logits(cases[f"plain.{case}.input_ids"])
    wanted = cases[f"plain.{case}.logits"]
    assert logits.shape == wanted.shape
    assert relative_error(logits, wanted) <= 1e-5


@pytest.mark.parametrize("case", range(4))
def test_the_plain_modules_give_the_published_values(model, cases, case, plain_execution):
    plain_execution()
    test_plain_inputs(model, cases, case)


def test_packed_documents_but_their_ends(model, cases):
    ids = cases["docmask.input_ids"]
    is_end = ids == EOS
    segment_ids = is_end.long().cumsum(1) - is_end.long()
    assert segment_ids.max() >= 2
    with torch.no_grad():
        logits = model.logits(ids, segment_ids, cases["docmask.position_ids"])
        counted = model.logits(ids, segment_ids)
    wanted = cases["docmask.logits"]
    assert relative_error(logits[~is_end], wanted[~is_end]) <= 1e-5
    assert torch.equal(logits, counted), "positions follow from the documents"


def test_greedy_decoding_through_the_cache(model, cases):
    cache = model.new_cache(1)
    logits = model.step(cases["greedy.prompt_ids"], cache)[:, -1, 0]
    found, steps = [], []
    for _ in range(64):
        steps.append(logits)
        found.append(logits.argmax(-1, keepdim=True))
        logits = model.step(found[-1], cache)[:, -1, 0]
    assert torch.equal(torch.cat(found, 1), cases["greedy.new_ids"])
    assert relative_error(torch.stack(steps, 1), cases["greedy.step_logits"]) <= 1e-5
