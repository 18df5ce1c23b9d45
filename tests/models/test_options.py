import pytest
from pydantic import ValidationError

from ovtool.models.options import SourceOptions, filled


def test_open_dimensions_are_filled_for_a_run():
    assert filled((-1, 3, -1, -1)) == (1, 3, 64, 64)
    assert filled((-1, -1), batch_axis=1) == (8, 1)


def test_a_misspelt_or_senseless_option_is_refused():
    with pytest.raises(ValidationError):
        SourceOptions.model_validate({"shapes": {}})
    with pytest.raises(ValidationError):
        SourceOptions(tolerance=-1)
