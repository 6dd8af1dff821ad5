"""Two libraries for the same ids: tokenizers (*the* library here), and tiktoken where proved equal.

tiktoken runs byte-level BPE about four times as fast, but it decides merges otherwise: it joins
any two neighbours whose bytes are a token, lowest rank first, where the library joins listed
pairs only. Both give the same ids if

1. every merge makes its token from parts that exist before it, and the merges of one token
   stand together in the list;
2. every token, encoded alone by the library's merges, gives itself back.

Why: let both agree on all merges before rank t. Whether two neighbours l, r can stand side by
side at that point depends on their bytes only (merges respect the borders on both sides, so what
happens inside is what happens to the bytes alone); hence one pair at most can ever meet and form
the token of rank t. By 2 the library has just that pair in its list, so both merge it. By
induction they agree on all.

Texts are cut by a regular expression before that, and the two libraries use different regular
expression engines. Only constructs that mean the same in both are accepted, and texts with
characters that were not in Unicode 3.2 already, whose classes the two might know from different
versions of Unicode, go to the library. A probe text is compared in any case.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise
from typing import Any, Protocol

import numpy as np
import tiktoken
from numpy.typing import NDArray
from tokenizers import PreTokenizedString, Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Split

from proxylm.compressors.tokenizer.specification import (
    ALPHABET,
    TokenizerSpecification,
    components,
)
from proxylm.compressors.tokenizer.vocabulary import Vocabulary
from proxylm.errors import DamagedFileError, one_line

BYTE_LEVEL_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""What the library's ``ByteLevel`` cuts with when ``use_regex`` is set."""

SAME_IN_BOTH = re.compile(
    r"""(?: \\p\{(?:L|Lu|Ll|Lt|Lm|Lo|N|P|S|M)\}    # general categories
          | \\[sSrnt] | \\[^\w\s]                  # white space, escaped punctuation
          | \[\^?(?: \\p\{(?:L|Lu|Ll|Lt|Lm|Lo|N|P|S|M)\} | \\[sSrnt] | \\[^\w\s]
                   | (?!&&)[^\\\[\]^] )+\]         # one flat class
          | \(\?(?:[:!=]|i:) | \((?!\?) | [)|]     # groups and look-ahead
          | [?*+] | \{\d+(?:,\d*)?\}(?![+?])       # '}+' and '}?' mean different things
          | [^\\.^$\[\](){}?*+|] )+""",
    re.VERBOSE,
)

PATTERN_PARTS = re.compile(
    r"(?P<ahead>\(\?[=!])|(?P<open>\((?:\?i?:)?)|(?P<close>\))|(?P<either>\|)"
    r"|(?P<repeat>[?*+]|\{(?P<least>\d+)(?:,\d*)?\})"
    r"|(?P<class>\\p\{\w+\}|\\.|\[(?:\\p\{\w+\}|\\.|[^\]\\])+\]|[^\\])",
    re.DOTALL,
)
"""What expressions that are ``SAME_IN_BOTH`` libraries are written in."""

NEVER_MATCHED = "\U0010fffe<no text has this>"
"""tiktoken searches slowly if it has no special token at all; this one is never allowed."""

PROBE = (
    "def f(x):\n\treturn x**2  # it's 12345\r\n\r\n\n   'ſ 'S 'LL ''re I'LL you're we’ve\n"
    '    if a!=b:   \n        print("%s" % name)  \u00a0\u3000x\u2028y\u0085z\n'
    "äöüß Ελλάδα Привет 漢字かな 한국어 עברית عربي हिन्दी ½ ² Ⅷ ١٢٣ e\u0301\n"
    "\u200d\u200b\x00\x1c\x1f\x7f\u212a \u00df\u0130\u0131\n"
    "aaaaaaaaaaaaaaaaaaaaaaaa        \n\n\n----====____....((((([[[[{{{{\n"
    "_snake_case CamelCase lower UPPER 0x1f 1_000_000 3.14e-10 <|endoftext|> </s> \t \n \t\n end "
)


