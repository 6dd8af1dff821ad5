"""Token bytes: the codes are prefix codes, golden values hold, and every document comes back."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from compressor_cases import ODD_DOCUMENTS, TEXTS, TRAININGS, check_views
from hypothesis import given, settings
from hypothesis import strategies as st

from proxylm.compressors.registry import load_compressor, save_compressor
from proxylm.compressors.token_bytes import (
    TokenBytesCompressor,
    TokenBytesSettings,
    code_bytes,
    count_tokens,
    fixed_code,
    gray_code,
    huffman_code,
)
from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.corpus.document import Document
from proxylm.corpus.left_out import LeftOut
from proxylm.errors import DamagedFileError, DataError, UsageError

KINDS = [
    TokenBytesSettings(),
    TokenBytesSettings(encoding="gray"),
    TokenBytesSettings(encoding="huffman"),
    TokenBytesSettings(double_byte=True),
    TokenBytesSettings(encoding="gray", double_byte=True),
]


@pytest.fixture(scope="module")
def frequencies(trained: dict[str, TokenizerCompressor]) -> np.ndarray:
    documents = (Document(id=f"{n}", raw=text.encode()) for n, text in enumerate(TEXTS))
    return count_tokens(trained["bpe"], documents, LeftOut())


def build(
    tokenizer: TokenizerCompressor, chosen: TokenBytesSettings, frequencies: np.ndarray
) -> TokenBytesCompressor:
    return TokenBytesCompressor(
        tokenizer, chosen, frequencies if chosen.needs_frequencies else None
    )


@pytest.mark.parametrize(
    ("tokens", "width"), [(1, 1), (256, 1), (257, 2), (65_536, 2), (65_537, 3), (96_640, 3)]
)
def test_fixed_codes_have_the_smallest_width(tokens, width):
    assert code_bytes(tokens) == width


def test_golden_codes():
    assert fixed_code(300).words[:2] + fixed_code(300).words[-1:] == [
        b"\x00\x00",
        b"\x00\x01",
        b"\x01\x2b",
    ]
    # Sorted: "" (id 3), "a" (1), "a" (2: the tie goes by id), "b" (0); ranks 0, 1, 2, 3.
    assert gray_code([b"b", b"a", b"a", b""]).words == [b"\x02", b"\x01", b"\x03", b"\x00"]
    few = huffman_code(np.array([5, 9, 0]))
    assert few.words == [b"\x00", b"\x01", b"\x02"]


def test_neighbours_in_gray_order_differ_in_one_bit(trained):
    tokens = trained["bpe"].token_bytes
    words = gray_code(tokens).words
    ranked = sorted(range(len(tokens)), key=lambda token: (tokens[token], token))
    values = [int.from_bytes(words[token], "big") for token in ranked]
    assert all((a ^ b).bit_count() == 1 for a, b in itertools.pairwise(values))
    assert len(set(values)) == len(values)


def reference_cost(counts: Sequence[int]) -> int:
    """Total bytes of an optimal code: the sum of all joins of a 256-ary Huffman tree."""
    heap = list(counts) + [0] * (-(len(counts) - 1) % 255)
    heapq.heapify(heap)
    cost = 0
    while len(heap) > 1:
        joined = sum(heapq.heappop(heap) for _ in range(256))
        cost += joined
        heapq.heappush(heap, joined)
    return cost


@given(
    counts=st.lists(st.integers(0, 10_000), min_size=2, max_size=1500),
    skew=st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_huffman_is_a_prefix_code_of_least_length(counts, skew):
    counts = [count**skew for count in counts]
    code = huffman_code(np.array(counts, dtype=np.int64))
    assert sum(256.0 ** -int(length) for length in code.lengths) <= 1
    for shorter, longer in itertools.pairwise(sorted(code.words)):
        assert not longer.startswith(shorter)
    total = sum((count + 1) * len(word) for count, word in zip(counts, code.words, strict=True))
    assert total == reference_cost([count + 1 for count in counts])


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 510, 511, 512, 70_000])
def test_huffman_has_a_word_for_every_token_at_every_size(count):
    code = huffman_code(np.arange(count, dtype=np.int64))
    assert len(set(code.words)) == count and min(code.lengths) >= 1
    assert (code.read(b"".join(code.words)) == np.arange(count)).all()


def test_frequent_tokens_get_short_words(trained, frequencies):
    huffman = build(trained["bpe"], TokenBytesSettings(encoding="huffman"), frequencies)
    fixed = build(trained["bpe"], TokenBytesSettings(), frequencies)
    document = "".join(TEXTS).encode()
    assert len(huffman.compress([document])[0]) < 0.8 * len(fixed.compress([document])[0])


@pytest.mark.parametrize("chosen", KINDS, ids=str)
@pytest.mark.parametrize("name", TRAININGS)
def test_odd_documents_come_back(trained, frequencies, chosen, name):
    tokenizer = trained[name]  # unigram models have fewer tokens than were asked for
    compressor = build(tokenizer, chosen, frequencies[: tokenizer.symbol_count])
    assert compressor.symbol_count == (65_536 if chosen.double_byte else 256)
    check_views(compressor, ODD_DOCUMENTS)


@given(raw=st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_come_back(trained, frequencies, raw):
    for chosen in KINDS:
        check_views(build(trained["bpe"], chosen, frequencies), [raw])


@pytest.mark.parametrize("chosen", KINDS, ids=str)
def test_anchors_are_about_64_symbols_apart(trained, frequencies, chosen):
    document = "".join(TEXTS).encode()
    (view,) = build(trained["bpe"], chosen, frequencies).encode([document])
    steps = np.diff(view.anchors[:, 1].astype(int), prepend=0)
    assert len(steps) > 5
    assert steps.min() >= 60 and steps.max() <= 68
    assert len(view.symbols) - view.anchors[-1, 1] <= 68


def test_double_bytes_are_pairs_of_the_single_ones(trained, frequencies):
    single, double = (build(trained["bpe"], kind, frequencies) for kind in (KINDS[0], KINDS[3]))
    for one, two in zip(
        single.compress(ODD_DOCUMENTS), double.compress(ODD_DOCUMENTS), strict=True
    ):
        assert (one.reshape(-1, 2) @ [256, 1] == two).all()


def test_double_bytes_that_would_mix_tokens_are_refused(trained, frequencies):
    with pytest.raises(UsageError, match="double_byte needs encoding fixed or gray"):
        build(trained["bpe"], TokenBytesSettings(encoding="huffman", double_byte=True), frequencies)
    with pytest.raises(UsageError, match="huffman needs a corpus"):
        TokenBytesCompressor(trained["bpe"], TokenBytesSettings(encoding="huffman"))


def test_double_bytes_need_257_to_65536_tokens():
    class Sized:
        def __init__(self, count: int) -> None:
            self.symbol_count = count
            self.token_bytes = [b"x"] * count

    for count in (257, 65_536):
        assert TokenBytesCompressor(Sized(count), KINDS[3]).symbol_count == 65_536
    for count in (256, 65_537):
        with pytest.raises(UsageError, match=f"this is fixed with {count}"):
            TokenBytesCompressor(Sized(count), KINDS[3])


@pytest.mark.parametrize("chosen", KINDS, ids=str)
def test_saved_and_loaded_it_is_the_same(tmp_path, trained, frequencies, chosen):
    compressor = build(trained["bpe"], chosen, frequencies)
    save_compressor(compressor, tmp_path / "saved")
    loaded = load_compressor(tmp_path / "saved")
    assert loaded.describe() == compressor.describe()
    for one, other in zip(
        loaded.compress(ODD_DOCUMENTS), compressor.compress(ODD_DOCUMENTS), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_other_frequencies_are_another_compressor(tmp_path, trained, frequencies):
    huffman = TokenBytesSettings(encoding="huffman")
    one = build(trained["bpe"], huffman, frequencies)
    assert one.fingerprint != build(trained["bpe"], huffman, frequencies + 1).fingerprint
    save_compressor(one, tmp_path / "saved")
    (tmp_path / "saved" / "token_frequencies.npy").write_bytes(b"damaged")
    with pytest.raises(DamagedFileError, match=r"token_frequencies\.npy"):
        load_compressor(tmp_path / "saved")


@pytest.mark.parametrize(
    ("chosen", "symbols"),
    [(KINDS[0], [1]), (KINDS[0], [255, 255]), (KINDS[0], [256]), (KINDS[3], [65_535])],
)
def test_sequences_that_are_no_code_words_are_refused(trained, frequencies, chosen, symbols):
    compressor = build(trained["bpe"], chosen, frequencies)
    with pytest.raises(DataError, match="token-bytes: sequence 0"):
        compressor.decompress([np.array(symbols, dtype=np.uint32)])
