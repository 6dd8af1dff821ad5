"""``proxylm recipe``: tables and figures of the paper, computed at a size of your choice."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proxylm.cli.options import OverridesArgument
from proxylm.cli.output import JsonOption, emit, note, table

app = typer.Typer(no_args_is_help=True, help=__doc__)


@app.command("list")
def list_recipes(json: JsonOption = False) -> None:
    """Name the recipes.

    Example: proxylm recipe list
    """
    from proxylm.recipes.running import RECIPES

    result = {"recipes": [{"name": name, "title": one.title} for name, one in RECIPES.items()]}
    rows = [[name, recipe.title] for name, recipe in RECIPES.items()]
    emit(result, as_json=json, text=table(["name", "title"], rows))


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A name of 'proxylm recipe list'.")],
    out: Annotated[Path, typer.Option("--out", help="A folder; a run that stopped goes on.")],
    overrides: OverridesArgument = None,
    json: JsonOption = False,
) -> None:
    """Compute a recipe's rows and write the table; the same command goes on where it stopped.

    Example: proxylm recipe run table6 --out runs/table6 symbols=655360
    """
    from proxylm.recipes.running import named_recipe, run_recipe

    chosen = named_recipe(recipe, overrides or [])
    result = run_recipe(chosen, out, note)
    emit(result, as_json=json, text=table(*chosen.table(result["rows"])))
