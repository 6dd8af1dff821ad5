"""A small saved run, and a server over it that most tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from running_server import RunningServer, running_server

import proxylm
from proxylm.generation.byte_model import ByteModel
from small_models import endless, save_run, save_small_run, small_model

CONTEXT = 4096


@pytest.fixture(scope="session")
def saved_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "small"
    save_small_run(folder, seed=3, context=CONTEXT)
    return folder


@pytest.fixture(scope="session")
def endless_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its completions last as long as they are allowed to."""
    folder = tmp_path_factory.mktemp("served") / "endless"
    save_run(folder, endless(small_model(seed=3, context=CONTEXT)))
    return folder


@pytest.fixture(scope="session")
def model(saved_run: Path) -> ByteModel:
    return proxylm.load(saved_run)


@pytest.fixture(scope="session")
def server(saved_run: Path) -> Iterator[RunningServer]:
    """With several bytes per pass, which must not be seen in any answer."""
    with running_server(saved_run, "--drafter", "chain") as running:
        yield running
