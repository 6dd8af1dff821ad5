"""Up to a settled place symbols are the same, whatever a document goes on with."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from compressor_cases import ODD_DOCUMENTS, TEXTS, TRAININGS
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chain_compressor import TEXT, chain_compressor
from proxylm.compressors.contract import CannotCompress, Compressor
from proxylm.compressors.registry import load_compressor
from proxylm.compressors.token_bytes import TokenBytesCompressor, TokenBytesSettings
from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.compressors.tokenizer.patterns import RANK_PATTERNS


@cache
def trained(kind: str) -> TokenizerCompressor:
    return TokenizerCompressor(TRAININGS[kind].train(TEXTS))


def changed(kind: str, **parts: object) -> TokenizerCompressor:
    """A tokenizer with parts of its file replaced."""
    return TokenizerCompressor(json.dumps(json.loads(trained(kind)._file) | parts).encode())


def digits_first() -> TokenizerCompressor:
    parts = [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ]
    return changed("bpe", pre_tokenizer={"type": "Sequence", "pretokenizers": parts})


COMPRESSORS: dict[str, Callable[[], Compressor]] = {
    **{
        f"units:{bits}": lambda bits=bits: load_compressor(f"units:bits={bits}") for bits in (16, 4)
    },
    **{kind: lambda kind=kind: trained(kind) for kind in TRAININGS},
    **{
        f"neural:{rule}": lambda rule=rule: chain_compressor(rule)
        for rule in ("automaton", "lines", "fixed")
    },
    "token-bytes": lambda: TokenBytesCompressor(trained("bpe"), TokenBytesSettings()),
    "normalized": lambda: changed("bpe", normalizer={"type": "NFC"}),
    "digits": digits_first,
    "no words": lambda: changed(
        "bpe",
        pre_tokenizer={
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": False,
        },
    ),
}

PIECES = st.sampled_from(
    [
        *(text.encode()[:60] for text in TEXTS[:5]),
        *(one[:40] for one in ODD_DOCUMENTS),
        *(b" ", b"\n", b"\n\n  ", b"  ", b"\xe2", b"\x82", b"\xac", b"\xf0\x9f", b"\xa4\x97"),
        *(b"a", b"'s", b"12", b"3", b"\xff", "é".encode(), "e\u0301".encode(), b"==", b"def "),
    ]
)
DOCUMENTS = st.lists(PIECES, max_size=8).map(b"".join)


@pytest.mark.parametrize("name", COMPRESSORS)
@given(known=DOCUMENTS, rest=DOCUMENTS)
@settings(max_examples=25)
def test_what_is_settled_stays_whatever_follows(name: str, known: bytes, rest: bytes) -> None:
    compressor = made(name)
    before, after = compressor.views([known, known + rest])
    assume(not isinstance(before, CannotCompress) and not isinstance(after, CannotCompress))
    places = compressor.settled(known, before)
    later = compressor.settled(known + rest, after)
    assert (np.diff(places[:, :2], axis=0) > 0).all() and (np.diff(places, axis=0) >= 0).all()
    # What a longer text says of so many bytes is what these say themselves.
    assert later[later[:, 2] <= len(known)].tolist() == places.tolist()
    for byte, symbol, needed in places[-1:].tolist():
        assert byte <= needed <= len(known)
        assert after.symbols[:symbol].tolist() == before.symbols[:symbol].tolist()
        if compressor.reversible:
            assert compressor.decompress([before.symbols[:symbol]]) == [known[:byte]]


def test_segments_by_entropy_are_settled_by_the_next_byte() -> None:
    compressor = chain_compressor("entropy")
    whole, *beginnings = compressor.views([TEXT, *(TEXT[:length] for length in (40, 90))])
    places = compressor.settled(TEXT, whole)
    assert len(places) > 5
    for length, view in zip((40, 90), beginnings, strict=True):
        known = compressor.settled(TEXT[:length], view)
        assert known.tolist() == places[places[:, 2] <= length].tolist()
        assert view.symbols[: known[-1, 1]].tolist() == whole.symbols[: known[-1, 1]].tolist()


@cache
def made(name: str) -> Compressor:
    return COMPRESSORS[name]()


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("bpe", 10),
        ("unigram", 10),
        ("token-bytes", 10),
        ("digits", 10),
        ("no words", 40),
        ("units:16", 1),
    ],
)
def test_little_is_left_to_be_read_as_bytes(name: str, most: int) -> None:
    compressor = made(name)
    text = "".join(TEXTS).encode()
    lengths = range(len(text) // 2, len(text) // 2 + 60)
    for length in lengths:
        [view] = compressor.views([text[:length]])
        byte, symbol, _ = compressor.settled(text[:length], view)[-1]
        assert length - byte <= most
        assert symbol >= len(view.symbols) - 2 * most


def test_lines_wait_for_their_end() -> None:
    compressor = made("line")
    text = b"def f(x):\n    return x\n\nmore of"
    [view] = compressor.views([text])
    assert compressor.settled(text, view)[:, 0].tolist() == [10, 24]


@pytest.mark.parametrize("pattern", RANK_PATTERNS)
def test_patterns_of_ranks_are_read(pattern: str) -> None:
    tokens = enumerate(trained("bpe").token_bytes)
    ranks = b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for rank, token in tokens)
    compressor = TokenizerCompressor(ranks, pattern=pattern)
    text = b"def area(radius):\n    return 3.14 * radius ** 2\n"
    for length in range(1, len(text)):
        known, whole = compressor.views([text[:length], text])
        places = compressor.settled(text[:length], known)
        assert len(places) or length < 5
        for _, symbol, _ in places[-1:]:
            assert whole.symbols[:symbol].tolist() == known.symbols[:symbol].tolist()


def test_where_nothing_can_be_shown_it_is_said() -> None:
    gzip = load_compressor("gzip")
    assert gzip.settled(b"text", gzip.encode([b"text"])[0]) is None
    flagged = {
        "content": "<a>",
        "id": 400,
        "single_word": True,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": False,
    }
    for other in (
        changed("bpe", added_tokens=[flagged]),
        changed("bpe", pre_tokenizer={"type": "BertPreTokenizer"}),
    ):
        assert other.settled(b"", other.views([b""])[0]) is None
