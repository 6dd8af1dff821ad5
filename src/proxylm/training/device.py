"""Where a run computes, and in which precision."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from proxylm.device import resolve_device
from proxylm.errors import UsageError
from proxylm.models.config import ModelConfig
from proxylm.training.config import Precision, TrainingConfig

FLOAT32_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Place:
    """A device, and whether forward passes run under bfloat16 autocast there."""

    device: torch.device
    autocast: bool

    @classmethod
    def of(cls, device: torch.device, precision: Precision) -> Place:
        """A device, and the precision that is asked for there."""
        on_gpu = device.type == "cuda"
        autocast = precision == "bfloat16" or (precision == "auto" and on_gpu)
        return cls(device=device, autocast=autocast)

    def precision(self) -> AbstractContextManager[object]:
        """The context of a forward pass."""
        if self.autocast:
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def require_memory(self, model: ModelConfig, on_machine: int = 1, shards: int = 1) -> None:
        """Refuse a model that cannot be trained in the memory that there is.

        Args:
            model: its sizes.
            on_machine: ranks that share this machine.
            shards: ranks that hold one copy of the model together.

        Raises:
            UsageError: what it needs at least and what there is.
        """
        needed = FLOAT32_BYTES * model.parameter_count / shards
        # A model that is not divided is made in main memory; where it is trained, gradients and
        # two moments join it.
        in_main_memory = 4 * needed * on_machine
        if self.device.type == "cuda":
            in_main_memory = needed if shards == 1 else 0.0
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        places = [("this machine has", in_main_memory, available)]
        if self.device.type == "cuda":
            on_gpu = torch.cuda.get_device_properties(self.device).total_memory
            places.append(("the GPU has", 4 * needed, on_gpu))
        for who_has, bytes_needed, bytes_there in places:
            if bytes_needed > bytes_there:
                raise UsageError(
                    f"model: {model.parameter_count:,} parameters need at least "
                    f"{bytes_needed / 1e9:.1f} GB of memory to train on {self.device.type}, and "
                    f"{who_has} {bytes_there / 1e9:.1f} GB; choose a smaller model"
                )


def place_for(config: TrainingConfig) -> Place:
    """The device and precision that a configuration asks for.

    Raises:
        UsageError: ``device: cuda`` on a machine without a GPU that torch can use.
    """
    return Place.of(resolve_device(config.device), config.precision)
