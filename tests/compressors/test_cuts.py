"""A text that is encoded in stretches gets the symbols of the whole, in bounded memory."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from compressor_cases import ODD_DOCUMENTS, TEXTS, TRAININGS
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_libraries import PIECES, QWEN
from test_vocabulary import added, with_tokens
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

from proxylm.compressors.registry import save_compressor
from proxylm.compressors.token_bytes import TokenBytesCompressor, TokenBytesSettings
from proxylm.compressors.tokenizer import TokenizerCompressor, compressor, libraries
from proxylm.compressors.tokenizer.byte_level import LINE_PATTERN, WORD_PATTERN
from proxylm.compressors.tokenizer.cuts import SafeCuts, safe_cuts
from proxylm.compressors.tokenizer.libraries import (
    BYTE_LEVEL_PATTERN,
    PROBE,
    SAME_IN_BOTH,
    HuggingFaceLibrary,
    LibraryChoice,
    NotProvedError,
)
from proxylm.compressors.tokenizer.specification import TokenizerSpecification

PATTERNS = [WORD_PATTERN, LINE_PATTERN, BYTE_LEVEL_PATTERN, QWEN]
LONG_PROBE = PROBE + "".join(TEXTS) + "漢字 かな🤗 𠀀𠀁 𝟎𝟏 x\u1c90y\n" * 20


def words(pattern: str, text: str) -> list[str]:
    return [word for word, _ in Split(Regex(pattern), "isolated").pre_tokenize_str(text)]


def assert_cut_safely(pattern: str, text: str, size: int) -> list[str]:
    """The stretches, whose words are those of the whole."""
    stretches = list(SafeCuts(pattern, ()).stretches(text, size))
    assert "".join(stretches) == text
    assert [word for one in stretches for word in words(pattern, one)] == words(pattern, text)
    return stretches


@pytest.mark.parametrize("pattern", PATTERNS)
def test_known_patterns_have_many_safe_places(pattern):
    stretches = assert_cut_safely(pattern, LONG_PROBE, 200)
    assert len(stretches) > len(LONG_PROBE) / 200
    assert max(map(len, stretches)) <= (400 if pattern == LINE_PATTERN else 200)


@given(text=st.lists(PIECES, max_size=60).map("".join) | st.text(max_size=60))
@settings(deadline=None, max_examples=40)
def test_words_are_the_same_for_any_text(text):
    for pattern in PATTERNS:
        assert_cut_safely(pattern, text, 1)


ATOMS = st.sampled_from(["a", "b", " ", r"\n", r"\s", r"\S", "[ab]", "[^a]", r"\p{L}", "(?i:A)"])
LOOKS = st.sampled_from([r"(?!\S)", "(?=a)", "(?!b| )", "(?!a+)"])
REPEATS = st.sampled_from(["", "", "?", "*", "+", "{2}", "{0,2}", "{1,3}", "++"])
EXPRESSIONS = st.recursive(
    st.tuples(ATOMS, REPEATS).map("".join) | LOOKS,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map("".join)
        | st.tuples(st.lists(inner, min_size=1, max_size=3), REPEATS).map(
            lambda drawn: f"(?:{'|'.join(drawn[0])}){drawn[1]}"
        )
    ),
    max_leaves=6,
)


@given(
    parts=st.lists(EXPRESSIONS, min_size=1, max_size=3),
    text=st.text("aabbA \n1é", max_size=30),
)
@settings(deadline=None, max_examples=100)
def test_words_are_the_same_for_any_expression(parts, text):
    pattern = "|".join(parts)
    assume(SAME_IN_BOTH.fullmatch(pattern) and is_expression(pattern))
    try:
        assert_cut_safely(pattern, text, 1)
    except NotProvedError as error:
        assert "looks ahead further" in str(error)


def is_expression(pattern: str) -> bool:
    """Whether the library takes it: a repeated look-ahead, for one, it does not."""
    try:
        return bool(Regex(pattern))
    except Exception:
        return False


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("[0-9]+", "no digit " * 5),  # nothing matches a letter: the rest between is one word
        (r"\p{L}+(?=\s)|\s|\p{L}", "ab ab"),  # what precedes the space depends on it
        ("a b|[ab]| ", "a b a b"),
        ("(?:a|b )+|.".replace(".", r"[\s\S]"), "ab ab "),
    ],
)
def test_where_a_match_depends_on_both_sides_nothing_is_cut(pattern, text):
    assert SAME_IN_BOTH.fullmatch(pattern) or "S]" in pattern
    for stretch in assert_cut_safely(pattern, text, 1):
        assert stretch in (text, "a", "b", " ") or len(stretch) > 1
    assert assert_cut_safely("[0-9]+", "no digit", 1) == ["no digit"]


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize("library", [False, True])
def test_symbols_in_stretches_and_groups_are_those_of_the_whole(
    trained, name, library, monkeypatch
):
    tokens = [added("a b", 400), added("\n<x>", 401)]
    whole = with_tokens(trained[name], *tokens)
    parted = with_tokens(trained[name], *tokens)
    documents = [*ODD_DOCUMENTS, LONG_PROBE.encode(), b"a b\n<x> \xff" * 90, b"aa bb\n" * 50]
    whole._cuts = None
    if library:
        plain = HuggingFaceLibrary(TokenizerSpecification.parse(whole._file, "in a test"))
        parted._choice = LibraryChoice(plain, plain.vocabulary, "in a test")
    expected = whole.encode(documents)
    stretches = parted._cuts.stretches
    monkeypatch.setattr(parted._cuts, "stretches", lambda text: stretches(text, 50))
    monkeypatch.setattr(compressor, "_GROUP_SIZE", 100)
    for one, other in zip(parted.encode(documents), expected, strict=True):
        assert one.symbols.tolist() == other.symbols.tolist()
        assert one.anchors.tolist() == other.anchors.tolist()


def test_tokens_that_depend_on_their_neighbours_and_other_pipelines_are_not_cut(trained):
    for flag in ("single_word", "lstrip", "rstrip"):
        assert with_tokens(trained["bpe"], added("<a>", 400, **{flag: True}))._cuts is None
        special = added("<a>", 400, special=True, **{flag: True})
        assert with_tokens(trained["bpe"], special)._cuts is not None
    uncut = with_tokens(trained["bpe"], normalizer={"type": "NFC"})
    assert safe_cuts(TokenizerSpecification.parse(uncut._file, "in a test")) is None
    assert uncut.memory_for(1 << 20) > 3 * trained["bpe"].memory_for(1 << 20)


@pytest.mark.parametrize("name", ["bpe", "line", "superbpe"])
def test_long_words_of_new_characters_are_merged_as_in_the_library(trained, name, monkeypatch):
    monkeypatch.setattr(libraries, "LONG_TEXT", 10)
    fast = TokenizerCompressor(trained[name]._file)._choice.library
    library = HuggingFaceLibrary(TokenizerSpecification.parse(trained[name]._file, "in a test"))
    for text in ["𠀀𠀁" * 50, LONG_PROBE, "𝟎" * 40 + "def area", " 🤗\n" * 30]:
        assert fast.encode([text])[0].tolist() == library.encode([text])[0].tolist()
        assert fast._encode_words(text).tolist() == library.encode([text])[0].tolist()


MEASURE = """
import json, sys
from proxylm.compressors.registry import load_compressor

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) << 10