ANYTHING = r"[\s\S]"
LIBRARY_MEMORY_PER_BYTE = 250
"""What the library takes for each byte of one text: 110 (words) to 230 (one sign a token)."""
LONG_TEXT = 1 << 17
"""Characters of a text beyond which that counts: such a text is cut, where it can be."""

NEIGHBOUR_FLAGS = ("single_word", "lstrip", "rstrip")
"""Of added tokens: whether they are matched depends on what stands beside them."""


class NotProvedError(Exception):
    """Something might give other ids than the library; the message says why."""


class TokenLibrary(Protocol):
    """What finds the tokens of texts."""

    name: str

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.uint32]]:
        """Ids of each text, uint32 ``[t]``."""


class HuggingFaceLibrary:
    """The tokenizer library's fastest call; special tokens in the text stay text.

    Attributes:
        vocabulary: the tokens by id, as loaded.

    Raises:
        DamagedFileError: the library cannot read the tokenizer, or reads it otherwise than the
            file says; names its origin.
    """

    name = "tokenizers"

    def __init__(self, specification: TokenizerSpecification) -> None:
        try:
            self._tokenizer = Tokenizer.from_str(specification.for_encoding())
        except Exception as error:  # the library raises nothing more specific
            message = f"{specification.origin}: not a tokenizer ({one_line(error)})"
            raise DamagedFileError(message) from None
        self._tokenizer.encode_special_tokens = True
        self.vocabulary = Vocabulary.of(specification, self._tokenizer)

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.uint32]]:
        """Ids of each text, uint32 ``[t]``; the library spreads them over its own threads."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.uint32) for encoding in encodings]


class TiktokenLibrary:
    """The same merges in tiktoken; texts it is not proved for go to the library.

    Args:
        ranks: bytes of the tokens -> rank.
        pattern: what cuts a text into words.
        ids: uint32, rank -> id, or None where they are equal.
        matched: added tokens that the library matches in the text, ranked behind the others.
        library: for texts with characters that are not in Unicode 3.2.

    Raises:
        ValueError: tiktoken refuses ranks or pattern.
    """

    name = "tiktoken"

    def __init__(
        self,
        ranks: dict[bytes, int],
        pattern: str,
        ids: NDArray[np.uint32] | None,
        matched: Sequence[str],
        library: HuggingFaceLibrary,
    ) -> None:
        special = {token: len(ranks) + number for number, token in enumerate(matched)}
        special[NEVER_MATCHED] = len(ranks) + len(matched)
        # The library keeps what no match covers as a piece; tiktoken would drop it.
        total = rf"{pattern}|(?:(?!{pattern}){ANYTHING})+"
        self._core, self._word_core = (
            tiktoken.Encoding(
                "proxylm", pat_str=cut, mergeable_ranks=ranks, special_tokens=special
            )._core_bpe
            for cut in (total, rf"{ANYTHING}+")
        )
        self._words = Split(Regex(pattern), "isolated")
        self._ids = ids
        self._matched = set(matched)
        self._library = library

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.uint32]]:
        """Each text on its own, on this thread."""
        return [self._encode_one(text) for text in texts]

    def _encode_one(self, text: str) -> NDArray[np.uint32]:
        if text.isascii() or not _newer_characters().search(text):
            try:
                return self._ids_of(self._core.encode_to_tiktoken_buffer(text, self._matched))
            except ValueError:
                pass  # Its regular expressions give up on very long runs (a million spaces).
        if len(text) > LONG_TEXT and not any(token in text for token in self._matched):
            return self._encode_words(text)
        return self._library.encode([text])[0]

    def _encode_words(self, text: str) -> NDArray[np.uint32]:
        """Cut by the library, merged here: a quarter of the memory."""
        cut = PreTokenizedString(text)
        self._words.pre_tokenize(cut)
        words = [word for word, *_ in cut.get_splits("original", "byte")]  # others take more
        del cut
        encode = self._word_core.encode_to_tiktoken_buffer
        return np.concatenate([self._ids_of(encode(word, set())) for word in words])

    def _ids_of(self, buffer: bytes) -> NDArray[np.uint32]:
        ranks = np.frombuffer(buffer, dtype=np.uint32)
        return ranks if self._ids is None else self._ids[ranks]


@cache
def _newer_characters() -> re.Pattern[str]:
    """Matches a character that Unicode 3.2 (2002) lacked, or classed otherwise; astral ones too."""
    old = unicodedata.ucd_3_2_0
    is_old = [
        old.category(character) == unicodedata.category(character) != "Cn"
        for character in map(chr, range(0x10000))
    ]
    borders = [i for i in range(1, 0x10000) if is_old[i] != is_old[i - 1]]
    edges = [0, *borders, 0x10000]
    ranges = [
        f"\\U{start:08x}-\\U{stop - 1:08x}" for start, stop in pairwise(edges) if is_old[start]
    ]
    return re.compile(f"[^{''.join(ranges)}]")


@dataclass(frozen=True, slots=True)
class LibraryChoice:
    """The library that runs, and its tokens.

    Attributes:
        library: finds the tokens.
        vocabulary: the tokens by id.
        reason: why not the faster one; empty if it is, or if there is only one.
        losses: what of a text its tokens do not spell, if that is known, for messages.
    """

    library: TokenLibrary
    vocabulary: Vocabulary
    reason: str = ""
    losses: str = ""


def choose_library(specification: TokenizerSpecification) -> LibraryChoice:
    """tiktoken if it provably gives the library's ids for this tokenizer, else the library."""
    library = HuggingFaceLibrary(specification)
    try:
        faster = _tiktoken_library(specification, library)
    except NotProvedError as error:
        return LibraryChoice(library, library.vocabulary, str(error))
    probes = [PROBE, "".join(f"x{content}y " for content in library.vocabulary.added)]
    for fast, plain in zip(faster.encode(probes), library.encode(probes), strict=True):
        if not np.array_equal(fast, plain):
            return LibraryChoice(library, library.vocabulary, "the probe text gets other ids")
    return LibraryChoice(faster, library.vocabulary)


