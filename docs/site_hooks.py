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
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)(#[^)]*)?\)")
"""A link to a file, by its path from the file that it stands in."""
SHOWN_AS = {".py": "python", ".yaml": "yaml", ".sh": "sh", ".ipynb": "json"}
PAGES = {"README.md": "readme.md", "CONTRIBUTING.md": "contributing.md"}
"""Files of the project that have a page of their own; with links that work there."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the API, CONTRIBUTING.md, the examples and the files that pages link to."""
    _add(files, config, "api.md", _api())
    named = set()
    for page in [*map(ROOT.joinpath, PAGES), *sorted((ROOT / "docs").rglob("*.md"))]:
        folder = page.parent.relative_to(ROOT).as_posix()
        named |= {_name(folder, match) for match in LINK.finditer(page.read_text("utf-8"))}
    for name, uri in PAGES.items():
        content = (ROOT / name).read_text(encoding="utf-8")
        _add(files, config, uri, _with_links(content, "."))
    for name in sorted(named - PAGES.keys()):
        if not name.startswith("docs/"):
            _add(files, config, _page_of(name), _listing(ROOT / name, name))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links out of docs/ into links to their pages."""
    if page.file.generated_by:
        return markdown
    return _with_links(markdown, posixpath.join("docs", posixpath.dirname(page.file.src_uri)))


def _with_links(markdown: str, folder: str) -> str:
    """The text of a file in a folder of the project, with links to where things are in the site."""
    here = posixpath.relpath(folder, "docs") if folder != "." else "."

    def inside(match: re.Match[str]) -> str:
        name = _name(folder, match)
        uri = name.removeprefix("docs/") if name.startswith("docs/") else _page_of(name)
        return f"]({posixpath.relpath(uri, here)}{match[2] or ''})"

    return LINK.sub(inside, markdown)


def _name(folder: str, match: re.Match[str]) -> str:
    """What a link in a file of that folder leads to, from the project's root."""
    return posixpath.normpath(posixpath.join(folder, match[1]))


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
