"""What stands in a page."""

import json
import re


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
