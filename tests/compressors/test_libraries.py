"""The faster library runs only where it gives the library's ids, and then it gives them."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import numpy as np
import pytest
from compressor_cases import ODD_DOCUMENTS, TEXTS
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, trainers

from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.compressors.tokenizer.byte_level import LINE_PATTERN, WORD_PATTERN, bpe_tokenizer
from proxylm.compressors.tokenizer.libraries import (
    PROBE,
    SAME_IN_BOTH,
    HuggingFaceLibrary,
    TiktokenLibrary,
    _newer_characters,
    choose_library,
)
from proxylm.compressors.tokenizer.specification import TokenizerSpecification

QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LONG_RUNS = [" " * 300_000, " " * 300_000 + "x", "a" * 300_000, "\n \t" * 100_000, "-" * 300_000]


def specification(values: bytes | dict[str, Any]) -> TokenizerSpecification:
    values = values if isinstance(values, dict) else json.loads(values)
    return TokenizerSpecification(values, "test")


def assert_same_ids(
    fast_library: TiktokenLibrary, library: HuggingFaceLibrary, texts: list[str]
) -> None:
    for text, fast, plain in zip(
        texts, fast_library.encode(texts), library.encode(texts), strict=True
    ):
        assert fast.tolist() == plain.tolist(), text[:100]


@pytest.fixture(scope="module")
def libraries(
    trained: dict[str, TokenizerCompressor],
) -> dict[str, tuple[TiktokenLibrary, HuggingFaceLibrary]]:
    """For each BPE training, the faster library and the library on the same tokenizer."""
    pairs = {}
    for name in ("bpe", "line", "superbpe"):
        chosen = choose_library(specification(trained[name]._file))
        assert isinstance(chosen.library, TiktokenLibrary), chosen.reason
        pairs[name] = chosen.library, HuggingFaceLibrary(specification(trained[name]._file))
    return pairs


def test_ids_are_equal_on_the_trained_text_and_on_long_runs(libraries):
    for fast, library in libraries.values():
        assert_same_ids(fast, library, [*TEXTS, PROBE, *LONG_RUNS])


PIECES = st.sampled_from(
    [
        *" \t\r\n'.-_(){}\"0123456789",
        "  ",
        "\r\n",
        "def",
        " self",
        "'s",
        "'LL",
        "ſ",
        "K",
        "é",
        "漢",
        "🤗",
        "\u0301",
        "\u200d",
        "\u2028",
        "\x85",
        "\xa0",
        "\x1c",
        "²",
        "٣",
        "radius",
        " name",
    ]
)


@given(text=st.lists(PIECES, max_size=60).map("".join) | st.text(max_size=60))
@settings(deadline=None, max_examples=300)
def test_ids_are_equal_on_any_text(libraries, text):
    for fast, library in libraries.values():
        assert_same_ids(fast, library, [text])


@pytest.mark.long
@pytest.mark.parametrize("pattern", [WORD_PATTERN, LINE_PATTERN, QWEN])
def test_both_libraries_cut_alike_around_every_old_character(trained, pattern):
    merges = json.loads(trained["bpe"]._file)["model"]["merges"]
    tokenizer = bpe_tokenizer(merges, pattern)
    chosen = choose_library(specification(tokenizer.to_str().encode()))
    assert isinstance(chosen.library, TiktokenLibrary), chosen.reason
    old = [chr(c) for c in range(0x10000) if not 0xD800 <= c < 0xE000]
    old = [one for one in old if not _newer_characters().search(one)]
    assert len(old) > 40_000
    texts = [f"a{c}a {c} 1{c}{c}\n{c}.{c} '{c}" for c in old]
    assert_same_ids(
        chosen.library, HuggingFaceLibrary(specification(tokenizer.to_str().encode())), texts
    )


def test_characters_newer_than_unicode_3_2_go_to_the_library():
    newer = _newer_characters()
    for character in "aé漢Ж\u0301\u3042가½²":
        assert not newer.search(character)
    # Georgian capitals, the rupee sign, emoji and everything unassigned or beyond the first plane.
    for character in "\u1c90\u20b9🤗\U0001d400\u0378":
        assert newer.search(character), unicodedata.name(character, "unassigned")


@pytest.mark.parametrize(
    "pattern",
    [WORD_PATTERN, LINE_PATTERN, QWEN, r"[a-z]+|\d".replace(r"\d", "[0-9]"), r"\p{Lu}{1,3}|[^ x]+"],
)
def test_patterns_that_mean_the_same_everywhere_are_accepted(pattern):
    assert SAME_IN_BOTH.fullmatch(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"\w+",
        r"\d+",
        r"\bword",
        "^line",
        "end$",
        ".",
        r"\p{N}{1,3}+",
        r"\p{N}{1,3}?",
        "[a-z&&[^x]]",
        "[[:alpha:]]",
        r"\h",
        r"\X",
        r"(?<=a)b",
        r"(?x) a",
        r"\p{Greek}",
        r"\p{^L}",
        r"(a)\1",
    ],
)
def test_patterns_that_libraries_read_differently_are_not(pattern):
    assert not SAME_IN_BOTH.fullmatch(pattern)


def changed(trained: dict[str, TokenizerCompressor], **changes: Any) -> TokenizerSpecification:
    values = json.loads(trained["bpe"]._file)
    values["model"] |= changes.pop("model", {})
    return specification(values | changes)


def split_by(pattern: str, **options: Any) -> dict[str, Any]:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    cuts = [split | {"invert": False} | options, byte_level | {"trim_offsets": True}]
    return {"type": "Sequence", "pretokenizers": cuts}


REFUSED = [
    ({"normalizer": {"type": "NFC"}}, "normalizes"),
    ({"pre_tokenizer": None}, "pre-tokenizer"),
    ({"pre_tokenizer": split_by(r"\w+")}, "pattern"),
    # tiktoken breaks off at an empty match.
    ({"pre_tokenizer": split_by(r"\p{L}*")}, "without a character"),
    ({"pre_tokenizer": split_by(r"[^x]?| {0,2}")}, "without a character"),
    ({"pre_tokenizer": split_by("(?:a|b*)(?:c|)")}, "without a character"),
    ({"pre_tokenizer": split_by("x|(?=a)")}, "without a character"),
    ({"pre_tokenizer": split_by("(?:(?!(?i:ab)|c))")}, "without a character"),
    ({"pre_tokenizer": split_by("a**")}, "several ways"),
    ({"pre_tokenizer": split_by(" ", behavior="Removed")}, "plain split"),
    ({"pre_tokenizer": split_by(" ", invert=True)}, "plain split"),
    ({"model": {"byte_fallback": True}}, "plain byte-level"),
    ({"model": {"end_of_word_suffix": "</w>"}}, "plain byte-level"),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSED)
def test_what_is_not_proved_runs_in_the_library(trained, changes, reason):
    chosen = choose_library(changed(trained, **json.loads(json.dumps(changes))))
    assert chosen.library.name == "tokenizers"
    assert reason in chosen.reason


@pytest.mark.parametrize(
    "pattern",
    [WORD_PATTERN, LINE_PATTERN, QWEN, "a+?", r"(?!x)[^y]", r"(?=\p{L}*)(?: |a){1,2}", "x++"],
)
def test_patterns_that_take_a_character_each_time_run_fast(trained, pattern):
    chosen = choose_library(changed(trained, pre_tokenizer=split_by(pattern)))
    assert chosen.library.name == "tiktoken", chosen.reason


def test_unigram_runs_in_the_library(trained):
    assert trained["unigram"].describe()["library"] == "tokenizers"
    assert trained["unigram"].describe()["library_reason"] == "it is not BPE"
    assert trained["bpe"].describe()["library"] == "tiktoken"


def byte_bpe(merges: list[tuple[str, str]], **options: Any) -> TokenizerSpecification:
    tokenizer = bpe_tokenizer([list(merge) for merge in merges], LINE_PATTERN)
    values = json.loads(tokenizer.to_str())
    values["model"] |= options
    return specification(values)


def test_merges_that_joining_by_rank_would_apply_otherwise_are_not_trusted():
    # The library reaches "abc" from (ab, c) only; by rank "bc" comes first and a+bc would join.
    misleading = byte_bpe([("b", "c"), ("a", "b"), ("ab", "c")])
    chosen = choose_library(misleading)
    assert (chosen.library.name, chosen.reason) == (
        "tokenizers",
        "a token does not encode to itself",
    )
    fine = choose_library(byte_bpe([("b", "c"), ("a", "b"), ("a", "bc")]))
    assert fine.library.name == "tiktoken"


def test_merges_before_their_parts_are_not_trusted():
    values = byte_bpe([("a", "b"), ("ab", "c")]).data
    values["model"]["merges"].reverse()
    assert choose_library(specification(values)).reason == "its merges are not in order"


def test_ids_in_another_order_than_merges_are_mapped(trained):
    values = json.loads(trained["bpe"]._file)
    vocabulary = values["model"]["vocab"]
    rng = np.random.default_rng(5)
    shuffled = rng.permutation(len(vocabulary)) * 2 + 1
    values["model"]["vocab"] = {token: int(shuffled[index]) for token, index in vocabulary.items()}
    chosen = choose_library(specification(values))
    assert isinstance(chosen.library, TiktokenLibrary), chosen.reason
    assert_same_ids(chosen.library, HuggingFaceLibrary(specification(values)), [*TEXTS, PROBE])
    compressor = TokenizerCompressor(json.dumps(values).encode())
    assert compressor.decompress(compressor.compress(ODD_DOCUMENTS)) == ODD_DOCUMENTS


def test_ignored_merges_need_every_token_to_be_reachable(trained):
    with_extra = json.loads(trained["bpe"]._file)["model"]["vocab"] | {"qqq": 400}
    assert (
        choose_library(changed(trained, model={"ignore_merges": True})).library.name == "tiktoken"
    )
    chosen = choose_library(changed(trained, model={"ignore_merges": True, "vocab": with_extra}))
    assert chosen.reason == "it has tokens without merges"
    # Without it the extra token can never appear, in either library.
    chosen = choose_library(changed(trained, model={"vocab": with_extra}))
    assert chosen.library.encode(["qqq"])[0].tolist() == [ord("q")] * 3


@pytest.mark.parametrize(
    ("tokens", "library_name"),
    [
        (["<tool>", "</tool>"], "tiktoken"),
        (["<tool>", "<tool>x"], "tokenizers"),
        (["ab", "bc"], "tokenizers"),
        (["xabx", "ab"], "tokenizers"),
    ],
)
def test_added_tokens_are_matched_alike_or_left_to_the_library(trained, tokens, library_name):
    tokenizer = Tokenizer.from_str(trained["bpe"]._file.decode())
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in tokens])
    tokenizer.add_special_tokens(["<|end|>"])
    values = specification(tokenizer.to_str().encode())
    chosen = choose_library(values)
    assert chosen.library.name == library_name
    texts = ["".join(tokens), f"x {tokens[0]} y{tokens[1]}\n<|end|>", "abcab xabxabc"]
    assert_same_ids(chosen.library, HuggingFaceLibrary(values), texts)


def test_text_that_no_match_covers_is_kept(trained):
    values = changed(trained, pre_tokenizer=split_by("[0-9]+"))
    chosen = choose_library(values)
    assert chosen.library.name == "tiktoken"
    texts = ["def area 12 radius\n34", "no digits at all", "5"]
    assert_same_ids(chosen.library, HuggingFaceLibrary(values), texts)
    assert sum(map(len, chosen.library.encode(texts))) > 10


def test_the_library_s_own_byte_level_cut_is_known(trained):
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    values = changed(trained, pre_tokenizer=byte_level | {"trim_offsets": True})
    chosen = choose_library(values)
    assert chosen.library.name == "tiktoken", chosen.reason
    assert_same_ids(chosen.library, HuggingFaceLibrary(values), [*TEXTS, PROBE])


@pytest.mark.parametrize(
    "seed", [pytest.param(s, marks=pytest.mark.long) for s in range(3, 60)] + [0, 1, 2]
)
def test_random_tokenizers_agree_or_are_refused(seed):
    """Merges that no training gave: whichever library is chosen must give the library's ids."""
    rng = np.random.default_rng(seed)
    letters = list("abcd ")
    texts = ["".join(rng.choice(letters, 300)) for _ in range(20)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LINE_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=340, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    values = json.loads(tokenizer.to_str())
    merges = values["model"]["merges"]
    for _ in range(int(rng.integers(0, 4))):
        # Neighbouring merges change places: an order that training would not give.
        place = int(rng.integers(len(merges) - 1))
        merges[place], merges[place + 1] = merges[place + 1], merges[place]
    chosen = choose_library(specification(values))
    probes = ["".join(rng.choice(letters, int(rng.integers(1, 80)))) for _ in range(500)]
    assert_same_ids(chosen.library, HuggingFaceLibrary(specification(values)), probes)
