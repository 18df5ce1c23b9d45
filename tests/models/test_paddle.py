"""Paddle files as a source."""

import pytest

from tests.models.source_models import written


@pytest.mark.parametrize(
    ("prepare", "value"),
    [
        (written("m.pdmodel", b"\xff\xfe" * 64), r"m\.pdmodel.* Paddle"),
        (written("m.json", b"{}"), r"m\.json"),
    ],
)
def test_invalid_file_raises_one_line_and_leaves_nothing(invalid_file, prepare, value):
    invalid_file(prepare, value)
