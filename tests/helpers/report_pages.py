"""Report pages, and the data in them."""

import functools
import json
import re

from ovtool.charts.render import ChartRenderer
from ovtool.report.page import render_page

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>|`*"


@functools.cache
def library():
    with ChartRenderer() as renderer:
        renderer.prepare_library()
        return renderer.library()


def page_of(content):
    """The page of a content, as a report has it."""
    return render_page(content, library())


def data_of(page):
    """The block of JSON from which the scripts draw table and charts."""
    (data,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL
    )
    return json.loads(data)


def column_of(page, name):
    """The cells of a column of the table."""
    data = data_of(page)
    place = [column["name"] for column in data["columns"]].index(name)
    return [row[place] for row in data["rows"]]


def cells(page):
    """All cells of the table of results."""
    return [cell for row in data_of(page)["rows"] for cell in row]