def _tiktoken_library(
    specification: TokenizerSpecification, library: HuggingFaceLibrary
) -> TiktokenLibrary:
    pattern = pattern_for_both(specification)
    matched = _matched_tokens(specification, library.vocabulary.added)
    ids_by_rank = _ids_by_rank(specification)
    bytes_of = library.vocabulary.token_bytes
    ids = np.array((*ids_by_rank, *matched.values()), dtype=np.uint32)
    equal = np.array_equal(ids, np.arange(len(ids)))
    ranks = {bytes_of[index]: rank for rank, index in enumerate(ids_by_rank)}
    try:
        return TiktokenLibrary(ranks, pattern, None if equal else ids, [*matched], library)
    except ValueError as error:
        raise NotProvedError(f"tiktoken refuses it ({one_line(error)})") from None


def pattern_for_both(specification: TokenizerSpecification) -> str:
    """The regular expression that cuts the text, if it means the same to both libraries.

    Raises:
        NotProvedError: it may not, or the text is not only cut.
    """
    if any(part["type"] != "Sequence" for part in components(specification.data.get("normalizer"))):
        raise NotProvedError("it normalizes the text")
    parts = [
        part
        for part in components(specification.data.get("pre_tokenizer"))
        if part["type"] != "Sequence"
    ]
    *splits, last = parts or [{"type": "nothing"}]
    if last["type"] != "ByteLevel" or last.get("add_prefix_space") or len(splits) > 1:
        raise NotProvedError("its pre-tokenizer is not one split and byte-level")
    if bool(splits) == bool(last.get("use_regex", True)):
        raise NotProvedError("its pre-tokenizer cuts twice, or not at all")
    pattern = _split_pattern(splits[0]) if splits else BYTE_LEVEL_PATTERN
    if not SAME_IN_BOTH.fullmatch(pattern):
        raise NotProvedError("its pattern may mean something else to another library")
    if _matches_nothing(pattern):
        raise NotProvedError("its pattern can match without a character")
    return pattern


