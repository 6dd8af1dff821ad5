"""Models that replay given answers: the way of every evaluation, without anything learned.

``ScriptedModule`` is a language model whose next symbol is always the scripted one, almost surely;
``ReplayModel`` puts the same answers where evaluations ask a ``ByteModel``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from proxylm.evaluation.benchmarks.problem import Benchmark, Problem
from proxylm.inference.decoding import Completion, Finish
from proxylm.inference.options import GenerationOptions
from proxylm.inference.stop_strings import StopScanner
from proxylm.models.config import CausalAttention, ModelConfig
from proxylm.symbols import BOS, RAW_CLOSE, RAW_OFFSET, RAW_OPEN, vocabulary_size

SHARPNESS = 40.0
COMPRESSED_SYMBOLS = 256
WRONG = b"    raise NotImplementedError\n"


def raw_ids(data: bytes) -> list[int]:
    return [byte + RAW_OFFSET for byte in data]


def problems_of(conditions: Mapping[str, Benchmark]) -> list[Problem]:
    return [problem for benchmark in conditions.values() for problem in benchmark.problems]


class ScriptedModule(nn.Module):
    """After each script's prompt the script's answer follows with probability almost 1.

    Args:
        scripts: pairs of ids, a prompt with its prefix and what follows it.
    """

    def __init__(self, scripts: Iterable[tuple[Sequence[int], Sequence[int]]]) -> None:
        super().__init__()
        size = vocabulary_size(COMPRESSED_SYMBOLS)
        self.config = ModelConfig(
            vocabulary_size=size,
            layers=1,
            width=8,
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
                self._next.setdefault(whole[:length].tobytes(), int(whole[length]))

    def hidden(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.stack([self._states(row.tolist()) for row in ids])

    def _states(self, row: Sequence[int]) -> torch.Tensor:
        states = torch.zeros(len(row), self.config.vocabulary_size)
        whole = np.array(row, dtype=np.int64)
        for place in range(len(row)):
            following = self._next.get(whole[: place + 1].tobytes())
            if following is not None:
                states[place, following] = SHARPNESS
        return states

    def new_cache(self, batch_size: int) -> list[list[int]]:
        return [[] for _ in range(batch_size)]

    def step_hidden(
        self, ids: torch.Tensor, cache: list[list[int]], counts: np.ndarray
    ) -> torch.Tensor:
        states = torch.zeros(*ids.shape, self.config.vocabulary_size)
        for place, count in enumerate(counts.tolist()):
            cache[place] += ids[place, :count].tolist()
            states[place, :count] = self._states(cache[place])[len(cache[place]) - count :]
        return states


class ReplayModel:
    """A ``ByteModel`` that answers each known prompt with its solution, or with one of yours."""

    compressor_fingerprint = None

    def __init__(
        self,
        problems: Iterable[Problem],
        answer: Callable[[Problem], bytes] = lambda problem: problem.solution,
        module: ScriptedModule | None = None,
    ) -> None:
        self.answers = {problem.prompt: answer(problem) for problem in problems}
        self.module = module or ScriptedModule(
            ([BOS, RAW_OPEN, *raw_ids(prompt)], [*raw_ids(text), RAW_CLOSE])
            for prompt, text in self.answers.items()
        )
        self.asked = 0

    @property
    def config(self) -> ModelConfig:
        return self.module.config

    def complete(
        self,
        prompts: Sequence[bytes],
        options: GenerationOptions,
        *,
        samples: Sequence[int] | None = None,
    ) -> list[Completion]:
        self.asked += len(prompts)
        return [self._complete(prompt, options) for prompt in prompts]

    def _complete(self, prompt: bytes, options: GenerationOptions) -> Completion:
        answer = self.answers[prompt]
        scanner = StopScanner(options.stop)
        data = scanner.feed(answer[: options.max_new_bytes]) + scanner.finish()
        if scanner.stopped:
            return Completion(data=data, finish=Finish.STOP)
        over = len(answer) > options.max_new_bytes
        return Completion(data=data, finish=Finish.LIMIT if over else Finish.END)
