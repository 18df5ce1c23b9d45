"""``ovtool recipes``: list, show, check."""

from __future__ import annotations

import typer

from ovtool.cli import console, options
from ovtool.cli.command import PanelCommand, PanelGroup, format_examples
from ovtool.cli.console import print_unwrapped

app = typer.Typer(
    cls=PanelGroup,
    help="List, print and validate recipes.",
    add_completion=False,
    epilog=format_examples("ovtool recipes check my-recipe.yaml"),
)


@app.command("list", cls=PanelCommand, epilog=format_examples("ovtool recipes list"))
def list_(json: options.Json = False) -> None:
    """List the bundled recipes."""
    from ovtool import api

    recipes = api.recipes.list()
    if json:
        rows = [{"name": r.name, "about": r.about, "path": str(r.path)} for r in recipes]
        console.print_json({"recipes": rows})
        return
    console.print_table(("recipe", "about"), [(r.name, r.about) for r in recipes])


@app.command(
    "show",
    cls=PanelCommand,
    epilog=format_examples("ovtool recipes show efficientnet-lite0 > my-recipe.yaml"),
)
def show_(recipe: options.Recipe) -> None:
    """Print a recipe, as a start for a new one."""
    from ovtool import api

    print_unwrapped(api.recipes.show(recipe), end="")


@app.command(
    "check", cls=PanelCommand, epilog=format_examples("ovtool recipes check my-recipe.yaml")
)
def check(recipe: options.Recipe, json: options.Json = False) -> None:
    """Validate a recipe; all mistakes are reported together, each with its line."""
    from ovtool import api

    checked = api.recipes.check(recipe)
    if json:
        console.print_json({"recipe": checked.model_dump(mode="json")})
        return
    print_unwrapped(f"{recipe}: valid")
