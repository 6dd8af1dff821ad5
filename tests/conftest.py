"""Shared test set-up: where golden data lies, and one torch thread per test worker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

from browsers import launched
from small_disk import mounted_small_disk

# Two workers on a 2-core machine: more threads each would only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Modules at the borders between rooms: shapes and types of the arrays that cross them are checked
# in every test, by their annotations. (None holds kernels, which numba compiles as they are.)
CHECKED_MODULES = [
    "proxylm.compressors.neural.coder.contract",
    "proxylm.compressors.neural.flat_documents",
    "proxylm.compressors.view",
    "proxylm.data.batch",
    "proxylm.data.batches",
    "proxylm.data.store.column",
    "proxylm.generation.logprobs",
    "proxylm.generation.request",
    "proxylm.generation.sampling",
    "proxylm.models.cache",
    "proxylm.models.language_model",
    "proxylm.models.loss",
    "proxylm.scoring.readings",
    "proxylm.scoring.tokenizer_readings",
]
install_import_hook(CHECKED_MODULES, "beartype.beartype")

# How long an example takes says more about the machine than about the code.
settings.register_profile("proxylm", deadline=None)
settings.load_profile("proxylm")

# Where tests are divided among workers, these begin: what takes a minute would else end alone.
LONGEST_FIRST = ["test_wheel.py", "test_readme.py", "test_demo.py", "test_rank_faults.py"]
RANKS = ["test_rank_faults.py", "test_ranks.py", "test_train_on_ranks.py"]


def pytest_itemcollected(item: pytest.Item) -> None:
    """A worker takes a whole file, whose fixtures are then made once.

    Files with several ranks are one group: two of them at once would share two cores among up to
    eight processes that wait for each other at every operation, which takes eight times as long.
    """
    group = "ranks" if item.path.name in RANKS else str(item.path)
    item.add_marker(pytest.mark.xdist_group(group))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files begin."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    name = item.path.name
    return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Golden values that the tests carry."""
    return Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window, for the tests of one file: its driver runs an event loop."""
    with launched() as one:
        yield one


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of ``DISK_BYTES``; skipped where none can be mounted."""
    with mounted_small_disk(tmp_path / "disk") as folder:
        yield folder
