"""What a place can do at most, and what a run has taken of it: for metrics, never for results.

The peak is that of the data sheet for the GPUs of ``proxylm.gpus``. Elsewhere it is measured once
a process, on a product of matrices of the type that training multiplies.
"""

from __future__ import annotations

import resource
import sys
import time
from functools import cache

import torch

from proxylm.gpus import known_gpu
from proxylm.training.device import Place

_CPU_SIZE, _GPU_SIZE = 512, 8192
_TIMINGS = 3
# One product alone is over before a GPU has told that it is.
_PRODUCTS_PER_TIMING = {"cpu": 1, "cuda": 8}


def peak_flops(place: Place) -> float:
    """Operations per second of one rank's device, in the type of training's products."""
    if place.device.type == "cuda":
        gpu = known_gpu(torch.cuda.get_device_name(place.device))
        if gpu is not None:
            return gpu.peak_flops if place.autocast else gpu.float32_flops
    return _measured_peak(place, torch.get_num_threads())


@cache
def _measured_peak(place: Place, threads: int) -> float:
    """The same of matrices multiplied here, by so many threads on a CPU."""
    kind = place.device.type
    size = _GPU_SIZE if kind == "cuda" else _CPU_SIZE
    dtype = torch.bfloat16 if place.autocast else torch.float32
    matrix = torch.full((size, size), 0.5, device=place.device, dtype=dtype)
    product = torch.empty_like(matrix)
    count = _PRODUCTS_PER_TIMING[kind]

    def seconds() -> float:
        started = time.perf_counter()
        for _ in range(count):
            torch.mm(matrix, matrix, out=product)
        if kind == "cuda":
            torch.cuda.synchronize(place.device)
        return time.perf_counter() - started

    seconds()
    return count * 2 * size**3 / min(seconds() for _ in range(_TIMINGS))


def peak_memory(place: Place) -> int:
    """Bytes that this rank has held at most: tensors on a GPU, the whole process on a CPU."""
    if place.device.type == "cuda":
        return torch.cuda.max_memory_allocated(place.device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
