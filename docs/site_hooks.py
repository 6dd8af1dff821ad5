"""What the site has beside the pages of docs/: files of the project that pages name, and the API.

MkDocs calls these functions (``hooks`` in mkdocs.yml). Pages link to files outside of docs/ as they
lie in the project, so that the links also work where the project is read as files.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import proxylm

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\((\.\./[^)#]+)(#[^)]*)?\)")
ROOT_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)(#[^)]*)?\)")
"""A link in a file that lies in the project's root."""
SHOWN_AS = {".py": "python", ".yaml": "yaml", ".sh": "sh", ".ipynb": "json"}
PAGES = {"README.md": "readme.md", "CONTRIBUTING.md": "contributing.md"}
"""Files of the project that have a page of their own; with links that work there."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the API, CONTRIBUTING.md, the examples and the files that pages link to."""
    _add(files, config, "api.md", _api())
    named = set()
    for name, uri in PAGES.items():
        content = (ROOT / name).read_text(encoding="utf-8")
        named |= {match[1] for match in ROOT_LINK.finditer(content)}
        _add(files, config, uri, ROOT_LINK.sub(_from_root, content))
    for page in sorted((ROOT / "docs").glob("*.md")):
        named |= {match[1].removeprefix("../") for match in LINK.finditer(page.read_text("utf-8"))}
    outside = {name for name in named if not name.startswith("docs/")}
    for name in sorted(outside - PAGES.keys()):
        _add(files, config, _page_of(name), _listing(ROOT / name, name))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links out of docs/ into links to their pages."""
    here = posixpath.dirname(page.file.src_uri) or "."

    def inside(match: re.Match[str]) -> str:
        target = _page_of(match[1].removeprefix("../"))
        return f"]({posixpath.relpath(target, here)}{match[2] or ''})"

    return LINK.sub(inside, markdown)


def _from_root(match: re.Match[str]) -> str:
    name = match[1]
    target = name.removeprefix("docs/") if name.startswith("docs/") else _page_of(name)
    return f"]({target}{match[2] or ''})"


def _page_of(name: str) -> str:
    return PAGES.get(name) or f"files/{name.strip('/').replace('/', '-')}.md"


def _listing(path: Path, name: str) -> str:
    """A file as it is, or the first line of what each program in a folder says of itself."""
    if path.is_file():
        language = SHOWN_AS.get(path.suffix, "text")
        return f"# {name}\n\n````{language}\n{path.read_text(encoding='utf-8')}````\n"
    rows = [f"- `{one.name}`: {_about(one)}" for one in sorted(path.glob("*.py"))]
    return f"# {name}\n\n" + "\n".join(rows) + "\n"


def _about(program: Path) -> str:
    return program.read_text(encoding="utf-8").split('"""')[1].splitlines()[0]


def _api() -> str:
    """Every public name, in the order of the method, by its docstring."""
    names = [f"::: proxylm.{proxylm._MODULES[name]}.{name}" for name in proxylm.__all__[1:]]
    return "# API\n\n`import proxylm as px` gives these names.\n\n" + "\n\n".join(names) + "\n"


def _add(files: Files, config: MkDocsConfig, uri: str, content: str) -> None:
    files.append(File.generated(config, uri, content=content))
