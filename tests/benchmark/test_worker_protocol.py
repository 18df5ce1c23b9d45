import pytest

from ovtool.benchmark.session import TrialFailedError
from ovtool.benchmark.worker_protocol import determine_placement


@pytest.mark.parametrize(
    ("device", "told", "ran_on"),
    [
        ("CPU", ["CPU"], "CPU"),
        ("GPU", ["GPU.0"], "GPU.0"),
        ("NPU", [], None),
        ("AUTO:GPU,CPU", ["GPU.0"], "GPU.0"),
        ("MULTI:GPU,CPU", ["GPU.0", "CPU"], "GPU.0, CPU"),
        ("BATCH:CPU", ["CPU"], "CPU"),
    ],
)
def test_what_did_the_work_is_recorded(device, told, ran_on):
    found = determine_placement(device, told)
    assert found.ran_on == ran_on
    assert found.notes == ()


@pytest.mark.parametrize(
    ("device", "told"), [("NPU", ["CPU"]), ("GPU.1", ["GPU.0"]), ("CPU", ["GPU.0"])]
)
def test_another_device_in_the_place_of_a_named_one_is_a_failure(device, told):
    with pytest.raises(TrialFailedError, match=f"it ran on {told[0]}: that is no figure of"):
        determine_placement(device, told)


@pytest.mark.parametrize("told", [["CPU"], ["(CPU)"]])
def test_an_auto_that_went_to_the_cpu_says_so(told):
    found = determine_placement("AUTO:NPU,CPU", told)
    assert found.ran_on == "CPU"
    (note,) = found.notes
    assert note.id == "device-fallback"
    assert note.evidence == "AUTO:NPU,CPU ran on CPU, not on NPU"


def test_layers_by_device_are_evidence():
    (note,) = determine_placement("HETERO:GPU,CPU", ["GPU.0", "CPU"], {"GPU.0": 12, "CPU": 3}).notes
    assert note.id == "placement"
    assert note.evidence == "GPU.0 12, CPU 3"
