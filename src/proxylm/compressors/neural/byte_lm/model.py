"""The small byte LM of the neural compressor, read as a distribution over 256 bytes.

It is an ordinary causal ``LanguageModel`` trained on raw bytes without sentinels (method, section
3). Here it is always conditioned on ``<bos>`` and normalized over the 256 bytes alone. Two passes
are offered: float64 for everything that ends up in a code, float32 for the scores of whole
documents (``segmentation.boundary_pass``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from proxylm.compressors.neural.byte_lm.exact_pass import ExactPass
from proxylm.config import validate_config
from proxylm.device import resolve_device
from proxylm.errors import DamagedFileError, UsageError, one_line
from proxylm.files import read_json, write_json
from proxylm.fingerprint import fingerprint_of
from proxylm.groups import longest_first
from proxylm.models.config import CausalAttention, ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.models.stored_weights import require_floating_point
from proxylm.symbols import BOS, BYTE_COUNT, COMPRESSED_OFFSET, RAW_OFFSET
from proxylm.threads import torch_threads

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "model.json"

POSITIONS_PER_BLOCK = {"cpu": 1 << 10, "cuda": 1 << 16}
"""Positions of one float64 forward: on a CPU what stays in cache, on a GPU what fills it."""


class ByteLM:
    """A byte LM as a distribution after every prefix.

    Args:
        model: causal attention, one head or more, a byte vocabulary; ``config`` has its sizes.
        device: ``auto`` takes a GPU where there is one.

    Raises:
        UsageError: the model is of another kind.
    """

    def __init__(self, model: LanguageModel, *, device: str = "auto") -> None:
        self.config = config = model.config
        if not isinstance(config.attention, CausalAttention) or config.sentinels:
            raise UsageError("a byte LM has causal attention and was trained without sentinels")
        if config.vocabulary_size != COMPRESSED_OFFSET:
            raise UsageError(f"a byte LM knows bytes alone, this one {config.vocabulary_size} ids")
        if not config.is_plain or config.rope_scaling:  # which the float64 pass does not compute
            raise UsageError(
                "a byte LM has plain Llama's block: no biases, no norms of queries and keys or "
                "behind attention, no heads of their own width, no stretched positions"
            )
        self.device = resolve_device(device)
        self._positions_per_block = POSITIONS_PER_BLOCK[self.device.type]
        self.model = model.eval().requires_grad_(False).to(self.device)

    @property
    def context(self) -> int:
        """Bytes it was trained to see, the one it predicts included."""
        return self.config.context

    @cached_property
    def fingerprint(self) -> str:
        """128-bit name of sizes and weights."""
        digest = xxhash.xxh3_128()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return fingerprint_of(self.config.model_dump(mode="json"), digest.hexdigest())

    @cached_property
    def exact(self) -> ExactPass:
        """The float64 pass on the LM's device."""
        return ExactPass(self.model, self.device)

    @cached_property
    def arbiter(self) -> ExactPass:
        """The float64 pass on the CPU, for what is decided one string at a time."""
        return self.exact if self.device.type == "cpu" else ExactPass(self.model, _CPU)

    def probabilities(self, strings: Sequence[bytes]) -> list[NDArray[np.float64]]:
        """Distributions of the next byte: float64 ``[len + 1, 256]`` per string.

        Row ``i`` is conditioned on ``<bos>`` and the first ``i`` bytes. The last bits depend on
        what is computed together; ``canonical`` does not.
        """
        results: list[NDArray[np.float64]] = [_NOTHING] * len(strings)
        for rows, hidden in self._exact_hidden(strings):
            values = self.exact.probabilities(hidden).cpu().numpy()
            for row, value in zip(rows, values, strict=True):
                results[row] = value[: len(strings[row]) + 1]
        return results

    def next_probabilities(self, strings: Sequence[bytes]) -> NDArray[np.float64]:
        """The distribution after each whole string: float64 ``[n, 256]``."""
        result = np.empty((len(strings), BYTE_COUNT), np.float64)
        for rows, hidden in self._exact_hidden(strings):
            ends = torch.tensor([len(strings[row]) for row in rows], device=self.device)
            last = hidden[torch.arange(len(rows), device=self.device), ends]
            result[rows] = self.exact.probabilities(last).cpu().numpy()
        return result

    def canonical(self, string: bytes) -> NDArray[np.float64]:
        """As ``probabilities`` of one string alone, on one CPU thread: the arbiter of ties."""
        with torch_threads(1):
            ids = _padded_ids([string])
            return self.arbiter.probabilities(self.arbiter.hidden(ids))[0].numpy()

    def exact_bits(self, strings: Sequence[bytes]) -> list[NDArray[np.float64]]:
        """Cross-entropy of every byte in bits, float64 ``[len]`` per string that is not empty."""
        results: list[NDArray[np.float64]] = [_NOTHING] * len(strings)
        for rows, hidden in self._exact_hidden(strings):
            for row, states in zip(rows, hidden, strict=True):
                next_bytes = _byte_values(strings[row]).to(self.device)
                bits = self.exact.bits(states[: len(next_bytes)], next_bytes)
                results[row] = bits.cpu().numpy()
        return results

    def canonical_bits(self, string: bytes) -> NDArray[np.float64]:
        """Cross-entropy of every byte of one string alone, in bits, float64 ``[len]``."""
        with torch_threads(1):
            hidden = self.arbiter.hidden(_padded_ids([string])[:, :-1])[0]
            return self.arbiter.bits(hidden, _byte_values(string)).numpy()

    def save(self, folder: Path) -> None:
        """Write weights and sizes into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: t.cpu().contiguous() for name, t in self.model.state_dict().items()}
        save_file(tensors, folder / WEIGHTS_FILE)
        write_json(folder / CONFIG_FILE, self.config.model_dump(mode="json"))

    @classmethod
    def load(cls, folder: Path, *, device: str = "auto") -> Self:
        """Read what ``save`` wrote.

        Raises:
            DamagedFileError: a file is missing or not readable, the two do not fit, or its weights
                are no floating-point numbers.
            UsageError: its sizes are those of no byte LM.
        """
        sizes, path = folder / CONFIG_FILE, folder / WEIGHTS_FILE
        config = validate_config(ModelConfig, read_json(sizes), origin=str(sizes))
        model = LanguageModel(config)
        try:
            require_floating_point(path)
            model.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise DamagedFileError(
                f"{path}: not this byte LM's weights ({one_line(error)})"
            ) from None
        return cls(model, device=device)

    def _exact_hidden(self, strings: Sequence[bytes]) -> Iterator[tuple[list[int], Tensor]]:
        """Rows of strings, and their states in one float64 pass: ``[rows, longest + 1, width]``."""
        lengths = [len(string) + 1 for string in strings]
        for rows in longest_first(lengths, self._positions_per_block):
            ids = _padded_ids([strings[row] for row in rows])
            yield rows, self.exact.hidden(ids.to(self.device))


_CPU = torch.device("cpu")

_NOTHING = np.empty((0, BYTE_COUNT), np.float64)


def _byte_values(string: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(string, np.uint8).astype(np.int64))


def _padded_ids(strings: Sequence[bytes]) -> Tensor:
    """``<bos>`` and the bytes' ids, int64 ``[B, longest + 1]``; what follows an end is unseen."""
    longest = max(map(len, strings))
    padded = b"".join(string.ljust(longest, b"\0") for string in strings)
    ids = np.full((len(strings), longest + 1), BOS, dtype=np.int64)
    ids[:, 1:] = np.frombuffer(padded, np.uint8).reshape(len(strings), longest)
    ids[:, 1:] += RAW_OFFSET
    return torch.from_numpy(ids)
