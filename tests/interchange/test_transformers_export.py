"""Exported models in transformers: the same logits, the same greedy bytes, one by one and padded.

``trust_remote_code`` is given here alone, to modelling code that this project wrote.
"""

from __future__ import annotations

import json
import math
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from exported import KEEPING, VARIANTS, make_export
from safetensors.torch import load_file

import proxylm
from documents import blocks
from proxylm.checkpoints.layouts.evabyte import EvaByteLayout
from proxylm.cli.main import run as run_command
from proxylm.generation.request import prompt_symbols
from proxylm.interchange.export import export_model
from proxylm.interchange.vocabulary import Vocabulary
from proxylm.models.formats import can_follow
from proxylm.symbols import BOS, COMPRESSED_OFFSET, RAW_OFFSET, RAW_OPEN
from small_models import save_run, save_small_run, small_model

transformers = pytest.importorskip("transformers", reason="needs the extra 'hf'")

PROMPTS = [b"def area(radius):\n", "a\u00e9\u4e16\U0001f600".encode(), b"x" * 40, b""]
CLOSE = {"atol": 1e-5, "rtol": 0.0}
CASES = [(variant, Vocabulary.BOTH) for variant in KEEPING]
CASES += [(variant, Vocabulary.BYTES) for variant in VARIANTS]


def load_both(folder: Path) -> tuple[Any, Any]:
    """The model and the tokenizer as transformers reads them."""
    values = json.loads((folder / "config.json").read_text())
    options = {"trust_remote_code": True} if "auto_map" in values else {}
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, **options)
    return model, transformers.PreTrainedTokenizerFast.from_pretrained(folder)


def some_ids(vocabulary: int, *, length: int = 61) -> torch.Tensor:
    """Raw text across several windows, then a compressed stretch where there is one."""
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(RAW_OFFSET, COMPRESSED_OFFSET, (2, length), generator=generator)
    ids[:, 0], ids[:, 1] = BOS, RAW_OPEN
    if vocabulary > COMPRESSED_OFFSET:
        ids[1, 20:] = torch.randint(COMPRESSED_OFFSET, vocabulary, (41,), generator=generator)
    return ids


