"""A small finished store for each test that wants to read or damage one."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_store import write_small_store


@pytest.fixture
def small_store(tmp_path: Path) -> Path:
    write_small_store(tmp_path / "store")
    return tmp_path / "store"
