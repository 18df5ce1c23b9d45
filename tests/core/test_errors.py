"""Error types and their exit codes."""

import pytest

from ovtool.core import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.LimitNotMetError, 1),
        (errors.InputError, 2),
        (errors.MissingError, 3),
        (errors.MissingDependencyError, 3),
        (errors.MissingDeviceError, 3),
        (errors.NothingMeasuredError, 4),
    ],
)
def test_exit_code_follows_the_type(error, code):
    assert issubclass(error, errors.OvtoolError)
    assert error("x").exit_code == code


def test_full_text_has_message_and_hint():
    assert errors.InputError("bad", "do this").full_text == "bad; do this"
    assert errors.InputError("bad").full_text == str(errors.InputError("bad", "hint")) == "bad"
