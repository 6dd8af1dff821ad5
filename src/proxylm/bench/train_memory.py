"""Peak memory of training steps, measured in a process of its own; run as a module it prints it."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import torch

from proxylm.bench.train_step import model_step
from proxylm.models.presets import preset
from proxylm.training.device import Place

CONTEXT = 8192
STEPS = 2

_STATUS = Path("/proc/self/status")


def peak_training_bytes() -> int:
    """Peak resident memory of a fresh process that trains at context 8192, everything included."""
    command = [sys.executable, "-m", "proxylm.bench.train_memory"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(printed)


def peak_memory_bytes() -> int:
    """Largest resident size of this process so far.

    On Linux ``ru_maxrss`` starts from the size of the process that started this one, so the
    kernel's high-water mark of this program alone is read instead.
    """
    if _STATUS.exists():
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Train a few steps, print the peak."""
    place = Place(device=torch.device("cpu"), autocast=False)
    step = model_step(preset("laptop", context=CONTEXT), place)
    for _ in range(STEPS):
        step()
    print(peak_memory_bytes())


if __name__ == "__main__":
    main()
