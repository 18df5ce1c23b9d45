import doctest

import pytest

from ovtool.core import device_names
from ovtool.core.errors import InputError


def test_examples():
    assert doctest.testmod(device_names).failed == 0


@pytest.mark.parametrize(
    "name",
    ["CPU", "GPU.1", "NPU", "NPU.4000", "AUTO", "AUTO:GPU,CPU", "AUTO:-GPU.1", "MULTI:CPU",
     "HETERO:GPU.0,CPU", "BATCH:GPU(8)"],
)  # fmt: skip
def test_names_of_openvino_are_valid(name):
    device_names.check(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("XPU", "'XPU'"),
        ("AUTO:XPU,CPU", "'XPU'.*'AUTO:XPU,CPU'"),
        ("AUTO:AUTO", "'AUTO'.*'AUTO:AUTO'"),
        ("CPU:GPU", "'CPU:GPU'"),
        ("MULTI", "MULTI"),
        ("HETERO:", "HETERO:"),
        ("BATCH:CPU,GPU", "BATCH:CPU,GPU"),
    ],
)
def test_an_invalid_name_gives_an_error_with_a_hint(name, value):
    with pytest.raises(InputError, match=value) as caught:
        device_names.check(name)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("GPU", "GPU.0", True),
        ("GPU.0", "GPU", True),
        ("GPU.1", "GPU.0", False),
        ("NPU", "CPU", False),
        ("NPU", "NPU.4000", True),
    ],
)
def test_a_name_without_number_matches_any_device_of_its_kind(a, b, same):
    assert device_names.same_device(a, b) is same


@pytest.mark.parametrize(
    ("device", "ran_on", "absent"),
    [
        ("AUTO:NPU,CPU", ["CPU"], ["NPU"]),
        ("AUTO:NPU,CPU", ["NPU.4000"], []),
        ("AUTO:GPU,NPU,CPU", ["NPU"], []),
        ("AUTO:CPU", ["CPU"], []),
        ("AUTO", ["CPU"], ["GPU", "NPU"]),
        ("AUTO", ["GPU.0"], []),
        ("MULTI:GPU,CPU", ["CPU"], ["GPU"]),
        ("MULTI:GPU,CPU", ["GPU.0", "CPU"], []),
        ("HETERO:NPU,GPU,CPU", ["GPU.0", "CPU"], ["NPU"]),
        ("BATCH:CPU", ["CPU"], []),
    ],
)
def test_idle_members_are_named(device, ran_on, absent):
    assert device_names.find_idle_members(device, ran_on) == absent
