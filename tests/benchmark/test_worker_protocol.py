"""What the replies of a worker become: figures, notes, and failures of a trial."""

from dataclasses import replace

import pytest

from ovtool.benchmark.session import TrialFailedError
from ovtool.benchmark.worker_protocol import (
    determine_placement,
    name_executed_precision,
    parse_opened,
)
from tests.benchmark.replies import OPENED
from tests.benchmark.scripted import jobs


@pytest.fixture
def job(tmp_path):
    return jobs(tmp_path, "a")[0]


def evidence_by_id(opened):
    return {note.id: note.evidence for note in opened.notes}


@pytest.mark.parametrize(
    ("device", "execution_devices", "ran_on"),
    [
        ("CPU", ["CPU"], "CPU"),
        ("GPU", ["GPU.0"], "GPU.0"),
        ("NPU", [], None),
        ("AUTO:GPU,CPU", ["GPU.0"], "GPU.0"),
        ("MULTI:GPU,CPU", ["GPU.0", "CPU"], "GPU.0, CPU"),
        ("BATCH:CPU", ["CPU"], "CPU"),
    ],
)
def test_execution_devices_are_recorded(device, execution_devices, ran_on):
    placement = determine_placement(device, execution_devices)
    assert placement.ran_on == ran_on
    assert placement.notes == ()


@pytest.mark.parametrize(
    ("device", "execution_device"), [("NPU", "CPU"), ("GPU.1", "GPU.0"), ("CPU", "GPU.0")]
)
def test_execution_on_another_device_fails_the_trial(device, execution_device):
    with pytest.raises(TrialFailedError) as caught:
        determine_placement(device, [execution_device])
    assert device in str(caught.value)
    assert execution_device in str(caught.value)


@pytest.mark.parametrize("execution_device", ["CPU", "(CPU)"])
def test_auto_that_fell_back_to_the_cpu_is_noted(execution_device):
    placement = determine_placement("AUTO:NPU,CPU", [execution_device])
    assert placement.ran_on == "CPU"
    (note,) = placement.notes
    assert note.id == "device-fallback"
    for name in ("AUTO:NPU,CPU", "NPU"):
        assert name in note.evidence


def test_operations_by_device_are_evidence():
    counts = {"GPU.0": 12, "CPU": 3}
    (note,) = determine_placement("HETERO:GPU,CPU", ["GPU.0", "CPU"], counts).notes
    assert (note.id, note.evidence) == ("placement", "GPU.0 12, CPU 3")


@pytest.mark.parametrize(
    ("hint", "shares", "precision"),
    [
        ("bf16", {"bf16": 1.0}, "bf16"),
        ("f32", {"f32": 0.99, "i8": 0.01}, "i8+f32"),
        ("f16", {"i8": 1.0}, "i8"),
        ("bf16", {"f32": 1.0}, "f32"),
        ("bf16", {"i8": 0.5, "f32": 0.1, "bf16": 0.4}, "i8+bf16"),
        ("f16", {"unknown": 1.0}, "f16"),
        ("f16", {}, "f16"),
        ("f16", None, "f16"),
        (None, {"i8": 1.0}, "i8"),
        (None, None, None),
    ],
)
def test_executed_precision_is_that_of_the_layers(hint, shares, precision):
    assert name_executed_precision(hint, shares) == precision


def test_properties_that_a_device_does_not_report_are_noted(job):
    opened = parse_opened(OPENED | {"threads": None, "flops": None, "precision": None}, job)
    assert "threads" not in opened.figures
    assert not [name for name in opened.figures if "flops" in name]
    assert opened.ran_on == "CPU"
    assert set(evidence_by_id(opened)) == {"no-runtime-graph", "no-flops"}


@pytest.mark.parametrize(
    ("changes", "precision", "names"),
    [
        ({"execution_devices": ["GPU.0"]}, "default", ("GPU.0", "CPU")),
        ({"precision": "f32"}, "bf16", ("bf16", "f32")),
    ],
)
def test_substitute_for_the_requested_device_or_precision_fails(job, changes, precision, names):
    requested = replace(job, trial=replace(job.trial, precision=precision))
    with pytest.raises(TrialFailedError) as caught:
        parse_opened(OPENED | changes, requested)
    for name in names:
        assert name in str(caught.value)


LAYERS = {
    "flops_share": {"i8": 0.75, "bf16": 0.25},
    "layer_share": {"i8": 0.5, "bf16": 0.5},
    "compute_layers": 10,
    "fallbacks": ["a", "b", "c", "d", "e"],
    "fallback_share": 0.25,
    "attributed": 1.0,
}


def parse_with_layers(job, layers):
    reply = OPENED | {"precision": "bf16", "layers": LAYERS | layers, "flops": 8_000_000_000}
    opened = parse_opened(reply, job)
    return opened, evidence_by_id(opened)


def test_flops_are_per_sample_and_by_precision(job):
    opened, evidence = parse_with_layers(job, {})
    assert job.trial.batch == 2
    assert opened.executed_precision == "i8+bf16"
    flops = {name: value for name, value in opened.figures.items() if "flops" in name}
    assert flops == {
        "gflops": 4.0,
        "flops_i8_pct": 75.0,
        "flops_bf16_pct": 25.0,
        "flops_f16_pct": 0.0,
        "flops_f32_pct": 0.0,
    }
    assert evidence["executed-layers"].startswith("i8 75.0%, bf16 25.0%")
    for value in ("5 of 10", "25.0%", "a, b, c, ..."):
        assert value in evidence["int8-fallback"]
    assert "flops-unattributed" not in evidence


def test_layers_without_known_flops_are_counted_and_no_share_is_zero(job):
    unknown = {"flops_share": {}, "fallback_share": None, "attributed": 0.0}
    opened, evidence = parse_with_layers(job, unknown)
    assert opened.executed_precision == "i8+bf16"
    assert [name for name in opened.figures if "flops" in name] == ["gflops"]
    assert evidence["executed-layers"].startswith("i8 50.0%, bf16 50.0%")
    assert "5 of 10" in evidence["int8-fallback"]
    assert evidence["flops-unattributed"].startswith("0%")


@pytest.mark.parametrize(
    ("state", "note", "evidence"),
    [
        ({"count": 2, "reset_ms": 0.25}, "state-reset", "2 states, 0.250 ms a reset"),
        ({"count": 1, "reset_ms": None}, "state-not-reset", "1 state"),
    ],
)
def test_a_row_has_a_note_on_the_state(job, state, note, evidence):
    assert evidence_by_id(parse_opened(OPENED | {"state": state}, job))[note] == evidence
