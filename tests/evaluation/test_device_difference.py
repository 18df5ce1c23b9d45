"""Outputs on a device against the CPU's in f32, and the layer that they part at."""

import contextlib
from dataclasses import dataclass, field

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool import api
from ovtool.benchmark import jobs
from ovtool.benchmark.session import Opened, TrialFailedError
from ovtool.core.trial import Trial
from ovtool.datasets.samples import Sample
from ovtool.evaluation import device_difference as parting
from ovtool.graph.reference_run import EXACT_PROPERTIES
from tests.helpers.graphs import constant, convolutional, save


def cancelling():
    """[batch, 16] -> 1000 + something small -> differences of neighbours -> ... -> 8 classes.

    In bf16 the layer ``small`` is right to 0.4 %; in ``differences`` nothing else is left of it.
    """
    rng = np.random.default_rng(0)
    x = op.parameter([-1, 16], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("NC"))
    h = op.relu(op.matmul(x, constant(rng, 64, 16), False, True, name="first"))
    h = op.matmul(h, constant(rng, 64, 64), False, True, name="small")
    h = op.add(h, op.constant(np.full((1, 64), 1000, np.float32)), name="offset")
    apart = np.eye(64, dtype=np.float32) - np.roll(np.eye(64, dtype=np.float32), 1, axis=1)
    h = op.matmul(h, op.constant(apart), False, True, name="differences")
    for index in range(3):
        h = op.relu(op.matmul(h, constant(rng, 64, 64), False, True, name=f"after.{index}"))
    h = op.matmul(h, constant(rng, 8, 64), False, True, name="classifier")
    h.output(0).set_names({"y"})
    return ov.Model([op.result(h)], [x], "cancelling")


class Some:
    """A few random samples of an input x."""

    reference, labelled = "some", False

    def __init__(self, *shape, count=6):
        rng = np.random.default_rng(1)
        self.arrays = rng.standard_normal((count, *shape)).astype(np.float32)

    def __len__(self):
        return len(self.arrays)

    def __iter__(self):
        return (Sample({"x": array}, None, "some") for array in self.arrays)


@dataclass
class Bent:
    """Runs in this process on the CPU in f32; on the device an operation is changed by a factor.

    ``refused`` fails every compile on the device but the first.
    """

    bent: str = ""
    refused: bool = False
    opened: list = field(default_factory=list)

    def prepare(self, count):
        pass

    def open(self, job, *_, **__):
        model = ov.Core().read_model(job.xml)
        model.reshape(dict(enumerate(map(list, job.shapes))))
        if job.trial.device != "CPU":
            if self.refused and self.opened:
                raise TrialFailedError("no room")
            self.opened.append(job)
            bend(model, self.bent)
        return InProcess(job, ov.Core().compile_model(model, "CPU", EXACT_PROPERTIES))

    def close(self):
        pass


def bend(model, name, factor=1.5):
    for node in model.get_ordered_ops():
        if node.get_friendly_name() == name:
            readers = list(node.output(0).get_target_inputs())
            bent = op.multiply(node, op.constant(np.float32(factor)))
            for port in readers:
                port.replace_source_output(bent.output(0))


class InProcess:
    def __init__(self, job, compiled):
        self.job, self.compiled = job, compiled
        self.opened = Opened({}, "f32", {})

    def infer(self, inputs, outputs):
        array = np.load(inputs)["x"]
        rows = [list(self.compiled(one[None]).values()) for one in array]
        np.savez(outputs, *[np.concatenate(arrays) for arrays in zip(*rows, strict=True)])

    def close(self):
        pass


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return save(tmp_path_factory.mktemp("v") / "net", convolutional())


def compared(variant, runner, samples=None, tolerance=0.05):
    trial = Trial(variant.id, variant.name, "GPU", 1, precision="f16")
    job = jobs.build_job(trial, variant, {})
    with contextlib.closing(runner.open(job)) as session:
        return parting.difference(session, job, samples or Some(3, 16, 16), 0, runner, tolerance)


def test_equal_outputs_need_no_search(net):
    runner = Bent()
    found = compared(net, runner)
    assert found.error == 0
    assert found.samples == parting.SAMPLES
    assert found.apart is None
    assert found.note("net on GPU") is None
    assert len(runner.opened) == 1


@pytest.mark.parametrize("name", ["conv0", "conv1", "classifier"])
def test_the_changed_operation_is_named(net, name):
    found = compared(net, Bent(name))
    assert found.error > 0.05
    assert found.apart.name == name
    assert found.apart.error == pytest.approx(0.5, rel=0.01)
    assert found.apart.before < 1e-4
    note = found.note("net on GPU in f16")
    assert note.id == "device-difference"
    assert note.evidence.startswith("net on GPU in f16: ")
    assert f"{found.apart.type} {found.apart.name!r} (error 50.0 %" in note.evidence


def test_within_a_wider_tolerance_it_is_no_warning(net):
    found = compared(net, Bent("conv0"), tolerance=100.0)
    assert 0.05 < found.error < 100
    assert found.note("net") is None


def test_a_device_that_does_not_take_the_probes_says_so(net):
    found = compared(net, Bent("conv1", refused=True))
    assert found.apart is None
    assert "unknown: no room" in found.note("net").evidence


def bf16_here():
    return ov.Core().get_property("CPU", "INFERENCE_PRECISION_HINT") == ov.Type.bf16


@pytest.mark.slow
@pytest.mark.skipif(not bf16_here(), reason="this processor does not run in bf16 by default")
def test_bf16_parts_at_the_layer_that_loses_precision(tmp_path):
    """For real: both modes of the processor, in processes of their own."""
    variant = save(tmp_path / "net", cancelling())
    rng = np.random.default_rng(1)
    data = tmp_path / "held-out.npz"
    np.savez(data, x=rng.standard_normal((6, 16)).astype(np.float32), label=np.arange(6) % 8)
    default, exact, f32 = api.evaluate_each(
        variant, str(data), precisions=("default", "exact", "f32")
    )
    assert default.executed_precision == "bf16"
    assert default.difference.error > 0.05
    apart = default.difference.apart
    assert (apart.type, apart.name) == ("MatMul", "differences")
    assert apart.before < 0.01 < 0.05 < apart.error
    (note,) = [note for note in default.notes if note.id == "device-difference"]
    assert "MatMul 'differences'" in note.evidence
    assert exact.executed_precision == "f32"
    assert exact.difference is None
    assert f32.difference.error < 0.01
    assert {"accuracy_top1", "quality_samples"} <= set(exact.figures)
    assert f32.figures["accuracy_top1"] == exact.figures["accuracy_top1"]
