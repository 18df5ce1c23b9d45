"""Options for reading a source."""

import pytest
from pydantic import ValidationError

from ovtool.models.options import SourceOptions


@pytest.mark.parametrize(
    "options", [{"tolerance": 0}, {"seed": -1}, {"weight": "w.pt"}, {"input_shapes": {"x": "1x3"}}]
)
def test_invalid_options_raise(options):
    with pytest.raises(ValidationError, match=next(iter(options))):
        SourceOptions(**options)
