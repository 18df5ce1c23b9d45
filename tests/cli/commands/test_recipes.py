"""``ovtool recipes``."""

from pathlib import Path

import pytest

from ovtool.recipes.schema import bundled_folder, read_recipe


@pytest.mark.slow
def test_recipes_lists_every_bundled_recipe(ovtool):
    listed = {row["name"] for row in ovtool("recipes", "list", "--json").document["recipes"]}
    assert listed == {path.stem for path in bundled_folder().glob("*.yaml")}
    out = ovtool("recipes", "list").out
    assert all(name in out for name in listed)


@pytest.mark.slow
def test_show_and_check_read_a_bundled_recipe(ovtool):
    rows = ovtool("recipes", "list", "--json").document["recipes"]
    (path,) = (Path(row["path"]) for row in rows if row["name"] == "efficientnet-lite0")
    out = ovtool("recipes", "show", "efficientnet-lite0").out
    assert out == path.read_text(encoding="utf-8")
    ran = ovtool("recipes", "check", "efficientnet-lite0")
    assert (ran.status, ran.err) == (0, "")
    assert "efficientnet-lite0" in ran.out
    checked = ovtool("recipes", "check", "efficientnet-lite0", "--json").document["recipe"]
    assert checked == read_recipe(path).model_dump(mode="json")