@pytest.mark.parametrize(("variant", "vocabulary"), CASES)
def test_logits_and_greedy_bytes_are_ours(
    variant: str, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    run, folder = make_export(tmp_path, variant, vocabulary=vocabulary)
    ours = proxylm.load(run)
    model, tokenizer = load_both(folder)
    size = model.config.vocab_size
    assert (size == COMPRESSED_OFFSET) == (vocabulary is Vocabulary.BYTES)

    ids = some_ids(size)
    with torch.no_grad():
        found = model(ids).logits
    wanted = ours.logits(ids)[:, :, 0, :size]
    assert found.dtype == torch.float32
    if variant == "llama-by-format":  # plain Llama cannot leave out what cannot follow
        allowed = can_follow(ids, size)
        found, wanted = found[allowed], wanted[allowed]
    torch.testing.assert_close(found, wanted, **CLOSE)

    for prompt in PROMPTS:
        assert generated(model, tokenizer, prompt) == ours.generate(prompt, max_new_bytes=40)


@pytest.mark.parametrize("variant", KEEPING)
def test_compressed_symbols_are_never_generated(variant: str, tmp_path: Path) -> None:
    made = small_model(seed=3, **VARIANTS[variant])
    heads = made.lm_head.weight.data.view(-1, made.config.vocabulary_size, made.config.width)
    heads[:, COMPRESSED_OFFSET:] *= 100
    save_run(tmp_path / "run", made)
    export_model(tmp_path / "run", tmp_path / "out")
    model, tokenizer = load_both(tmp_path / "out")
    ours = proxylm.load(tmp_path / "run")
    if "by-format" not in variant:
        assert ours.logits(some_ids(COMPRESSED_OFFSET))[0, 0, 0].argmax() >= COMPRESSED_OFFSET
    for prompt in PROMPTS:
        assert generated(model, tokenizer, prompt) == ours.generate(prompt, max_new_bytes=40)


@pytest.mark.parametrize("variant", ["eva", "eva-by-format", "eva-no-sentinels", "llama"])
def test_bits_per_byte_are_ours(variant: str, tmp_path: Path) -> None:
    _, folder = make_export(tmp_path, variant)
    model, tokenizer = load_both(folder)
    text = "def area(radius):\n"
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        bits = torch.log_softmax(model(ids).logits[0, :-1].double(), -1) / -math.log(2)
    mean = float(bits.gather(1, ids[0, 1:, None])[-len(text) :].mean())
    assert proxylm.load(folder).bits_per_byte([text.encode()])[0] == pytest.approx(mean, abs=1e-5)


def generated(model: Any, tokenizer: Any, prompt: bytes) -> bytes:
    inputs = tokenizer(prompt.decode(), return_tensors="pt")
    with_sentinels = model.config.proxylm["sentinels"]
    expected = prompt_symbols(prompt, sentinels=with_sentinels).tolist()
    assert inputs["input_ids"][0].tolist() == expected
    output = model.generate(**inputs, max_new_tokens=40)[0, len(expected) :]
    return as_bytes(output)


def as_bytes(symbols: torch.Tensor) -> bytes:
    return bytes(symbol - RAW_OFFSET for symbol in symbols.tolist() if symbol >= RAW_OFFSET)


@pytest.mark.parametrize("variant", ["eva", "llama"])
def test_padded_rows_are_what_they_are_alone(variant: str, tmp_path: Path) -> None:
    _, folder = make_export(tmp_path, variant)
    model, tokenizer = load_both(folder)
    texts = [prompt.decode() for prompt in PROMPTS]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    width = batch["input_ids"].shape[1]
    assert 0 < int(batch["attention_mask"].sum(dim=1).min()) < width
    together = model.generate(**batch, max_new_tokens=30)[:, width:]
    for prompt, row in zip(PROMPTS, together, strict=True):
        alone = model.generate(**tokenizer(prompt.decode(), return_tensors="pt"), max_new_tokens=30)
        assert as_bytes(row) == as_bytes(alone[0])[len(prompt) :]


def test_every_head_is_there(tmp_path: Path) -> None:
    for variant in ("eva", "eva-raw-heads"):
        run, folder = make_export(tmp_path, variant)
        ours, (model, _) = proxylm.load(run), load_both(folder)
        ids = some_ids(COMPRESSED_OFFSET)
        with torch.no_grad():
            found = model(ids, return_all_pred_logits=True)
            raw = ours.module.raw_logits(ids) if "raw" in variant else None
        wanted = ours.logits(ids)
        assert found.logits.shape == wanted.shape
        torch.testing.assert_close(found.logits, wanted, **CLOSE)
        assert (found.raw_logits is None) == (raw is None)
        if raw is not None:
            torch.testing.assert_close(found.raw_logits, raw, **CLOSE)


@pytest.mark.parametrize("variant", ["eva", "llama"])
def test_what_transformers_saves_again_loads_back(variant: str, tmp_path: Path) -> None:
    run, folder = make_export(tmp_path, variant)
    model, _ = load_both(folder)
    model.save_pretrained(tmp_path / "again")
    ids = some_ids(COMPRESSED_OFFSET)
    again, before = proxylm.load(tmp_path / "again"), proxylm.load(run)
    assert again.config == proxylm.load(folder).config
    assert torch.equal(again.logits(ids), before.logits(ids))


@pytest.fixture(scope="module")
def published(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The published folder of the golden values with our modelling code."""
    folder = tmp_path_factory.mktemp("published") / "evabyte"
    shutil.copytree(golden / "evabyte", folder)
    values = json.loads((folder / "config.json").read_text())
    values["auto_map"] = {
        "AutoConfig": "configuration_evabyte.EvaByteConfig",
        "AutoModelForCausalLM": "modeling_evabyte.EvaByteForCausalLM",
    }
    (folder / "config.json").write_text(json.dumps(values))
    for file in EvaByteLayout.code:
        shutil.copy(file, folder)
    return transformers.AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)


def test_the_modelling_code_reproduces_published_values(published: Any, golden: Path) -> None:
    cases = load_file(golden / "evabyte" / "cases.safetensors")
    for case in range(4):
        with torch.no_grad():
            ids = cases[f"plain.{case}.input_ids"]
            found = published(ids, return_all_pred_logits=True).logits
        wanted = cases[f"plain.{case}.logits"]
        assert float((found - wanted).norm() / wanted.norm()) <= 1e-5
    prompt = cases["greedy.prompt_ids"]
    output = published.generate(prompt, max_new_tokens=64, do_sample=False, eos_token_id=None)
    assert torch.equal(output[:, prompt.shape[1] :], cases["greedy.new_ids"])


def test_pieces_through_the_cache_are_the_whole(published: Any) -> None:
    ids = torch.randint(3, 96, (3, 90), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = published(ids).logits
        cache, pieces = None, []
        for start, end in ((0, 7), (7, 8), (8, 70), (70, 90)):
            output = published(ids[:, start:end], past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            pieces.append(output.logits)
        last = published(ids, logits_to_keep=2).logits
    torch.testing.assert_close(torch.cat(pieces, 1), whole, **CLOSE)
    torch.testing.assert_close(last, whole[:, -2:], **CLOSE)
    assert cache.get_seq_length() == 90
    held = cache.layers[0]
    assert held.window.shape[-2] == 32, "exact keys of one window"
    assert held.summaries.shape[-2] == 2 * 32 // 8, "one summary per chunk of earlier windows"


def test_beams_follow_their_rows(published: Any) -> None:
    ids = torch.randint(3, 96, (2, 40), generator=torch.Generator().manual_seed(2))
    options = {"num_beams": 3, "do_sample": False, "max_new_tokens": 20, "eos_token_id": None}
    cached = published.generate(ids, **options)
    assert torch.equal(cached, published.generate(ids, use_cache=False, **options))


def test_gradients_pass_through_windows(published: Any) -> None:
    ids = torch.randint(3, 96, (2, 70), generator=torch.Generator().manual_seed(3))
    output = published(ids, labels=ids)
    logits = output.logits[:, :-1].flatten(0, 1)
    torch.testing.assert_close(
        output.loss, torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten())
    )
    output.loss.backward()
    attention = published.model.layers[0].self_attn
    for parameter in (attention.adaptive_mu_k, attention.adaptive_phi, attention.q_proj.weight):
        assert float(parameter.grad.abs().sum()) > 0
    published.zero_grad()


def test_hidden_states_are_those_of_every_layer(published: Any) -> None:
    ids = torch.randint(3, 96, (2, 40), generator=torch.Generator().manual_seed(4))
    mask = torch.ones_like(ids)
    mask[0, :9] = 0
    model, seen = published.model, []
    hooks = [
        layer.register_forward_hook(lambda _, given, __: seen.append(given[0]))
        for layer in model.layers
    ]
    with torch.no_grad():
        output = published(ids, output_hidden_states=True)
        padded = published(ids, attention_mask=mask, output_hidden_states=True).hidden_states
        alone = published(ids[:1, 9:], output_hidden_states=True).hidden_states
        plain = published(ids)
    for hook in hooks:
        hook.remove()
    assert plain.hidden_states is None and torch.equal(plain.logits, output.logits)
    states = output.hidden_states
    assert len(states) == len(model.layers) + 1
    assert torch.equal(states[0], model.embed_tokens(ids))
    for state, given in zip(states[:-1], seen, strict=False):  # ``seen`` goes on with later calls
        assert torch.equal(state, given)
    logits = published.lm_head(states[-1])[..., : published.config.vocab_size]
    torch.testing.assert_close(logits, output.logits, **CLOSE)
    for together, by_itself in zip(padded, alone, strict=True):
        torch.testing.assert_close(together[:1, 9:], by_itself, **CLOSE)
    options = {"return_dict_in_generate": True, "output_hidden_states": True}
    steps = published.generate(ids, max_new_tokens=3, eos_token_id=None, **options).hidden_states
    assert [step[-1].shape[1] for step in steps] == [40, 1, 1]


def test_the_readme_example_works_word_for_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    section = "In transformers"
    save_small_run(tmp_path / "runs" / "mine", seed=3)
    monkeypatch.chdir(tmp_path)
    (commands,) = blocks("README.md", "sh", section=section)
    for line in commands.splitlines():
        assert run_command(shlex.split(line)[1:]) == 0
    capsys.readouterr()
    (program,) = blocks("README.md", "python", section=section)
    exec(compile(program, "README.md", "exec"), {})
    ours = proxylm.load("exported").generate(b"def main(", max_new_bytes=80)
    assert capsys.readouterr().out == "def main(" + ours.decode("utf-8", "replace") + "\n"


@pytest.mark.parametrize("variant", ["eva", "llama"])
def test_the_model_cards_example_works(
    variant: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, folder = make_export(tmp_path, variant)
    monkeypatch.chdir(folder)
    program = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    capsys.readouterr()
    exec(compile(program, "card", "exec"), {})
    ours = proxylm.load(run).generate(b"def main(", max_new_bytes=80)
    assert capsys.readouterr().out == "def main(" + ours.decode("utf-8", "replace") + "\n"


def test_assisted_generation_is_refused(published: Any) -> None:
    ids = torch.tensor([[5, 6, 5, 6]])
    with pytest.raises(ValueError, match="assisted generation is not supported"):
        published.generate(ids, prompt_lookup_num_tokens=2, max_new_tokens=2)
