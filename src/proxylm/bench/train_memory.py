"""Peak memory of training steps, in a process of its own: prints its ``ru_maxrss`` in bytes."""

from __future__ import annotations

import resource
import subprocess
import sys

CONTEXT = 8192
STEPS = 2


def peak_training_bytes() -> int:
    """Peak resident memory of a fresh process that trains at context 8192, everything included."""
    command = [sys.executable, "-m", "proxylm.bench.train_memory"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(printed)


def main() -> None:
    """Train a few steps, print the peak."""
    from proxylm.bench.train import laptop_step

    step = laptop_step("laptop", CONTEXT)
    for _ in range(STEPS):
        step()
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    print(kilobytes if sys.platform == "darwin" else kilobytes * 1024)


if __name__ == "__main__":
    main()
