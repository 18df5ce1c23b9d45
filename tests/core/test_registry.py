import sys

import pytest

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.core.registry import Entry, Registry, package_folder, suggestion

TABLE = Registry(
    "shape",
    {
        "circle": Entry("math:sqrt", "round"),
        "square": Entry("missing_package:square", "needs an extra", extra="shapes"),
        "cube": Entry("missing_package.three:cube", "needs a package"),
    },
)


def test_a_row_is_imported_on_use():
    assert TABLE.load("circle")(9) == 3
    assert list(TABLE) == ["circle", "square", "cube"]
    assert "circle" in TABLE
    assert "sphere" not in TABLE


def test_listing_imports_nothing(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    table = Registry("color", {"hls": Entry("colorsys:rgb_to_hls", "hue")})
    assert table.entry("hls").summary == "hue"
    assert "colorsys" not in sys.modules
    table.load("hls")
    assert "colorsys" in sys.modules


@pytest.mark.parametrize(
    ("name", "hint"),
    [("squar", "did you mean square?"), ("zzz", "known: circle, square, cube"), ("", "known: ")],
)
def test_a_misspelled_name_has_a_suggestion(name, hint):
    with pytest.raises(InputError, match=f"shape '{name}'") as caught:
        TABLE.load(name)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "install"),
    [("square", "pip install 'ovtool[shapes]'"), ("cube", "pip install missing_package")],
)
def test_a_missing_package_has_an_install_command(name, install):
    with pytest.raises(MissingDependencyError, match="missing_package") as caught:
        TABLE.load(name)
    assert caught.value.hint == install
    assert caught.value.exit_code == 3
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_known_names_fit_a_line():
    names = [f"name-{number}" for number in range(99)]
    shown = suggestion("zzz", names)
    assert len(shown) <= 100
    assert "name-0, name-1, " in shown
    assert shown.endswith(f" {99 - shown.count('name-')} more")


def test_a_package_that_needs_no_dependencies_is_named_with_its_version():
    with pytest.raises(MissingDependencyError) as raised:
        package_folder("sample:x", "not_an_installed_package", None, "not-a-package==1.2.3")
    assert raised.value.hint == "pip install --no-deps not-a-package==1.2.3"
