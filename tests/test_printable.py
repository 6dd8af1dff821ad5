"""What is shown can be encoded and is obeyed by no terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxylm.printable import printable

ANY_CHARACTER = st.characters(exclude_categories=())
BIDIRECTIONAL = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@given(st.text(ANY_CHARACTER), st.sampled_from(["", "\n", "\n\t"]))
def test_no_control_character_is_left_and_all_can_be_encoded(text, keep):
    shown = printable(text, keep)
    shown.encode("utf-8")
    rest = set(shown) - set(keep)
    assert not {unicodedata.category(one) for one in rest} & {"Cc", "Cs", "Zl", "Zp"}
    assert not rest & BIDIRECTIONAL
    assert printable(shown, keep) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\r\n\tb", r"a\r\n\tb"),
        ("caf\udce9", r"caf\xe9"),
        ("\ud83d", r"\ud83d"),
        ("exe\u202egpj", r"exe\u202egpj"),
        ("naïve 漢字\u3000👩\u200d🔬 \\n", "naïve 漢字\u3000👩\u200d🔬 \\n"),
    ],
)
def test_escapes_are_readable_and_names_of_all_scripts_stay(text, shown):
    assert printable(text) == shown
