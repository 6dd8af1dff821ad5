"""Checkpoints of several ranks: each writes its own part of every tensor, any number reads them.

The files are safetensors, written and read by torch's distributed checkpointing; where a part
belongs is in its file's header. Readers ask for whole tensors or for parts of their own, so that a
checkpoint of four ranks is read by one, or by sixty-four. A file that is missing would go
unnoticed here: the manifest beside them is verified first.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from proxylm.errors import CheckpointError
from proxylm.ranks import ALONE, Ranks


def write_shards(folder: Path, tensors: Mapping[str, Tensor], ranks: Ranks) -> None:
    """Write this rank's parts of ``tensors`` into ``folder``; all ranks do so together.

    Raises:
        Exception: whatever a rank failed with; every rank raises it.
    """
    from torch.distributed.checkpoint import HuggingFaceStorageWriter, save
    from torch.distributed.checkpoint.api import CheckpointException

    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        save(dict(tensors), storage_writer=writer, process_group=ranks.files)
    except CheckpointException as error:
        raise _first_failure(error) from None


def _first_failure(error: object) -> BaseException:
    failures: dict[int, tuple[BaseException, object]] = getattr(error, "failures", {})
    return failures[min(failures)][0]


class Shards:
    """The tensors in the safetensors files of a folder, whoever wrote which part of them.

    Args:
        folder: of a checkpoint that was verified.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def shapes(self) -> dict[str, list[int]]:
        """Of all tensors, by name; the headers of all files are read."""
        from torch.distributed.checkpoint import HuggingFaceStorageReader

        described = HuggingFaceStorageReader(str(self._folder)).read_metadata().state_dict_metadata
        return {name: list(one.size) for name, one in described.items()}  # type: ignore[union-attr]

    @property
    def optimizer_names(self) -> list[str]:
        """Of the tensors that are ``<quantity>.<name of a weight>``."""
        return [name for name in self.shapes if name.partition(".")[2] in self.shapes]

    @torch.no_grad()
    def read_into(self, tensors: Mapping[str, Tensor], ranks: Ranks = ALONE) -> None:
        """Fill tensors, whole or divided among ranks, where they are.

        Raises:
            CheckpointError: one of them is not there, or of another shape.
        """
        from torch.distributed.checkpoint import HuggingFaceStorageReader, load
        from torch.distributed.checkpoint.api import CheckpointException

        for name, tensor in tensors.items():
            stored = self.shapes.get(name)
            if stored != list(tensor.shape):
                raise CheckpointError(
                    f"{self._folder}: tensor '{name}' is {stored or 'in none of its files'}, "
                    f"expected {list(tensor.shape)}"
                )
        reader, alone = HuggingFaceStorageReader(str(self._folder)), ranks.is_alone
        with warnings.catch_warnings():
            # It warns of what it was told.
            warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
            try:
                load(dict(tensors), storage_reader=reader, process_group=ranks.files, no_dist=alone)
            except CheckpointException as error:
                raise _first_failure(error) from None
