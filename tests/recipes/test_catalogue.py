"""The recipes that come with ovtool."""

import pytest

from ovtool.core.errors import InputError
from ovtool.core.yaml_file import MistakesError
from ovtool.recipes import catalogue
from ovtool.recipes.schema import (
    bundled_folder,
    read_recipe,
)


@pytest.mark.parametrize("path", sorted(bundled_folder().glob("*.yaml")), ids=lambda p: p.stem)
def test_bundled_recipes_have_no_mistakes(path):
    assert read_recipe(path).name == path.stem
    first = path.read_text().splitlines()[0]
    assert first == f"# ovtool run recipes/{path.name}", (
        "the first line is the command that runs it"
    )


@pytest.mark.slow
def test_bundled_recipes_are_listed_shown_and_checked():
    listed = {recipe.name: recipe for recipe in catalogue.list()}
    assert "efficientnet-lite0" in listed
    for name, recipe in listed.items():
        assert catalogue.show(name) == recipe.path.read_text(encoding="utf-8")
        checked = catalogue.check(recipe.path)
        assert (checked.name, checked.about) == (name, recipe.about)


def test_recipe_with_a_mistake_is_shown_but_not_accepted(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("nmae: x\n")
    assert catalogue.show(path) == "nmae: x\n"
    with pytest.raises(MistakesError):
        catalogue.check(path)
    with pytest.raises(InputError, match=r"none\.yaml"):
        catalogue.show(tmp_path / "none.yaml")
