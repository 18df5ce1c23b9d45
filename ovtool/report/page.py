"""The page: one HTML file that works offline and asks nothing of the network.

The chart library is inside it.  A content security policy forbids every request and every script
but the two whose hashes it names, so that a hostile name in the results stays text.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ovtool.columns import COLUMNS
from ovtool.report import theme
from ovtool.report.rows import figure_text

if TYPE_CHECKING:
    from ovtool.report.content import Content
    from ovtool.report.rows import Row

TEMPLATE, DRAW = "page.html.j2", "page.js"


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the table of results; ``numeric`` ones are set to the right."""

    text: str
    numeric: bool


def page(content: Content) -> str:
    """Return the page as HTML."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    scripts = (_library(), _resource(DRAW))
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(_resource(TEMPLATE))
    shown = [column for column in COLUMNS if any(r[column.name] is not None for r in content.rows)]
    return template.render(
        content=content,
        columns=shown,
        dictionary=COLUMNS,
        rows=[[_cell(row, column.name, column.text) for column in shown] for row in content.rows],
        charts={
            one.name: one.spec | {"width": "container", "config": theme.page()}
            for one in content.charts.drawn
        },
        light=theme.LIGHT,
        dark=theme.DARK,
        font=theme.FONT,
        policy=_policy(scripts),
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - ours, and hashed
    )


def _cell(row: Row, name: str, text: bool) -> Cell:
    value: Any = row[name]
    if text or isinstance(value, int):
        return Cell("-" if value is None else str(value), numeric=not text)
    return Cell(figure_text(row, name), numeric=True)


def _policy(scripts: tuple[str, ...]) -> str:
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(one).decode()}'" for one in digests)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


@functools.cache
def _library() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script that may stand inside a page."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle.replace("\r\n", "\n").replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _resource(name: str) -> str:
    text = files("ovtool.report").joinpath(name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")