compressor, document = load_compressor(sys.argv[1]), open(sys.argv[2], "rb").read()
compressor.encode([document[:2000], b"a\\xff", "\\U00020000".encode()])
before = peak()
(view,) = compressor.encode([document])
print(json.dumps([peak() - before, peak(), len(view.symbols)]))
"""


def measured(folder: Path, saved: str, document: bytes) -> list[int]:
    """Bytes that encoding took, the process's peak, and symbols; in a process as workers are."""
    (folder / "document").write_bytes(document)
    arguments = [sys.executable, "-c", MEASURE, str(folder / saved), str(folder / "document")]
    alone = os.environ | {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
    done = subprocess.run(arguments, capture_output=True, check=True, env=alone)
    return json.loads(done.stdout)


def large_documents(num_bytes: int) -> dict[str, bytes]:
    numbers = random.Random(1)
    rare = "".join(chr(numbers.randrange(0x20000, 0x2A6D0)) for _ in range(num_bytes // 4))
    text = "".join(TEXTS) + "🤗"
    return {
        "random": numbers.randbytes(num_bytes),
        "alternating": b"a\xff" * (num_bytes // 2),
        "text": (text * (num_bytes // len(text.encode()))).encode(),
        "one word": b"a" * num_bytes,
        "zeros": bytes(num_bytes),
        "rare": rare.encode(),
        "rare words": " ".join(rare[: num_bytes // 5]).encode(),
        "spaces": b" " * num_bytes,
    }


@pytest.fixture(scope="module")
def saved(trained, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    for name in ("bpe", "unigram"):
        save_compressor(trained[name], folder / name)
    token_bytes = TokenBytesCompressor(trained["bpe"], TokenBytesSettings())
    save_compressor(token_bytes, folder / "token-bytes")
    return folder


@pytest.mark.parametrize(
    ("name", "kind"),
    [("bpe", "alternating"), ("token-bytes", "rare"), ("unigram", "text")],
)
def test_memory_stays_below_60_bytes_a_byte(saved, name, kind):
    document = large_documents(1 << 20)[kind]
    taken, _, symbols = measured(saved, name, document)
    assert symbols > 1000
    assert taken < (60 + 20) * len(document)  # 20: what does not grow with the document


CUT_IN_THE_LIBRARY = {"random", "alternating", "text", "rare words"}
"""Documents without a word that is as long: the library takes 150 bytes for each byte of one."""


@pytest.mark.long
@pytest.mark.parametrize("kind", large_documents(16))
@pytest.mark.parametrize("name", ["bpe", "unigram", "token-bytes"])
def test_a_document_of_16_mib_takes_less_than_a_gibibyte(saved, name, kind):
    if name == "unigram" and kind not in CUT_IN_THE_LIBRARY:
        pytest.skip("one word, which this library takes whole")
    assert measured(saved, name, large_documents(16 << 20)[kind])[1] < 1 << 30