def _matches_nothing(pattern: str) -> bool:
    """Whether an expression can match the empty text, on which tiktoken breaks off.

    Python decides it: with one letter for each class, and with what looks ahead satisfied.
    """
    stand_ins = {"class": "x", "ahead": "(?=|"}
    shape = PATTERN_PARTS.sub(lambda part: stand_ins.get(part.lastgroup or "", part[0]), pattern)
    try:
        return re.fullmatch(shape, "") is not None
    except re.error as error:
        raise NotProvedError(f"its pattern is read in several ways ({error})") from None


def _split_pattern(split: dict[str, Any]) -> str:
    isolated = split.get("behavior") == "Isolated" and not split.get("invert")
    pattern = split.get("pattern", {}).get("Regex")
    if split["type"] != "Split" or not isolated or not pattern:
        raise NotProvedError("its pre-tokenizer is not a plain split by a pattern")
    return pattern


def _ids_by_rank(specification: TokenizerSpecification) -> list[int]:
    """Ids in the order in which tokens come into being: 256 bytes, then the merges' tokens."""
    model = specification.model
    if model.get("type") != "BPE":
        raise NotProvedError("it is not BPE")
    affixes = ("continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
    if any(model.get(affix) for affix in affixes):
        raise NotProvedError("its model is not plain byte-level BPE")
    vocabulary = model["vocab"]
    if not ALPHABET.keys() <= vocabulary.keys():
        raise NotProvedError("it lacks byte tokens")
    order = dict.fromkeys(sorted(ALPHABET, key=ALPHABET.__getitem__))
    newest = ""
    for left, right in map(_merge_parts, model["merges"]):
        token = left + right
        if left not in order or right not in order or (token in order and token != newest):
            raise NotProvedError("its merges are not in order")
        order[token] = None
        newest = token
    _check_tokens_encode_to_themselves(model, order)
    return [vocabulary[token] for token in order]


def _merge_parts(merge: str | list[str]) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _check_tokens_encode_to_themselves(model: dict[str, Any], order: dict[str, None]) -> None:
    if not ALPHABET.keys() >= set("".join(order)):
        raise NotProvedError("a token is not written in the byte alphabet")
    merges = [_merge_parts(merge) for merge in model["merges"]]
    bare = BPE(vocab=model["vocab"], merges=merges)
    for token in order:
        pieces = bare.tokenize(token)
        if len(pieces) != 1 or pieces[0].id != model["vocab"][token]:
            raise NotProvedError("a token does not encode to itself")
    others = model["vocab"].keys() - order.keys()
    if model.get("ignore_merges") and others:
        raise NotProvedError("it has tokens without merges")


def _matched_tokens(specification: TokenizerSpecification, ids: dict[str, int]) -> dict[str, int]:
    """Added tokens that are matched in text: content -> id as loaded."""
    added = [token for token in specification.added_tokens if not token["special"]]
    if any(token[flag] for token in added for flag in NEIGHBOUR_FLAGS):
        raise NotProvedError("an added token depends on what stands beside it")
    matched = {token["content"]: ids[token["content"]] for token in added}
    # The library passes over a special token, and with it over others that begin in it.
    if matched and _can_overlap({token["content"] for token in specification.added_tokens}):
        raise NotProvedError("its added tokens can overlap")
    return matched


def _can_overlap(contents: set[str]) -> bool:
    """Whether two occurrences could share characters, so that the order of search matters."""
    starts = {content[:stop] for content in contents for stop in range(1, len(content))}
    for content in contents:
        spans = combinations(range(len(content) + 1), 2)
        inner = {content[start:stop] for start, stop in spans} - {content}
        if any(content[start:] in starts for start in range(1, len(content))) or inner & contents:
            return True
    return False
