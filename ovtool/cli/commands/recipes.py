"""``ovtool recipes``: list, show, check."""

from __future__ import annotations

from typing import Annotated

import typer

from ovtool.cli import console, options

app = typer.Typer(
    help="List, show and check recipes.",
    no_args_is_help=True,
    epilog="Example: ovtool recipes check my-recipe.yaml",
)
Recipe = Annotated[
    str,
    typer.Argument(
        help="Recipe file, or the name of one that comes with ovtool.", show_default=False
    ),
]


@app.command("list", epilog="Example: ovtool recipes list")
def list_(json: options.Json = False) -> None:
    """List the recipes that come with ovtool."""
    from ovtool import api

    found = api.recipes.list()
    if json:
        console.print_json([{"name": r.name, "about": r.about, "path": str(r.path)} for r in found])
        return
    console.print_table(("recipe", "about"), [(r.name, r.about) for r in found])


@app.command("show", epilog="Example: ovtool recipes show efficientnet-lite0 > my-recipe.yaml")
def show_(recipe: Recipe) -> None:
    """Print a recipe, to start one's own from."""
    from ovtool import api

    print(api.recipes.show(recipe), end="")


@app.command("check", epilog="Example: ovtool recipes check my-recipe.yaml")
def check(recipe: Recipe, json: options.Json = False) -> None:
    """Check a recipe: every mistake at once, with its line."""
    from ovtool import api

    found = api.recipes.check(recipe)
    if json:
        console.print_json(found.model_dump(mode="json"))
        return
    print(f"{recipe}: no mistakes")
