"""What a page of the report holds, as its scripts read it."""

import json
import re


def cells(page):
    """Return all cells of the table of results, one after another."""
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    return [cell for row in json.loads(data)["rows"] for cell in row]
