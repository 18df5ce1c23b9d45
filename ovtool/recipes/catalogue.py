"""The verb ``recipes``: list, show and check recipes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.recipes.schema import bundled_folder, find_recipe, read_recipe

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.recipes.schema import Recipe


@dataclass(frozen=True, slots=True)
class BundledRecipe:
    """A recipe that comes with ovtool."""

    name: str
    about: str
    path: Path


def list() -> tuple[BundledRecipe, ...]:  # noqa: A001 - named for its verb
    """Return the recipes that come with ovtool."""
    paths = sorted(bundled_folder().glob("*.yaml"))
    return tuple(BundledRecipe(path.stem, read_recipe(path).about, path) for path in paths)


def show(name: str | Path) -> str:
    """Return the text of a recipe.

    Raises:
        InputError: The recipe does not exist.
    """
    return find_recipe(name).read_text(encoding="utf-8")


def check(name: str | Path) -> Recipe:
    """Read a recipe and check all of it.

    Raises:
        MistakesError: The recipe has mistakes; the error has all of them, with their lines.
    """
    return read_recipe(find_recipe(name))
