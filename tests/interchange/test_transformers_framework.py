"""Exported EvaByte inside the framework: what ``generate``, ``Trainer`` and others hand to it.

The checks are those that transformers makes of its own models, as far as they apply here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from exported import make_export

import proxylm
from proxylm.symbols import BYTE_COUNT, COMPRESSED_OFFSET, RAW_OFFSET

transformers = pytest.importorskip("transformers", reason="needs the extra 'hf'")

CLOSE = {"atol": 1e-5, "rtol": 0.0}
PROMPT = "def area("
NEW = {"max_new_tokens": 20}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_export(tmp_path_factory.mktemp("framework"), "eva")[1]


def load(folder: Path, kind: str = "AutoModelForCausalLM", **options: Any) -> Any:
    automatic = getattr(transformers, kind)
    return automatic.from_pretrained(folder, trust_remote_code=True, **options)


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load(folder)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return transformers.PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.fixture(scope="module")
def inputs(tokenizer: Any) -> Any:
    return tokenizer(PROMPT, return_tensors="pt")


@pytest.fixture(scope="module")
def greedy(model: Any, inputs: Any) -> torch.Tensor:
    return model.generate(**inputs, **NEW)


@pytest.fixture(scope="module")
def documents(tokenizer: Any) -> list[dict[str, Any]]:
    """Of different lengths, over several windows of 16."""
    return [dict(tokenizer(f"def area({10**power}):")) for power in range(0, 24, 4)]


def test_stop_strings_end_the_text(
    model: Any, tokenizer: Any, inputs: Any, greedy: torch.Tensor
) -> None:
    made = greedy[0, inputs["input_ids"].shape[1] :].tolist()
    place = next(i for i, symbol in enumerate(made) if i > 3 and 32 < symbol - RAW_OFFSET < 127)
    stop = chr(made[place] - RAW_OFFSET)
    found = model.generate(**inputs, **NEW, stop_strings=["never there", stop], tokenizer=tokenizer)
    first = made.index(made[place])
    assert found[0].tolist() == greedy[0, : inputs["input_ids"].shape[1] + first + 1].tolist()


def test_token_healing_finds_nothing_to_heal_in_bytes(
    model: Any, tokenizer: Any, inputs: Any
) -> None:
    healed = model.generate(**inputs, **NEW, token_healing=True, tokenizer=tokenizer)
    assert tokenizer.decode(healed[0], skip_special_tokens=True).startswith(PROMPT)


def continued(model: Any, given: Any) -> torch.Tensor:
    options = {"return_dict_in_generate": True, "max_new_tokens": 7}
    first = model.generate(**given, **options)
    return model.generate(first.sequences, past_key_values=first.past_key_values, max_new_tokens=13)


def own_cache(model: Any) -> Any:
    return sys.modules[type(model).__module__].EvaCache(model.config)


WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "without a cache": lambda m, given: m.generate(**given, **NEW, use_cache=False),
    "in two parts": continued,
    "from embeddings": lambda m, given: m.generate(
        given["input_ids"],
        inputs_embeds=m.get_input_embeddings()(given["input_ids"]),
        attention_mask=given["attention_mask"],
        **NEW,
    ),
    "the prompt in chunks": lambda m, given: m.generate(
        **given, **NEW, prefill_chunk_size=4, past_key_values=own_cache(m)
    ),
    "in a dictionary": lambda m, given: (
        m.generate(
            **given, **NEW, return_dict_in_generate=True, output_scores=True, output_logits=True
        ).sequences
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_generate_gives_the_same(
    way: str, model: Any, inputs: Any, greedy: torch.Tensor
) -> None:
    assert torch.equal(WAYS[way](model, inputs), greedy)


def test_embeddings_are_as_good_as_symbols(model: Any, inputs: Any) -> None:
    embedded = model.get_input_embeddings()(inputs["input_ids"])
    mask = inputs["attention_mask"].clone()
    mask[:, :3] = 0
    with torch.no_grad():
        for given in ({}, {"attention_mask": mask}):
            wanted = model(inputs["input_ids"], **given).logits
            torch.testing.assert_close(
                model(inputs_embeds=embedded, **given).logits, wanted, **CLOSE
            )
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        model(inputs["input_ids"], inputs_embeds=embedded)


def test_logits_that_depend_on_symbols_need_them(tmp_path: Path, inputs: Any) -> None:
    by_format = load(make_export(tmp_path, "eva-by-format")[1])
    embedded = by_format.get_input_embeddings()(inputs["input_ids"])
    with pytest.raises(ValueError, match=r"inputs_embeds: .* give input_ids"):
        by_format(inputs_embeds=embedded)


def test_the_columns_whose_logits_are_kept(model: Any, inputs: Any) -> None:
    columns = torch.tensor([0, 5])
    with torch.no_grad():
        wanted = model(**inputs).logits[:, columns]
        found = model(**inputs, logits_to_keep=columns).logits
    torch.testing.assert_close(found, wanted, **CLOSE)


def test_the_model_without_its_heads_loads_alone(folder: Path, model: Any, inputs: Any) -> None:
    base = load(folder, "AutoModel")
    with torch.no_grad():
        states = base(**inputs).last_hidden_state
        wanted = model(**inputs, output_hidden_states=True).hidden_states[-1]
    assert torch.equal(states, wanted)
    assert torch.equal(base(**inputs, return_dict=False)[0], states)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"position_ids": torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7]])}, "position_ids: "),
        ({"cu_seq_lens_q": torch.tensor([0, 3, 11])}, "cu_seq_lens_q: .*pad instead of packing"),
        ({"seq_idx": torch.zeros(1, 11, dtype=torch.int32)}, "seq_idx"),
        ({"is_causal": False}, "is_causal"),
        ({"output_attentions": True}, "output_attentions: EvaByte does not keep"),
        ({"past_key_values": transformers.DynamicCache()}, "EvaCache, not a DynamicCache"),
        ({"attention_mask": torch.ones(1, 1, 11, 11)}, r"attention_mask: shape \(1, 1, 11, 11\)"),
        ({"attention_mask": torch.ones(1, 4)}, r"expected \(1, at least 11\)"),
        ({"attention_mask": torch.ones(2, 11)}, r"expected \(1, at least 11\)"),
    ],
)
def test_keywords_that_ask_for_another_result_are_refused(
    keywords: dict[str, Any], message: str, model: Any, inputs: Any
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        model(inputs["input_ids"], **keywords)
    assert "\n" not in str(caught.value)


def test_positions_that_are_its_own_are_taken(model: Any, inputs: Any) -> None:
    ids, mask = inputs["input_ids"], inputs["attention_mask"].clone()
    mask[:, :2] = 0
    own = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        wanted = model(ids, attention_mask=mask)
        found = model(ids, attention_mask=mask, position_ids=own)
        after = model(
            ids[:, :1], past_key_values=found.past_key_values, position_ids=own[:, -1:] + 1
        )
    assert torch.equal(found.logits[:, 2:], wanted.logits[:, 2:])
    assert after.past_key_values.get_seq_length() == ids.shape[1] + 1


def test_the_loss_counts_as_trainer_says(model: Any, inputs: Any) -> None:
    ids = inputs["input_ids"]
    mean = model(ids, labels=ids).loss
    targets = ids.shape[1] - 1
    torch.testing.assert_close(
        model(ids, labels=ids, num_items_in_batch=7).loss, mean * targets / 7
    )
    shifted = torch.nn.functional.pad(ids[:, 1:], (0, 1), value=-100)
    torch.testing.assert_close(model(ids, shift_labels=shifted).loss, mean)


def test_resizing_the_vocabulary_keeps_every_head(
    folder: Path, inputs: Any, tmp_path: Path
) -> None:
    resized, ids = load(folder), inputs["input_ids"]
    old = resized.config.vocab_size
    with torch.no_grad():
        wanted = resized(ids, return_all_pred_logits=True).logits
        for size in (old + 7, COMPRESSED_OFFSET):
            resized.resize_token_embeddings(size, mean_resizing=False)
            found = resized(ids, return_all_pred_logits=True).logits
            assert found.shape[2:] == (2, size)
            kept = min(size, old)
            torch.testing.assert_close(found[..., :kept], wanted[..., :kept], **CLOSE)
    resized.save_pretrained(tmp_path / "resized")
    ours = proxylm.load(tmp_path / "resized").logits(ids)
    assert ours.shape[-1] == COMPRESSED_OFFSET == RAW_OFFSET + BYTE_COUNT
    torch.testing.assert_close(ours, wanted[..., :COMPRESSED_OFFSET], **CLOSE)


def trainer(model: Any, tokenizer: Any, documents: Any, out: Path, **options: Any) -> Any:
    settings = transformers.TrainingArguments(
        str(out),
        per_device_train_batch_size=2,
        per_device_eval_batch_size=6,
        max_steps=2,
        logging_steps=1,
        learning_rate=1e-3,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        **options,
    )
    tokenizer.padding_side = "right"  # on the left, padding would have to foresee <bos>
    collator = transformers.DataCollatorForLanguageModeling(tokenizer, mlm=False)
    return transformers.Trainer(
        model=model,
        args=settings,
        train_dataset=documents,
        eval_dataset=documents,
        data_collator=collator,
    )


def test_trainer_evaluates_and_predicts(
    model: Any, tokenizer: Any, documents: Any, tmp_path: Path
) -> None:
    made = trainer(model, tokenizer, documents, tmp_path)
    with torch.no_grad():
        alone = [model(ids, labels=ids).loss for ids in map(row_of, documents)]
    counts = torch.tensor([len(row["input_ids"]) - 1 for row in documents])
    result = made.predict(documents)
    assert result.predictions.shape == (6, max(counts) + 1, model.config.vocab_size)
    expected = float((torch.stack(alone) * counts).sum() / counts.sum())
    for found in (result.metrics["test_loss"], made.evaluate()["eval_loss"]):
        assert found == pytest.approx(expected, rel=1e-5)


def row_of(document: dict[str, Any]) -> torch.Tensor:
    return torch.tensor([document["input_ids"]])


def test_recomputed_layers_train_the_same(
    folder: Path, tokenizer: Any, documents: Any, tmp_path: Path
) -> None:
    weights = {}
    for checkpointing in (False, True):
        trained = load(folder)
        options = {"gradient_checkpointing": checkpointing, "gradient_accumulation_steps": 2}
        trainer(trained, tokenizer, documents, tmp_path, **options).train()
        weights[checkpointing] = trained.state_dict()
    before = load(folder).state_dict()
    name = "model.layers.0.self_attn.adaptive_phi"
    assert not torch.equal(before[name], weights[False][name])
    for name, tensor in weights[False].items():
        torch.testing.assert_close(weights[True][name], tensor, **CLOSE)


def test_recomputed_layers_write_to_no_cache(folder: Path, inputs: Any) -> None:
    trained = load(folder).train()
    cache = trained(**inputs).past_key_values
    trained.gradient_checkpointing_enable()
    assert trained(**inputs, use_cache=True).past_key_values is None
    with pytest.raises(ValueError, match=r"past_key_values: .*gradient checkpointing"):
        trained(**inputs, past_key_values=cache)
