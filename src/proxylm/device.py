"""The one meaning of ``device: auto | cpu | cuda``, for training and for models in use.

Configurations name a device before any work: torch comes in where one is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from proxylm.errors import UsageError
from proxylm.pool import shared_device_index

if TYPE_CHECKING:
    import torch

DeviceName = Literal["auto", "cpu", "cuda"]


def resolve_device(name: str) -> torch.device:
    """The device that a ``DeviceName`` stands for here; ``auto`` takes a GPU where there is one.

    Raises:
        UsageError: ``cuda`` on a machine without a GPU that torch can use, or an unknown name.
    """
    import torch

    if name not in get_args(DeviceName):
        raise UsageError(f"device: must be auto, cpu or cuda, not {name!r}")
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise UsageError("device: cuda, but torch finds no GPU here; use cpu or auto")
    if not has_gpu or name == "cpu":
        return torch.device("cpu")
    # Processes of a pool are spread over the GPUs; anything else takes torch's current one.
    index = shared_device_index(torch.cuda.device_count())
    return torch.device("cuda") if index is None else torch.device("cuda", index)
