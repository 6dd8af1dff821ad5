"""The documentation as a site: it builds without a warning, links included; pictures are drawn."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import proxylm

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="needs the extra 'docs'")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return out


def test_every_page_is_there_and_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in (ROOT / "docs").glob("*.md"):
        name = "index.html" if page.stem == "index" else f"{page.stem}/index.html"
        assert (site / name).is_file(), page
    for page in site.rglob("*.html"):
        content = page.read_text(encoding="utf-8")
        assert not re.search(r'<(script|link|img)[^>]*(src|href)="(https?:)?//', content), page


def test_links_lead_to_pages_and_places_in_them(site: Path) -> None:
    broken = []
    for page in site.rglob("*.html"):
        for target in re.findall(r'href="([^":]+)"', page.read_text(encoding="utf-8")):
            path, _, anchor = target.partition("#")
            found = (page.parent / path).resolve() if path else page
            found = found / "index.html" if found.is_dir() else found
            if page.name == "404.html":
                continue  # its links begin at the site's root
            if not found.is_file() or (anchor and f'id="{anchor}"' not in found.read_text("utf-8")):
                broken.append((str(page.relative_to(site)), target))
    assert broken == []


def test_the_reference_has_every_public_name(site: Path) -> None:
    reference = (site / "api" / "index.html").read_text(encoding="utf-8")
    for name in proxylm.__all__[1:]:
        assert f'id="proxylm.{proxylm._MODULES[name]}.{name}"' in reference, name


def test_the_pictures_are_what_the_code_draws(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(PICTURES / "draw.py"), str(tmp_path)], check=True)
    for drawn in tmp_path.iterdir():
        assert drawn.read_text() == (PICTURES / drawn.name).read_text(), drawn.name
