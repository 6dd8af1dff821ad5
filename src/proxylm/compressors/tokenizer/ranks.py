"""tiktoken's ``.tiktoken`` files: a line for each token, its bytes in base64 and its rank.

A rank is a symbol. Special tokens are no part of such a file, so no text is ever one.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
import tiktoken
from numpy.typing import NDArray

from proxylm.compressors.tokenizer.libraries import NEVER_MATCHED
from proxylm.compressors.tokenizer.vocabulary import LARGEST_ID, Vocabulary
from proxylm.errors import DamagedFileError, UsageError, one_line
from proxylm.symbols import BYTE_COUNT


class RankLibrary:
    """tiktoken with the ranks of a file and the pattern that belongs to them.

    Attributes:
        vocabulary: the tokens by rank.
        losses: what its tokens do not spell, for messages.

    Raises:
        DamagedFileError: the file is not of ranks; names the line.
        UsageError: the pattern is no regular expression.
    """

    name = "tiktoken"
    losses = (
        "its pattern leaves out a part of it, or it has a run of a million spaces, "
        "on which tiktoken gives up"
    )

    def __init__(self, file: bytes, origin: str, pattern: str) -> None:
        ranks = parse_ranks(file, origin)
        token_of = {rank: token for token, rank in ranks.items()}
        size = max(token_of) + 1
        try:
            encoding = tiktoken.Encoding(
                "proxylm",
                pat_str=pattern,
                mergeable_ranks=ranks,
                special_tokens={NEVER_MATCHED: size},
            )
        except ValueError as error:
            raise UsageError(
                f"{origin}: pattern: tiktoken refuses it ({one_line(error)})"
            ) from None
        self._core = encoding._core_bpe
        self.vocabulary = Vocabulary([token_of.get(rank, b"") for rank in range(size)], {}, 0)

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.uint32]]:
        """Each text on its own, on this thread."""
        return [self._encode_one(text) for text in texts]

    def _encode_one(self, text: str) -> NDArray[np.uint32]:
        try:
            return np.frombuffer(self._core.encode_to_tiktoken_buffer(text, set()), np.uint32)
        except ValueError:
            # Its regular expressions give up on very long runs. No tokens spell no such text.
            return np.empty(0, np.uint32)


def parse_ranks(file: bytes, origin: str) -> dict[bytes, int]:
    """The bytes of each token -> its rank.

    Raises:
        DamagedFileError: a line is none of ranks, two lines are of one token or one rank, or a
            byte has no token.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(file.splitlines(), 1):
        if not line:
            continue
        token, rank = _parse_line(line, f"{origin}: line {number}")
        if ranks.setdefault(token, rank) != rank:
            raise DamagedFileError(f"{origin}: line {number}: {token!r} stands twice; keep one")
    if len(set(ranks.values())) != len(ranks):
        raise DamagedFileError(f"{origin}: two tokens have one rank; give each a rank of its own")
    for byte in range(BYTE_COUNT):
        if bytes([byte]) not in ranks:
            raise DamagedFileError(
                f"{origin}: no token for the byte 0x{byte:02x}; tiktoken needs all"
            )
    return ranks


def _parse_line(line: bytes, place: str) -> tuple[bytes, int]:
    try:
        token, rank = line.split()
        parsed = base64.b64decode(token, validate=True), int(rank)
    except ValueError:
        raise DamagedFileError(f"{place}: not a token in base64 and its rank") from None
    if not 0 <= parsed[1] <= LARGEST_ID:
        raise DamagedFileError(f"{place}: rank {parsed[1]}, ranks go up to {LARGEST_ID}")
    return parsed
