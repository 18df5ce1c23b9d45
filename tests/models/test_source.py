import pytest
from pydantic import ValidationError

from ovtool.models.options import SourceOptions, fill_shape


def test_dynamic_dimensions_are_filled():
    assert fill_shape((-1, 3, -1, -1)) == (1, 3, 64, 64)
    assert fill_shape((-1, -1), batch_axis=1) == (8, 1)


def test_invalid_options_raise():
    with pytest.raises(ValidationError):
        SourceOptions.model_validate({"shapes": {}})
    with pytest.raises(ValidationError):
        SourceOptions(tolerance=-1)
