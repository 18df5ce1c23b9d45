"""The fields of the ``--json`` documents: their description, and the stored one of the docs.

``python -m tests.cli.json_fields`` runs every verb and writes :data:`STORED`.
"""

import json
from pathlib import Path

import pytest

from ovtool.core.columns import COLUMNS

STORED = Path(__file__).parents[2] / "docs" / "reference" / "json-fields.json"
TYPES = {bool: "boolean", int: "number", float: "number", str: "text", type(None): "null"}
ROW = {name for column in COLUMNS for name in column.names}
BY_NAME = frozenset((
    "bytes_at", "by_type", "capabilities", "companions", "figures", "flops_shares", "labels",
    "properties",
    "recipe", "settings", "shapes", "time_shares", "unavailable", "versions",
))  # fmt: skip
"""Fields whose keys are names of columns, settings, inputs or devices."""
DEPTH = 3


def describe(document):
    """Return the types of each field by its path, such as ``layers[].name``."""
    fields = {}
    _visit(document, "", 0, fields)
    return {path: " or ".join(sorted(types)) for path, types in fields.items()}


def _visit(value, path, depth, fields):
    types = fields.setdefault(path, set()) if path else set()
    if isinstance(value, list):
        types.add("list")
        for item in value:
            _visit(item, f"{path}[]", depth, fields)
    elif isinstance(value, dict):
        if set(value) >= ROW:
            types.add("row")
        elif path.rpartition(".")[2].removesuffix("[]") in BY_NAME or depth >= DEPTH:
            types.add("object by name" if depth < DEPTH else "object")
        else:
            types.add("object")
            for name, item in value.items():
                _visit(item, f"{path}.{name}" if path else name, depth + 1, fields)
    else:
        types.add(TYPES[type(value)])


class Recorder:
    """Plugin that keeps what the tests of the verbs describe."""

    def __init__(self):
        self.verbs = {}

    def pytest_runtest_logreport(self, report):
        self.verbs |= {value[0]: value[1] for name, value in report.user_properties
                       if name == "fields"}  # fmt: skip


if __name__ == "__main__":
    recorder = Recorder()
    STORED.unlink(missing_ok=True)  # the tests compare with it
    status = pytest.main(
        [str(Path(__file__).with_name("test_json.py")), "-m", "", "-k", "version"], [recorder]
    )
    assert status == 0
    STORED.write_text(json.dumps(recorder.verbs, indent=1) + "\n", encoding="utf-8")
