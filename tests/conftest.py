"""Shared test set-up: where golden data lies, and one torch thread per test worker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Two workers on a 2-core machine: more threads each would only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says more about the machine than about the code.
settings.register_profile("proxylm", deadline=None)
settings.load_profile("proxylm")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Golden values that the tests carry."""
    return Path(__file__).parent / "golden"
