"""Options for reading a source."""

import pytest
from pydantic import ValidationError

from ovtool.models.options import SourceOptions, fill_shape


@pytest.mark.parametrize(
    ("shape", "batch_axis", "expected"),
    [
        ((-1, 3, -1, -1), 0, (1, 3, 64, 64)),
        ((-1, -1), 0, (1, 8)),
        ((-1, -1, 5), 1, (8, 1, 5)),
        ((-1, 5), None, (8, 5)),
    ],
)
def test_dynamic_dimensions_get_a_size(shape, batch_axis, expected):
    assert fill_shape(shape, batch_axis) == expected


@pytest.mark.parametrize(
    "options", [{"tolerance": 0}, {"seed": -1}, {"weight": "w.pt"}, {"input_shapes": {"x": "1x3"}}]
)
def test_invalid_options_raise(options):
    with pytest.raises(ValidationError, match=next(iter(options))):
        SourceOptions(**options)
