"""The rooms of the house: each imports from those below it only, so that none needs one above."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "proxylm"

# From the ground up; docs/architecture.md says what each one is for.
ROOMS = (
    "corpus",
    "models",
    "compressors",
    "data",
    "checkpoints",
    "scoring",
    "generation",
    "training",
    "planning",
    "sandbox",
    "interchange",
    "serving",
    "evaluation",
    "pipelines",
    "analysis",
    "report",
    "inspector",
    "recipes",
    "results",
    "demo",
    "bench",
    "cli",
)


def imports(path: Path) -> Iterator[str]:
    """The project's modules that a file imports, wherever in it, without ``proxylm.``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                modules = [name.name for name in names]
            case ast.ImportFrom(module=str(module), level=0, names=names):
                # ``from proxylm.corpus import listing`` names a room, or a module in one.
                modules = [f"{module}.{name.name}" for name in names]
            case ast.ImportFrom(level=level) if level > 1:
                raise AssertionError(f"{path}: a relative import hides where it leads")
            case _:  # a neighbour (exported code has no other way to name one), or another library
                continue
        for module in modules:
            if module.startswith("proxylm."):
                yield module.removeprefix("proxylm.")


def upward(package: Path, rooms: tuple[str, ...]) -> list[str]:
    """``file -> module`` for every import from a room above the file's own."""
    level = {room: number for number, room in enumerate(rooms)}
    found = []
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if name.as_posix() in ("__init__.py", "__main__.py"):
            continue  # the public names come from everywhere, the program is the command line
        # What lies beside the rooms serves all of them.
        own = level[name.parts[0]] if len(name.parts) > 1 else -1
        found += [
            f"{name} -> {module}"
            for module in imports(path)
            if level.get(module.split(".")[0], -1) > own
        ]
    return found


def test_every_folder_is_a_room() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(ROOMS)


def test_no_room_imports_from_one_above() -> None:
    assert upward(PACKAGE, ROOMS) == []


def test_an_import_from_above_is_noticed(tmp_path: Path) -> None:
    for name, text in {
        "corpus/a.py": "def f():\n    from proxylm.cli import main\n",
        "cli/b.py": "from proxylm.corpus.a import f\nimport proxylm.corpus.a\n",
        "errors.py": "import proxylm.corpus.a\n",
        "__init__.py": "from proxylm.cli.b import f\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = upward(tmp_path, ("corpus", "cli"))
    assert found == ["corpus/a.py -> cli.main", "errors.py -> corpus.a"]
