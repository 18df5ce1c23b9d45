"""Verbs on recipes: list, show, check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.recipes import schema as recipe

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.recipes.schema import Recipe


@dataclass(frozen=True, slots=True)
class Listed:
    """A recipe that comes with ovtool."""

    name: str
    about: str
    path: Path


def list() -> tuple[Listed, ...]:  # noqa: A001 - named for its verb
    """Return the recipes that come with ovtool."""
    paths = sorted(recipe.folder().glob("*.yaml"))
    return tuple(Listed(path.stem, recipe.read(path).about, path) for path in paths)


def show(name: str | Path) -> str:
    """Return the text of a recipe.

    Raises:
        InputError: There is no such recipe.
    """
    return recipe.find(name).read_text(encoding="utf-8")


def check(name: str | Path) -> Recipe:
    """Read a recipe and check all of it.

    Raises:
        RecipeError: It has mistakes: all of them, with their lines.
    """
    return recipe.read(recipe.find(name))
