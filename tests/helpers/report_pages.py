"""Pages, and what stands in them."""

import functools
import json
import re

from ovtool.charts.render import Pictures
from ovtool.report.page import page


@functools.cache
def library():
    with Pictures() as pictures:
        pictures.prepare()
        return pictures.library()


def page_of(content):
    """The page of a content, as a report has it."""
    return page(content, library())


def data_of(text):
    """The block of JSON that table and charts are drawn from."""
    (found,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL
    )
    return json.loads(found)


def column_of(text, name):
    """The texts of a column of the table."""
    data = data_of(text)
    place = [column["name"] for column in data["columns"]].index(name)
    return [row[place] for row in data["rows"]]
