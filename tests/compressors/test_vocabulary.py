"""Ids and bytes of tokens are the loaded tokenizer's, whatever the file says and who encodes."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from compressor_cases import TRAININGS
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from proxylm.compressors.contract import CannotCompress
from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.compressors.tokenizer.libraries import HuggingFaceLibrary, TiktokenLibrary
from proxylm.compressors.tokenizer.specification import TokenizerSpecification
from proxylm.errors import DamagedFileError

SIZE = 400
"""Tokens of the trained BPE model."""


def added(content: str, index: int, **flags: bool) -> dict[str, Any]:
    names = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return {"id": index, "content": content} | dict.fromkeys(names, False) | flags


def with_tokens(
    trained: TokenizerCompressor, *tokens: dict[str, Any], vocab: Any = None, **parts: Any
) -> TokenizerCompressor:
    values = json.loads(trained._file) | parts | {"added_tokens": list(tokens)}
    if vocab is not None:
        values["model"]["vocab"] = vocab
    return TokenizerCompressor(json.dumps(values).encode(), "mine.json")


def check_one_numbering(compressor: TokenizerCompressor, contents: list[str]) -> None:
    """Both libraries (a new character sends a text to the library) give each token one id."""
    plain = "".join(f"x{content}y" for content in contents)
    library = Tokenizer.from_str(compressor._file.decode())
    for document in (plain, f"{plain} 😀", f"{plain}\ud8ff".encode("utf-8", "surrogatepass")):
        raw = document if isinstance(document, bytes) else document.encode()
        (symbols,) = compressor.compress([raw])
        assert compressor.decompress([symbols]) == [raw]
        for content in contents:
            assert library.token_to_id(content) in symbols.tolist()


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize("behind", [(1, 0), (0, 1), (0, 5), (100, 0), (1, 2)], ids=str)
def test_the_loaded_tokenizer_s_ids_are_the_symbols(trained, name, behind):
    size = trained[name].symbol_count
    ids = [size + offset for offset in behind]
    compressor = with_tokens(trained[name], added("<a>", ids[0]), added("<b>", ids[1]))
    assert compressor.token_bytes[size : size + 2] == [b"<a>", b"<b>"]
    assert compressor.describe()["renumbered_tokens"] == (behind[0] != 0) + (behind[1] != 1)
    assert compressor.symbol_count == max(*ids, size + 1) + 1
    check_one_numbering(compressor, ["<a>", "<b>"])


def test_the_faster_library_runs_with_added_tokens(trained):
    compressor = with_tokens(trained["bpe"], added("<a>", 401), added("<b>", 400))
    assert isinstance(compressor._choice.library, TiktokenLibrary)


@given(ids=st.lists(st.integers(SIZE, SIZE + 30), min_size=1, max_size=6, unique=True))
@settings(deadline=None, max_examples=15)
def test_any_numbering_behind_the_model_s_works(trained, ids):
    contents = [f"<{number}>" for number in range(len(ids))]
    tokens = [added(content, index) for content, index in zip(contents, ids, strict=True)]
    check_one_numbering(with_tokens(trained["bpe"], *tokens), contents)


@pytest.mark.parametrize(
    ("special", "plain", "text"),
    [("ab", "bc", "abc xbc"), ("a b", "b x", "a b xb x"), ("<x>y", "<x>", "<x>y <x>")],
)
def test_a_special_token_hides_what_begins_in_it_from_both_libraries(trained, special, plain, text):
    compressor = with_tokens(
        trained["bpe"], added(special, SIZE, special=True), added(plain, SIZE + 1)
    )
    library = HuggingFaceLibrary(TokenizerSpecification.parse(compressor._file, "in a test"))
    compressor._cuts.stretches = partial(compressor._cuts.stretches, size=1)
    for document in (text, f"{text} 😀"):
        expected = library.encode([document])[0].tolist()
        assert compressor.compress([document.encode()])[0].tolist() == expected
    assert expected.count(SIZE + 1) == 1


CONFLICTS = {
    "an id of the model": ([added("<a>", 97)], r"id 97 is of 'a' and of '<a>'"),
    "one id twice": ([added("<a>", 400), added("<b>", 400)], r"id 400 is of '<a>' and of '<b>'"),
    "special, an id of the model": ([added("<a>", 97, special=True)], r"id 97 is of 'a'"),
    "two ids": ([added("<a>", 400), added("<a>", 401)], r"'<a>' has the ids 400 and 401"),
    "another id than the model's": ([added("a", 400)], r"'a' has the ids 97 and 400"),
    "too large": ([added("<a>", 2**31)], r"'<a>' has id 2147483648, ids go up to 16777215"),
    "empty": ([added("", 400)], r"added token 400 \(''\) is empty"),
    "empty and special": ([added("", 400, special=True)], r"added token 400 \(''\) is empty"),
}


@pytest.mark.parametrize(("tokens", "message"), CONFLICTS.values(), ids=CONFLICTS)
def test_files_that_contradict_themselves_are_refused(trained, tokens, message):
    with pytest.raises(DamagedFileError, match=rf"^mine\.json: .*{message}"):
        with_tokens(trained["bpe"], *tokens)


@pytest.mark.parametrize("special", [False, True])
def test_a_token_of_which_the_normalizer_leaves_nothing_is_refused(trained, special):
    strip = {"type": "Strip", "strip_left": True, "strip_right": True}
    drop = {"type": "Replace", "pattern": {"String": "q"}, "content": ""}
    for normalizer, content, index in ((strip, " ", 400), (drop, "q", ord("q")), (drop, "qq", 400)):
        token = added(content, index, normalized=True, special=special)
        with pytest.raises(DamagedFileError, match="nothing is left of it"):
            with_tokens(trained["bpe"], token, normalizer=normalizer)


def test_an_id_that_two_tokens_of_the_model_have_is_refused(trained):
    vocab = json.loads(trained["bpe"]._file)["model"]["vocab"]
    with pytest.raises(DamagedFileError, match=r"id 97 is of 'a' and of 'zz'"):
        with_tokens(trained["bpe"], vocab=vocab | {"zz": 97})
    with pytest.raises(DamagedFileError, match="ids go up to"):
        with_tokens(trained["bpe"], vocab=vocab | {"zz": 2**32 - 1})


def test_an_added_token_that_falls_into_a_gap_of_the_model_is_refused(trained):
    # The library numbers it by the count of tokens, which is an id of this model.
    vocab = json.loads(trained["bpe"]._file)["model"]["vocab"]
    odd = {token: 2 * index for token, index in vocab.items()}
    with pytest.raises(DamagedFileError, match="gives added token '<a>' the id 400, which"):
        with_tokens(trained["bpe"], added("<a>", 800), vocab=odd)


def test_a_special_token_that_the_model_has_stands_for_the_model_s_bytes(trained):
    for content, raw in (("é", b"\xe9"), ("Ġ", b" "), ("Ċ", b"\n"), ("!", b"!")):
        index = json.loads(trained["bpe"]._file)["model"]["vocab"][content]
        compressor = with_tokens(trained["bpe"], added(content, index, special=True))
        documents = [raw, b"a " + raw, content.encode()]
        assert compressor.decompress(compressor.compress(documents)) == documents
        assert compressor.token_bytes[index] == raw


@pytest.mark.parametrize("name", TRAININGS)
def test_contents_are_compared_not_lengths(trained, name):
    compressor = TokenizerCompressor(trained[name]._file)
    document = b"def area(radius):\n" * 5000 + b"class"
    (symbols,) = compressor.compress([document])
    last = int(symbols[-1])
    compressor._spellings[last] = bytes(len(compressor._spellings[last]))
    (view,) = compressor.encode([document])
    assert isinstance(view, CannotCompress) and view.reason == "not_exact"
