import doctest

import pytest

from ovtool.core import device_names as devicename
from ovtool.core.errors import InputError


def test_the_examples_hold():
    assert doctest.testmod(devicename).failed == 0


@pytest.mark.parametrize(
    "name",
    ["CPU", "GPU.1", "NPU", "NPU.4000", "AUTO", "AUTO:GPU,CPU", "AUTO:-GPU.1", "MULTI:CPU",
     "HETERO:GPU.0,CPU", "BATCH:GPU(8)"],
)  # fmt: skip
def test_names_of_openvino_are_taken(name):
    devicename.check(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("XPU", "unknown device 'XPU'"),
        ("AUTO:XPU,CPU", "unknown device 'XPU' in 'AUTO:XPU,CPU'"),
        ("AUTO:AUTO", "unknown device 'AUTO' in"),
        ("CPU:GPU", "'CPU:GPU'"),
        ("MULTI", "MULTI"),
        ("HETERO:", "HETERO:"),
        ("BATCH:CPU,GPU", "BATCH:CPU,GPU"),
    ],
)
def test_others_are_wrong_use_with_a_hint(name, said):
    with pytest.raises(InputError, match=said) as caught:
        devicename.check(name)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("asked", "told", "same"),
    [
        ("GPU", "GPU.0", True),
        ("GPU.0", "GPU", True),
        ("GPU.1", "GPU.0", False),
        ("NPU", "CPU", False),
        ("NPU", "NPU.4000", True),
    ],
)
def test_a_name_without_a_number_is_any_of_its_kind(asked, told, same):
    assert devicename.same_device(asked, told) is same


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
def test_who_did_not_do_the_work_is_named(device, ran_on, absent):
    assert devicename.not_behind(device, ran_on) == absent
