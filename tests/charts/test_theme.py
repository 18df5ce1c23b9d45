"""Colors of charts in files and on the page."""

import re

import pytest

from ovtool.charts import theme

WHITE, BLACK = 1.0, 0.0


def luminance(color):
    """The relative luminance of the WCAG, 0 to 1."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    return (max(a, b) + 0.05) / (min(a, b) + 0.05)


@pytest.mark.parametrize(
    ("colors", "background"),
    [
        (theme.LIGHT, WHITE),
        (theme.DARK, BLACK),
        (theme.LIGHT_PRECISIONS, WHITE),
        (theme.DARK_PRECISIONS, BLACK),
    ],
)
def test_colors_are_distinct_and_visible(colors, background):
    assert len(set(colors)) == len(colors)
    assert min(contrast(luminance(color), background) for color in colors) > 2.5


def test_dark_scheme_and_shapes_repeat_the_colors():
    assert len(theme.DARK) == len(theme.LIGHT)
    assert len(set(theme.SHAPES)) == len(theme.SHAPES)
    assert len({tuple(dash) for dash in theme.DASHES}) == len(theme.DASHES)


def test_file_has_colors_and_the_page_variables():
    in_file, on_page = theme.file_config(), theme.page_config()
    assert in_file["range"]["category"] == list(theme.LIGHT)
    assert on_page["range"]["category"] == [f"var(--c{i})" for i in range(len(theme.LIGHT))]
    assert in_file["range"]["ordinal"] == list(theme.LIGHT_PRECISIONS)
    used = set(re.findall(r"var\(--([cp]\d)\)", str(on_page)))
    assert used == set(theme.variables(theme.DARK, theme.DARK_PRECISIONS))
    neutral = [style["color"] for style in in_file["style"].values() if "color" in style]
    assert not set(neutral) & {*theme.LIGHT, *theme.LIGHT_PRECISIONS}, "a color has one meaning"
    assert "var(" not in str(in_file)
    assert not re.search(r"#[0-9a-f]{3,6}\b", str(on_page)), "would not follow the color scheme"
    assert set(in_file["style"]) == set(on_page["style"])
