"""GPUs that plans and metrics know: peaks and memory, as their data sheets have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

GpuName = Literal["a100", "h100", "h200", "b200", "l40s", "rtx-4090"]


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One kind.

    Attributes:
        sold_as: the name by which torch knows it, after the maker's.
        peak_flops: dense bfloat16 operations per second, sums in float32.
        float32_flops: float32 operations per second, outside the units for products of matrices.
        memory: bytes.
        source: where the numbers stand.
    """

    sold_as: str
    peak_flops: float
    float32_flops: float
    memory: int
    source: str


GPUS: dict[GpuName, Gpu] = {
    "a100": Gpu(
        sold_as="A100-SXM4-80GB",
        peak_flops=312e12,
        float32_flops=19.5e12,
        memory=80_000_000_000,
        source="NVIDIA A100 80GB SXM data sheet (2021)",
    ),
    "h100": Gpu(
        sold_as="H100 80GB HBM3",
        peak_flops=989.4e12,
        float32_flops=67e12,
        memory=80_000_000_000,
        source="NVIDIA H100 SXM data sheet (2023); half of its figure with sparsity",
    ),
    "h200": Gpu(
        sold_as="H200",
        peak_flops=989.4e12,
        float32_flops=67e12,
        memory=141_000_000_000,
        source="NVIDIA H200 SXM data sheet (2023); half of its figure with sparsity",
    ),
    "b200": Gpu(
        sold_as="B200",
        peak_flops=2250e12,
        float32_flops=75e12,
        memory=180_000_000_000,
        source="NVIDIA DGX B200 data sheet (2024), an eighth; half of its figure with sparsity",
    ),
    "l40s": Gpu(
        sold_as="L40S",
        peak_flops=362e12,
        float32_flops=91.6e12,
        memory=48_000_000_000,
        source="NVIDIA L40S data sheet (2023)",
    ),
    "rtx-4090": Gpu(
        sold_as="GeForce RTX 4090",
        peak_flops=165.2e12,
        float32_flops=82.6e12,
        memory=24_000_000_000,
        source="NVIDIA Ada GPU architecture white paper (2022)",
    ),
}
assert set(GPUS) == set(get_args(GpuName))


def known_gpu(torch_name: str) -> Gpu | None:
    """The kind that torch calls so, None for one that is not in the table.

    A longer name is another kind: a laptop's, one of less power, a slice of a GPU.

    >>> known_gpu("NVIDIA H100 80GB HBM3").memory
    80000000000
    >>> known_gpu("NVIDIA H100 80GB HBM3 MIG 1g.10gb")
    """
    name = torch_name.removeprefix("NVIDIA ")
    return next((gpu for gpu in GPUS.values() if name == gpu.sold_as), None)
