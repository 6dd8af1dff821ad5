"""The page in a real browser: what a person does, three widths, light and dark, accessibility."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from browsers import WIDTHS, OpenPage, pages
from proxylm.inspector.holdings import Holdings
from proxylm.inspector.running import serve_page
from proxylm.serving.lifecycle import listen

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def url(holdings: Holdings) -> Iterator[str]:
    """The page, served by a thread that ends with the process."""
    listening, ready = listen("127.0.0.1", 0), threading.Event()
    arguments = {"on_ready": ready.set}
    threading.Thread(
        target=serve_page, args=(holdings, listening), kwargs=arguments, daemon=True
    ).start()
    assert ready.wait(60)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


@pytest.fixture
def opened(browser: Any, url: str) -> Iterator[OpenPage]:
    """Opens pages of a width and a colour scheme."""
    with pages(browser, url, ready="#view-list [data-index]") as open_page:
        yield open_page


def spans(page: Any, view: str) -> list[str]:
    """The pieces of a view, as they are shown."""
    return page.locator(f"[aria-label='View {view}'] [data-index]").all_text_contents()


def shown(text: str) -> str:
    return text.replace("\n", "⏎\n")


def edit(page: Any, text: str) -> None:
    page.locator("#text").fill(text)
    page.wait_for_function(
        "text => [...document.querySelectorAll(\"[aria-label='View bytes'] [data-index]\")]"
        ".map(one => one.textContent).join('') === text",
        arg=shown(text),
    )


def test_views_are_the_librarys_and_an_edit_is_told(opened: Any, holdings: Holdings) -> None:
    page = opened()
    assert page.locator(".view h3").all_text_contents() == list(holdings.compressors)
    text = "def area_7(x):\n    return x * 7\n"
    edit(page, text)
    tokens = holdings.compressor("tokens")
    (symbols,) = tokens.compress([text.encode()])
    pieces = tokens.decompress([symbols[place : place + 1] for place in range(len(symbols))])
    assert spans(page, "tokens") == [shown(piece.decode()) for piece in pieces]
    page.locator("#pin").click()
    edit(page, text[1:])
    told = page.locator("[aria-label='View bytes'] .moved")
    assert told.text_content() == f"{100 / len(text):.1f} % moved"
    assert page.locator("[aria-label='View bytes'] .changed").count() == 0
    page.locator("#restore").click()
    page.wait_for_function("() => document.querySelector('.moved').textContent === ''")
    assert page.locator("#text").input_value() == text


def test_any_bytes_of_a_file_are_shown_and_come_back(opened: Any, tmp_path: Any) -> None:
    raw = bytes(range(1, 256)) + "🦊é".encode() + b"\xf0\x9f"
    (tmp_path / "odd.bin").write_bytes(raw.replace(b"\r", b""))
    page = opened()
    page.locator("#file").set_input_files(tmp_path / "odd.bin")
    count = len(raw) - 1
    told = f"() => document.querySelector('.view .count').textContent === '{count} symbols'"
    page.wait_for_function(told)
    assert page.locator("#text-facts").text_content().startswith(f"{count} bytes")
    assert spans(page, "bytes")[-2:] == ["\\xf0", "\\x9f"]


def test_a_view_is_walked_through_by_keyboard(opened: Any) -> None:
    page = opened()
    view = page.locator("[aria-label='View tokens'] [role=listbox]")
    view.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    active = view.get_attribute("aria-activedescendant")
    option = page.locator(f"#{active}")
    assert option.get_attribute("aria-selected") == "true"
    assert "symbol" in option.get_attribute("aria-label")
    assert "tokens" in page.locator("#detail-body").text_content()
    assert page.locator("[aria-label='View bytes'] .also").count() >= 1
    page.keyboard.press("End")
    last = view.locator("[data-index]").count() - 1
    assert view.get_attribute("aria-activedescendant").endswith(f"-{last}")


def test_a_models_side(opened: Any) -> None:
    page = opened()
    page.locator("#model").scroll_into_view_if_needed()
    page.wait_for_selector("#model .heat")
    assert page.locator("#model .reading h3").all_text_contents() == [
        "Read as bytes",
        "Read as tokens",
        "Read as mixed",
    ]
    page.wait_for_selector("#model .bars td.number")
    page.locator("#text").fill("x = ")
    page.keyboard.type("arena")
    page.wait_for_function(
        "() => [...document.querySelectorAll('#model .reading')].every(one =>"
        "[...one.querySelectorAll('.heat')].map(each => each.textContent).join('') === 'x = arena')"
    )
    page.get_by_role("button", name="Draft at the cursor").click()
    page.wait_for_selector(".passes li")
    assert "passes" in page.locator("#model [role=status]").text_content()
    page.locator("#model-choice").select_option("bytes")
    page.wait_for_function("() => document.querySelectorAll('#model .reading').length === 1")
    assert "knows raw bytes alone" in page.locator("#model").text_content()


def test_a_context_shows_what_attention_reaches(opened: Any) -> None:
    page = opened()
    page.locator("#contexts").scroll_into_view_if_needed()
    page.wait_for_selector(".context-grid [data-index]")
    page.locator(".context-grid [data-index]").nth(20).hover()
    told = page.locator("#detail-body").text_content()
    assert "exact keys from position" in told and "Attends to" in told
    assert page.locator(".context-grid .reached").count() >= 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows_and_no_fault_of_accessibility_is_found(
    opened: Any, width: str, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="proxylm[browser]")
    page = opened(width, scheme)
    page.locator("#sweep").click()
    page.wait_for_selector("#sweep-chart canvas")
    page.locator("#model").scroll_into_view_if_needed()
    page.wait_for_selector("#model .bars td.number")
    page.locator("#contexts").scroll_into_view_if_needed()
    page.wait_for_selector(".context-grid [data-index]")
    page.locator(".context-grid [data-index]").nth(30).hover()
    edges = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert edges[0] == edges[1]
    found = axe.Axe().run(page).response["violations"]
    assert [(one["impact"], one["id"]) for one in found] == []
