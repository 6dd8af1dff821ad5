"""The byte LM: its float64 pass against the model itself, whatever is computed together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from proxylm.compressors.neural.byte_lm.model import CONFIG_FILE, WEIGHTS_FILE, ByteLM
from proxylm.errors import DamagedFileError, UsageError
from proxylm.models.language_model import LanguageModel
from proxylm.models.presets import preset
from proxylm.symbols import BOS, COMPRESSED_OFFSET, RAW_OFFSET
from small_neural import small_byte_lm, text

STRINGS = [text(1)[:60], b"", b"a", text(2)[:33], bytes(range(200, 250)), b"\0"]


def model_probabilities(lm: ByteLM, string: bytes) -> np.ndarray:
    """Softmax over the 256 bytes of the float32 model's logits, as the definition says."""
    ids = torch.tensor([[BOS, *(byte + RAW_OFFSET for byte in string)]])
    with torch.no_grad():
        logits = lm.model.logits(ids)[0, :, 0, RAW_OFFSET:COMPRESSED_OFFSET]
    return torch.softmax(logits.double(), dim=-1).numpy()


def test_the_float64_pass_computes_the_model():
    lm = small_byte_lm()
    for string, rows in zip(STRINGS, lm.probabilities(STRINGS), strict=True):
        assert rows.shape == (len(string) + 1, 256) and rows.dtype == np.float64
        np.testing.assert_allclose(rows, model_probabilities(lm, string), rtol=2e-4, atol=1e-7)
        np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-12)


def test_grouped_key_heads_are_computed_alike():
    attention = {"kind": "causal", "kv_heads": 1}
    sizes = {"layers": 2, "width": 16, "ffn": 24, "heads": 4, "context": 32}
    config = preset("byte-lm-tiny", sentinels=False, attention=attention, **sizes)
    lm = ByteLM(LanguageModel(config, seed=3), device="cpu")
    rows = lm.canonical(b"grouped")
    np.testing.assert_allclose(rows, model_probabilities(lm, b"grouped"), rtol=2e-4, atol=1e-7)


def test_what_is_computed_together_does_not_matter():
    lm = small_byte_lm()
    together = lm.probabilities(STRINGS)
    ends = lm.next_probabilities(STRINGS)
    for string, rows, end in zip(STRINGS, together, ends, strict=True):
        alone = lm.canonical(string)
        np.testing.assert_allclose(rows, alone, rtol=1e-11)
        np.testing.assert_allclose(end, alone[-1], rtol=1e-11)


def test_the_arbiter_has_the_same_bits_for_any_number_of_threads():
    lm = small_byte_lm()
    threads = torch.get_num_threads()
    first = lm.canonical(STRINGS[0])
    try:
        torch.set_num_threads(2)
        np.testing.assert_array_equal(lm.canonical(STRINGS[0]), first)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_bits_are_those_of_the_probabilities():
    lm = small_byte_lm()
    strings = [string for string in STRINGS if string]
    for string, bits in zip(strings, lm.exact_bits(strings), strict=True):
        chosen = lm.canonical(string)[np.arange(len(string)), np.frombuffer(string, np.uint8)]
        np.testing.assert_allclose(bits, -np.log2(chosen), rtol=1e-10)
        np.testing.assert_allclose(lm.canonical_bits(string), bits, rtol=1e-10)


def test_it_comes_back_from_its_folder(tmp_path):
    lm = small_byte_lm()
    lm.save(tmp_path / "lm")
    loaded = ByteLM.load(tmp_path / "lm", device="cpu")
    assert loaded.fingerprint == lm.fingerprint
    np.testing.assert_array_equal(loaded.canonical(b"abc"), lm.canonical(b"abc"))


def test_a_damaged_folder_is_named(tmp_path):
    small_byte_lm().save(tmp_path)
    weights = (tmp_path / WEIGHTS_FILE).read_bytes()
    for damaged in (weights[:-40], b""):
        (tmp_path / WEIGHTS_FILE).write_bytes(damaged)
        with pytest.raises(DamagedFileError, match=WEIGHTS_FILE):
            ByteLM.load(tmp_path)
    (tmp_path / CONFIG_FILE).unlink()
    with pytest.raises(DamagedFileError, match=CONFIG_FILE):
        ByteLM.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": {"kind": "eva", "window": 128, "chunk": 8}}, "causal attention"),
        ({"sentinels": True}, "without sentinels"),
        ({"vocabulary_size": 400}, "bytes alone"),
        ({"attention": {"kind": "causal", "kv_heads": 4, "query_key_norm": "all"}}, "no norms of"),
        ({"norms": "after"}, "no norms of"),
        ({"rope_scaling": {"kind": "linear", "factor": 2.0}}, "no stretched positions"),
    ],
)
def test_other_models_are_refused(changes, message):
    values = {"layers": 1, "width": 8, "ffn": 8, "heads": 4, "sentinels": False} | changes
    with pytest.raises(UsageError, match=message):
        ByteLM(LanguageModel(preset("byte-lm-tiny", **values)))
