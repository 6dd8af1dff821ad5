"""How a prompt is read up to its end, and what of it is left to be written again.

A tokenizer cuts text where training never ends a token: HumanEval's prompts end with a line feed
that belongs to the first token of the answer (paper, D.11). So a prompt's end may be given up:

    keep    nothing is; the prompt is read as it is given
    strip   trailing white space; the model is free to write it, or anything else
    heal    the last token; what the model writes must begin with its bytes (token healing)
    exact   as much as the model itself would, of all tokens that cover the prompt: what follows
            does not depend on any cut (``generation.next_bytes``, which needs the model)

What follows the prompt *as it is given* is the answer, whatever is read of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from proxylm.errors import UsageError
from proxylm.scoring.read_as import PromptEnd
from proxylm.scoring.readings import Ids, Reading


class OpenPrompt(NamedTuple):
    """A prompt as it is read.

    Attributes:
        ids: int64 ``[m]``, what the model reads, without the reading's prefix.
        end: the bytes of the prompt that these ids do not cover.
        dropped: int64 ``[d]``, the ids that ``heal`` has dropped.
    """

    ids: Ids
    end: bytes = b""
    dropped: Ids = np.empty(0, dtype=np.int64)


def open_prompt(reading: Reading, prompt: bytes, prompt_end: PromptEnd) -> OpenPrompt:
    """The prompt as it is read up to its end.

    >>> from proxylm.scoring.readings import RawReading
    >>> open_prompt(RawReading(), b"a:\\n", PromptEnd.STRIP)[:2]
    (array([161, 122]), b'\\n')

    Raises:
        DataError: the prompt cannot be read so.
        UsageError: ``exact``, which has not one way to read it.
    """
    match prompt_end:
        case PromptEnd.KEEP:
            return OpenPrompt(reading.read(prompt).ids)
        case PromptEnd.STRIP:
            read, end = stripped(prompt)
            return OpenPrompt(reading.read(read).ids, end)
        case PromptEnd.HEAL:
            return _without_last_token(reading, prompt)
        case PromptEnd.EXACT:
            raise UsageError("--prompt-end exact is not for this evaluation: strip, keep or heal")


def stripped(prompt: bytes) -> tuple[bytes, bytes]:
    """A prompt without its trailing (ASCII) white space, and that."""
    read = prompt.rstrip()
    return read, prompt[len(read) :]


def _without_last_token(reading: Reading, prompt: bytes) -> OpenPrompt:
    """Without the last token; without all ids that are known together only, if it is of them."""
    ids, starts = reading.read(prompt)
    if not len(ids):
        return OpenPrompt(ids)
    kept = int(np.searchsorted(starts, starts[-1]))
    return OpenPrompt(ids[:kept], prompt[int(starts[-1]) :], ids[kept:])
