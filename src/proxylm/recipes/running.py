"""Running a recipe row by row in a folder; the same call goes on after an interruption.

The folder holds ``recipe.json`` (what runs), ``rows/<row>.json`` (a row that is done is never
computed again) and, when all rows are done, ``table.json`` and ``table.md``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from proxylm.config import Config, load_config
from proxylm.errors import UsageError
from proxylm.files import atomic_file, read_json, require_utf8, write_json
from proxylm.recipes.table6 import RowResult, Say, Table6

RECIPES = {recipe.name: recipe for recipe in (Table6,)}
"""By name."""

DESCRIPTION_FILE = "recipe.json"
ROWS_FOLDER = "rows"
TABLE_FILE = "table.json"
MARKDOWN_FILE = "table.md"


def named_recipe(name: str, overrides: Sequence[str] = ()) -> Table6:
    """The recipe called ``name`` with some of its settings replaced (``key.sub=value``).

    Raises:
        UsageError: there is none, or a setting is wrong.
    """
    if name not in RECIPES:
        raise UsageError(f"no recipe '{name}'; there are: {', '.join(RECIPES)}")
    recipe_class = RECIPES[name]
    return recipe_class(load_config(recipe_class.settings_class, overrides=overrides))


def run_recipe(recipe: Table6, out: Path, say: Say = lambda _: None) -> dict[str, Any]:
    """Compute the rows that ``out`` lacks, write the table and return all of it.

    Raises:
        UsageError: ``out`` holds something else, or this recipe with other settings.
    """
    description = {
        "recipe": recipe.name,
        "title": recipe.title,
        "settings": recipe.settings.model_dump(mode="json"),
    }
    _start(out, description, recipe.settings_class)
    results = []
    for number, row in enumerate(recipe.rows, start=1):
        say(f"{recipe.name}: row {number} of {len(recipe.rows)}, {row}")
        results.append(_row(recipe, row, out, say))
    result = description | {"rows": results}
    write_json(out / TABLE_FILE, result)
    with atomic_file(out / MARKDOWN_FILE) as temporary:
        temporary.write_text(markdown(*recipe.table(results)), encoding="utf-8")
    return result


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown.

    >>> print(markdown(["row", "ρ"], [["lines", "2.3"]]), end="")
    | row | ρ |
    |---|---|
    | lines | 2.3 |
    """
    lines = [headers, ["---"] * len(headers), *rows]
    texts = ["| " + " | ".join(cells) + " |" for cells in lines]
    texts[1] = texts[1].replace(" ", "")
    return "\n".join(texts) + "\n"


def _start(out: Path, description: dict[str, Any], settings_class: type[Config]) -> None:
    require_utf8(out)
    path = out / DESCRIPTION_FILE
    if path.is_file():
        if _with_defaults(read_json(path), settings_class) != description:
            raise UsageError(f"{out}: was started with other settings ({path}); take another --out")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: not empty and not of a recipe; choose another --out")
    (out / ROWS_FOLDER).mkdir(parents=True)
    write_json(path, description)


def _with_defaults(description: Any, settings_class: type[Config]) -> Any:
    """A description that was written before a setting was added, with that setting's default."""
    try:
        settings = settings_class.model_validate(description["settings"])
    except (ValidationError, KeyError, TypeError):
        return None
    return description | {"settings": settings.model_dump(mode="json")}


def _row(recipe: Table6, row: str, out: Path, say: Say) -> RowResult:
    path = out / ROWS_FOLDER / f"{row}.json"
    if path.is_file():
        return read_json(path)
    started = time.perf_counter()
    result = {"row": row, **recipe.run_row(row, out, say)}
    result["seconds"] = time.perf_counter() - started
    write_json(path, result)
    return result
