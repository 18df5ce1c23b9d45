"""Output and errors of third-party code."""

import logging
import warnings

import pytest

from ovtool.core.third_party import captured, reason


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "Exception from src/core.cpp:1:\nCheck 'x' failed at a.cpp:2:\n - bad shape\n",
            "bad shape",
        ),
        ("first\n\nsecond", "first second"),
        ("", "ValueError"),
        ("x" * 300, "x" * 300),
        ("x" * 301, "x" * 297 + "..."),
    ],
)
def test_reason_is_the_relevant_part_on_one_line(message, expected):
    assert reason(ValueError(message)) == expected


def test_output_and_warnings_go_to_the_log(capfd, caplog):
    with caplog.at_level("DEBUG", "ovtool"), captured("library"):
        print("printed")
        warnings.warn("warned", UserWarning, stacklevel=1)
    assert capfd.readouterr() == ("", "")
    assert [record.getMessage() for record in caplog.records] == [
        "library: UserWarning: warned",
        "library: printed",
    ]


def test_root_logger_is_restored_after_an_error():
    root = logging.getLogger()
    before = (root.level, root.handlers[:], root.filters[:])

    def fails():
        with captured("library"):
            root.setLevel(logging.CRITICAL)
            root.addHandler(logging.NullHandler())
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert (root.level, root.handlers, root.filters) == before
