"""Weights in safetensors files: checked against a model before anything is allocated, then copied.

A checkpoint has one such file, a published folder one or several shards. Parameter names are the
model's own, so reading is checking: every tensor is there once, nothing is left over, and every
shape is what the configuration says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from proxylm.errors import CheckpointError, DamagedFileError, one_line
from proxylm.models.config import ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.models.stored_weights import require_floating_point
from proxylm.threads import torch_threads

_NOTHING = re.compile("(?!)")

FAR_LARGER = 2
"""So many times the numbers that are stored: not a missing tensor, other sizes altogether."""


class TensorFiles:
    """The tensors of one model in one file or several; of each, its file and shape are known.

    Args:
        files: in the order in which they are read; their headers are, at once.
        sizes_from: name of the file beside them that says the model's sizes, for errors.
        ignored: names of tensors that follow from others, which some programs store besides.

    Raises:
        DamagedFileError: a file is missing or truncated, or a tensor in it is not of
            floating-point numbers.
        CheckpointError: a tensor is there twice.
    """

    def __init__(
        self, files: Sequence[Path], *, sizes_from: str, ignored: re.Pattern[str] = _NOTHING
    ) -> None:
        self.files, self.sizes_from, self._ignored = files, sizes_from, ignored
        self.places: dict[str, tuple[Path, list[int]]] = {}
        for path in files:
            for name, shape in _read_shapes(path):
                if ignored.fullmatch(name):
                    continue
                if name in self.places:
                    raise CheckpointError(
                        f"{path}: tensor '{name}' is in {self.places[name][0].name} already"
                    )
                self.places[name] = (path, shape)

    def new_model(self, config: ModelConfig) -> LanguageModel:
        """A model of these sizes with these weights in float32, on the CPU, ready to train.

        Raises:
            CheckpointError: the tensors are not those of such a model; the first difference is
                shown.
            DamagedFileError: a file cannot be read.
        """
        stored = sum(math.prod(shape) for _, shape in self.places.values())
        # Single wrong tensors are named below; sizes of another order may be beyond torch itself.
        if config.parameter_count > FAR_LARGER * stored:
            raise CheckpointError(
                f"{self.files[0].parent}: {self.sizes_from} describes a far larger model than the "
                f"{stored:,} numbers in its tensors"
            )
        with torch.device("meta"):  # nothing is drawn that the weights replace
            model = LanguageModel(config)
        self._require_fit(model)
        model.allocate("cpu")
        self.copy_into(model)
        return model

    @torch.no_grad()
    def copy_into(self, model: LanguageModel) -> None:
        """Give a model these weights, where it is; one file is in memory at a time.

        Raises:
            CheckpointError: the tensors are not the model's; nothing is changed.
            DamagedFileError: a file cannot be read.
        """
        self._require_fit(model)
        parameters = model.state_dict()
        # The disk is slower than one thread, and to start torch's others takes longer than to copy
        # a small model.
        with torch_threads(1):
            for path in self.files:
                for name, tensor in sorted(read_tensors(path).items()):
                    if not self._ignored.fullmatch(name):
                        parameters[name].copy_(tensor)

    def _require_fit(self, model: LanguageModel) -> None:
        wanted = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
        for name, (path, shape) in self.places.items():
            if name not in wanted:
                raise CheckpointError(
                    f"{path}: tensor '{name}' has no place in the model of {self.sizes_from}"
                )
            if shape != wanted[name]:
                raise CheckpointError(
                    f"{path}: tensor '{name}' is {shape}, {self.sizes_from} says {wanted[name]}"
                )
        missing = sorted(wanted.keys() - self.places.keys())
        if missing:
            names = ", ".join(path.name for path in self.files)
            raise CheckpointError(
                f"{self.files[0].parent}: tensor '{missing[0]}' is in none of its files ({names})"
            )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of one file.

    Raises:
        DamagedFileError: it cannot be read, or holds other than floating-point numbers.
    """
    with _unreadable_as_damaged(path):
        require_floating_point(path)
        return load_file(path)


def _read_shapes(path: Path) -> Iterator[tuple[str, list[int]]]:
    with _unreadable_as_damaged(path):
        require_floating_point(path)
        with safe_open(path, framework="pt") as stream:
            for name in sorted(stream.keys()):
                yield name, stream.get_slice(name).get_shape()


@contextmanager
def _unreadable_as_damaged(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DamagedFileError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise DamagedFileError(f"{path}: not readable as safetensors ({one_line(error)})") from None
