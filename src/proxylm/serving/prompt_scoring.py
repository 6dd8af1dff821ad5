"""Log-probabilities of a prompt's own bytes (``echo`` with ``logprobs``), a piece at a time.

The prompt goes through a cache of its own, so that memory is that of decoding (method, section
7), not that of all its positions at once. The first byte is predicted from the prefix
``<bos> <raw>``, so it has a log-probability too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from proxylm.generation.logprobs import ByteLogprobs, byte_logprobs
from proxylm.generation.output_format import head_0_logits, raw_output
from proxylm.generation.raw_text import prompt_symbols
from proxylm.models.cache import Cache
from proxylm.models.language_model import LanguageModel

PIECE_SYMBOLS = 256
"""Positions of one forward pass; running sequences wait for no more than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptLogprobs:
    """One entry for each byte of a prompt."""

    entries: tuple[ByteLogprobs, ...]


class PromptScorer:
    """Scores one prompt; the completions of one prompt can share it.

    Args:
        model: any model over the shared vocabulary with raw bytes.
        prompt: raw bytes.
        alternatives: so many of the most probable symbols are named beside each byte.
    """

    def __init__(self, model: LanguageModel, prompt: bytes, *, alternatives: int) -> None:
        self._model = model
        self._alternatives = alternatives
        self._symbols = prompt_symbols(prompt, sentinels=model.config.sentinels)
        self._first = len(self._symbols) - len(prompt)
        self._position = 0
        self._entries: list[ByteLogprobs] = []
        self._cache: Cache | None = None

    @property
    def done(self) -> bool:
        """Whether every byte has its entry."""
        # The last symbol predicts what is new: it need not be read here.
        return self._position >= len(self._symbols) - 1

    @property
    def result(self) -> PromptLogprobs:
        """The entries, once done."""
        assert self.done
        return PromptLogprobs(entries=tuple(self._entries))

    def step(self) -> None:
        """One forward pass over the next piece of the prompt.

        The cache lives from the first piece to the last: prompts that wait, and those whose
        completions are being written, need none.
        """
        if self._cache is None:
            self._cache = self._model.new_cache(1)
        end = min(self._position + PIECE_SYMBOLS, len(self._symbols) - 1)
        logits = self._logits(self._symbols[self._position : end], self._cache)
        for place, row in enumerate(logits, start=self._position + 1):
            if place >= self._first:
                target = int(self._symbols[place])
                self._entries.append(byte_logprobs(row, target, alternatives=self._alternatives))
        self._position = end
        if self.done:
            self._cache = None

    def _logits(self, symbols: NDArray[np.int64], cache: Cache) -> NDArray[np.float32]:
        """Head 0's logits after each of ``symbols [n]``, one row each; −∞ where none can follow."""
        output = raw_output(sentinels=self._model.config.sentinels)
        with torch.inference_mode():
            ids = torch.from_numpy(symbols)[None].to(self._model.lm_head.weight.device)
            hidden = self._model.step_hidden(ids, cache)[0]
            return head_0_logits(self._model, hidden, end=output.end) + output.mask
