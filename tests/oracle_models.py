"""Models that replay given answers: the way of every evaluation, without anything learned.

``ScriptedModule`` is a language model whose next symbol is always the scripted one, almost surely;
``ReplayModel`` is a ``ByteModel`` of it. Both are decoded like any other model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
import xxhash
from torch import nn

from proxylm.compressors.contract import Compressor
from proxylm.evaluation.benchmarks.problem import Benchmark, Problem
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.decoding import Completion
from proxylm.generation.options import GenerationOptions
from proxylm.models.cache import Cache
from proxylm.models.config import CausalAttention, ModelConfig
from proxylm.models.feed import Feed
from proxylm.scoring.prompts import stripped
from proxylm.symbols import (
    BOS,
    COMPRESSED_CLOSE,
    COMPRESSED_OFFSET,
    COMPRESSED_OPEN,
    RAW_CLOSE,
    RAW_OFFSET,
    RAW_OPEN,
    vocabulary_size,
)

SHARPNESS = 40.0
COMPRESSED_SYMBOLS = 256
WRONG = b"    raise NotImplementedError\n"


def raw_ids(data: bytes) -> list[int]:
    return [byte + RAW_OFFSET for byte in data]


def token_scripts(
    problems: Iterable[Problem],
    compressor: Compressor,
    answer: Callable[[Problem], bytes] = lambda problem: problem.solution,
) -> Iterator[tuple[list[int], list[int]]]:
    """Scripts of a model that was trained on whole programs in a compressor's symbols.

    A prompt's trailing white space belongs to what follows it, as where prompts are stripped.
    """
    for problem in problems:
        read, end = stripped(problem.prompt)
        prompt, text = (
            [int(symbol) + COMPRESSED_OFFSET for symbol in symbols]
            for symbols in compressor.compress([read, end + answer(problem)])
        )
        yield [BOS, COMPRESSED_OPEN, *prompt], [*text, COMPRESSED_CLOSE]


def problems_of(conditions: Mapping[str, Benchmark]) -> list[Problem]:
    return [problem for benchmark in conditions.values() for problem in benchmark.problems]


class ScriptedModule(nn.Module):
    """After each script's prompt the script's answer follows with probability almost 1.

    Args:
        scripts: pairs of ids, a prompt with its prefix and what follows it.
        compressed_symbols: of the compressor that it knows.
    """

    def __init__(
        self,
        scripts: Iterable[tuple[Sequence[int], Sequence[int]]],
        *,
        compressed_symbols: int = COMPRESSED_SYMBOLS,
    ) -> None:
        super().__init__()
        size = vocabulary_size(compressed_symbols)
        self.config = ModelConfig(
            vocabulary_size=size,
            layers=1,
            width=size,
            ffn=8,
            heads=1,
            attention=CausalAttention(kv_heads=1),
            context=2048,
        )
        self.lm_head = nn.Linear(size, size, bias=False)
        self.lm_head.weight.data = torch.eye(size)
        self._next: dict[bytes, int] = {}
        for prompt, answer in scripts:
            whole = np.array([*prompt, *answer], dtype=np.int64)
            for length in range(len(prompt), len(whole)):
                self._next.setdefault(_key(whole[:length]), int(whole[length]))

    def hidden(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.stack([self._states(row.tolist(), 0) for row in ids])

    def _states(self, row: Sequence[int], start: int) -> torch.Tensor:
        states = torch.zeros(len(row) - start, self.config.vocabulary_size)
        whole = np.array(row, dtype=np.int64)
        for place in range(start, len(row)):
            following = self._next.get(_key(whole[: place + 1]))
            if following is not None:
                states[place - start, following] = SHARPNESS
        return states

    def new_cache(self, batch_size: int) -> ScriptedCache:
        return ScriptedCache(self.config, batch_size)

    def step_feed(self, symbols: torch.Tensor, cache: ScriptedCache, feed: Feed) -> torch.Tensor:
        states = []
        for row in np.unique(feed.rows).tolist():
            known = cache.fed[row]
            start = len(known)
            known += symbols[torch.from_numpy(feed.rows == row)].tolist()
            states.append(self._states(known, start))
        cache.advance(feed)
        return torch.cat(states)


def _key(ids: np.ndarray) -> bytes:
    return xxhash.xxh3_128_digest(ids.tobytes())


class ScriptedCache(Cache):
    """Remembers the symbols themselves."""

    def __init__(self, config: ModelConfig, batch_size: int) -> None:
        super().__init__(config, batch_size)
        self.fed: list[list[int]] = [[] for _ in range(batch_size)]

    def restart(self, row: int) -> None:
        super().restart(row)
        self.fed[row] = []

    def add_rows(self, count: int) -> None:
        super().add_rows(count)
        self.fed += [[] for _ in range(count)]


class ReplayModel(ByteModel):
    """Answers each known prompt with its solution, or with one of yours."""

    def __init__(
        self,
        problems: Iterable[Problem],
        answer: Callable[[Problem], bytes] = lambda problem: problem.solution,
        module: ScriptedModule | None = None,
    ) -> None:
        scripts = (
            ([BOS, RAW_OPEN, *raw_ids(problem.prompt)], [*raw_ids(answer(problem)), RAW_CLOSE])
            for problem in problems
        )
        super().__init__(module or ScriptedModule(scripts))
        self.asked = 0

    def complete(
        self,
        prompts: Sequence[bytes],
        options: GenerationOptions,
        *,
        samples: Sequence[int] | None = None,
    ) -> list[Completion]:
        self.asked += len(prompts)
        return super().complete(prompts, options, samples=samples)
