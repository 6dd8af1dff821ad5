"""The page's own files, all in the package: nothing is loaded from elsewhere."""

from __future__ import annotations

from functools import cache
from pathlib import Path

PAGE = Path(__file__).parent / "page"
VENDORED = Path(__file__).parents[1] / "vendored"

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@cache
def page_files() -> dict[str, tuple[bytes, str]]:
    """By path, content and media type; a path that is not among them does not exist."""
    found = {f"/{path.name}": path for path in PAGE.iterdir()}
    found |= {f"/vendored/{path.name}": path for path in VENDORED.rglob("uPlot*") if path.is_file()}
    found["/"] = found["/index.html"]
    return {
        name: (path.read_bytes(), MEDIA_TYPES[path.suffix])
        for name, path in found.items()
        if path.suffix in MEDIA_TYPES
    }
