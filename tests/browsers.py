"""Chromium without a window, and pages that may neither complain nor ask for anything elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTHS = {"phone": 390, "tablet": 834, "desktop": 1440}

OpenPage = Callable[..., Any]
"""``(width, scheme)``: a new page of one of ``WIDTHS`` in ``light`` or ``dark``."""


@contextmanager
def launched() -> Iterator[Any]:
    """The browser; the tests that ask for it are skipped where it, or its driver, is not there."""
    api = pytest.importorskip("playwright.sync_api", reason="needs proxylm[browser]")
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        pytest.skip("there is no Chromium on the path")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def pages(browser: Any, url: str, *, ready: str) -> Iterator[OpenPage]:
    """Opens pages at ``url`` and waits until there is what the selector ``ready`` says."""
    contexts, complaints = [], []

    def elsewhere(asked: Any) -> bool:
        return not asked.url.startswith((url, "data:", "blob:"))

    def open_page(width: str = "desktop", scheme: str = "light") -> Any:
        size = {"width": WIDTHS[width], "height": 1000}
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if "error" in said.type else 0)
        page.on("request", lambda asked: complaints.append(asked.url) if elsewhere(asked) else 0)
        page.goto(url)
        page.wait_for_selector(ready)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
