"""Output and errors of third-party code."""

import logging
import warnings

import numpy as np
import openvino as ov
import openvino.opset13 as opset
import pytest

from ovtool.core.third_party import captured, condense, reason


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "Exception from src/core.cpp:1:\nCheck 'x' failed at a.cpp:2:\n - bad shape\n",
            "bad shape",
        ),
        (
            "Exception from src/a.cpp:1:\n[CPU] node 'r' Check 'a <= 1' failed at src/b.cpp:7:\nno",
            "[CPU] node 'r' no",
        ),
        ("Exception from src/a.cpp:1:\nCaught exception: [CPU] node 'r' no", "[CPU] node 'r' no"),
        (
            "Error: Exception from src/utils/vcl.cpp:22:\nCannot load library",
            "Error: Cannot load library",
        ),
        ("Exception from src/a.cpp:1:\nCheck 'x' failed at src/b.hpp:2:\n", "ValueError"),
        ("first\n\nsecond", "first second"),
        ("", "ValueError"),
        ("x" * 300, "x" * 300),
        ("x" * 301, "x" * 297 + "..."),
    ],
)
def test_reason_is_the_relevant_part_on_one_line(message, expected):
    assert reason(ValueError(message)) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Exception from src/a.cpp:1:\nCheck 'x' failed at src/b.cpp:2:\nodd\nthing\n",
         "odd thing"),
        ("Exception from src/a.cpp:1: | Check 'x' failed at src/b.cpp:2: | it is wrong | ",
         "it is wrong"),
        ("no 'A' : Exception from src\\npu\\a.hpp:1: | Wrong", "no 'A' : Wrong"),
        ("Exception from src/a.cpp:1:\n", ""),
        ("x" * 1000, "x" * 297 + "..."),
    ],
)  # fmt: skip
def test_source_locations_are_left_out(text, line):
    assert condense(text, 300) == line


def test_locations_in_an_error_of_openvino_are_left_out():
    model = ov.Model([opset.reshape(x := opset.parameter([-1, 8], np.float32), [1, 8], False)], [x])
    with pytest.raises(RuntimeError) as caught:
        ov.Core().compile_model(model, "CPU")(np.ones((2, 8), "f4"))
    assert ".cpp:" in str(caught.value)
    assert ".cpp" not in reason(caught.value)
    assert "(2.8)" in reason(caught.value)


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
