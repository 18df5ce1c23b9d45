"""Differences from the CPU in f32, and the layer where outputs first diverge."""

import contextlib
from dataclasses import dataclass, field

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool import api
from ovtool.benchmark import jobs
from ovtool.benchmark.session import CompiledInfo, TrialFailedError
from ovtool.core.trial import Trial
from ovtool.datasets.samples import Sample
from ovtool.evaluation.device_difference import SAMPLES, compare_with_cpu
from ovtool.graph.reference_run import EXACT_PROPERTIES
from tests.helpers.graphs import constant, convolutional, save


def cancelling():
    """[batch, 16] -> 1000 + small values -> differences of neighbors -> ... -> 8 classes.

    In bf16, the error of the layer ``small`` is 0.4%. In ``differences``, the error is all that
    remains.
    """
    rng = np.random.default_rng(0)
    x = op.parameter([-1, 16], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("NC"))
    h = op.relu(op.matmul(x, constant(rng, 64, 16), False, True, name="first"))
    h = op.matmul(h, constant(rng, 64, 64), False, True, name="small")
    h = op.add(h, op.constant(np.full((1, 64), 1000, np.float32)), name="offset")
    neighbors = np.eye(64, dtype=np.float32) - np.roll(np.eye(64, dtype=np.float32), 1, axis=1)
    h = op.matmul(h, op.constant(neighbors), False, True, name="differences")
    for index in range(3):
        h = op.relu(op.matmul(h, constant(rng, 64, 64), False, True, name=f"after.{index}"))
    h = op.matmul(h, constant(rng, 8, 64), False, True, name="classifier")
    h.output(0).set_names({"y"})
    return ov.Model([op.result(h)], [x], "cancelling")


class RandomSamples:
    """A few random samples of an input x."""

    reference, labelled, notes = "random", False, ()

    def __init__(self, *shape, count=6):
        rng = np.random.default_rng(1)
        self.arrays = rng.standard_normal((count, *shape)).astype(np.float32)

    def __len__(self):
        return len(self.arrays)

    def __iter__(self):
        return (Sample({"x": array}, None, "random") for array in self.arrays)


@dataclass
class AlteredRunner:
    """Runs in this process on the CPU in f32; the device multiplies one operation by a factor.

    ``refused`` fails every compilation on the device but the first.
    """

    altered: str = ""
    refused: bool = False
    opened: list = field(default_factory=list)

    def prepare(self, jobs):
        pass

    def open(self, job, *_, **__):
        model = ov.Core().read_model(job.xml)
        model.reshape(dict(enumerate(map(list, job.shapes))))
        if job.trial.device != "CPU":
            if self.refused and self.opened:
                raise TrialFailedError("no room")
            self.opened.append(job)
            alter(model, self.altered)
        return InProcess(job, ov.Core().compile_model(model, "CPU", EXACT_PROPERTIES))

    def close(self):
        pass


def alter(model, name, factor=1.5):
    for node in model.get_ordered_ops():
        if node.get_friendly_name() == name:
            readers = list(node.output(0).get_target_inputs())
            product = op.multiply(node, op.constant(np.float32(factor)))
            for port in readers:
                port.replace_source_output(product.output(0))


class InProcess:
    def __init__(self, job, compiled):
        self.job, self.compiled = job, compiled
        self.info = CompiledInfo({}, "f32", {})

    def infer(self, inputs, outputs):
        array = np.load(inputs)["x"]
        rows = [list(self.compiled(one[None]).values()) for one in array]
        np.savez(outputs, *[np.concatenate(arrays) for arrays in zip(*rows, strict=True)])

    def close(self):
        pass


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return save(tmp_path_factory.mktemp("v") / "net", convolutional())


def compare(variant, runner, samples=None, tolerance=0.05):
    trial = Trial(variant.id, variant.name, "GPU", 1, precision="f16")
    job = jobs.build_job(trial, variant, {})
    with contextlib.closing(runner.open(job)) as session:
        samples = samples or RandomSamples(3, 16, 16)
        return compare_with_cpu(session, job, samples, runner, tolerance)


def test_equal_outputs_need_no_search(net):
    runner = AlteredRunner()
    difference = compare(net, runner)
    assert difference.error == 0
    assert difference.samples == SAMPLES
    assert difference.divergence is None
    assert difference.note("net on GPU") is None
    assert len(runner.opened) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conv0", "conv1", "classifier"])
def test_altered_operation_is_located(net, name):
    difference = compare(net, AlteredRunner(name))
    assert difference.error > 0.05
    assert difference.divergence.name == name
    assert difference.divergence.error == pytest.approx(0.5, rel=0.01)
    assert difference.divergence.input_error < 1e-4
    note = difference.note("net on GPU in f16")
    assert note.id == "device-difference"
    assert "net on GPU in f16" in note.evidence
    assert f"{difference.divergence.type} {name!r}" in note.evidence
    assert "50.0%" in note.evidence


def with_end(folder, second=False):
    """The network with a view as its end, and optionally a second output."""
    model = convolutional()
    last = model.outputs[0].get_node().input_value(0).get_node()
    view = op.unsqueeze(last, op.constant(np.int32(2)))
    view.output(0).set_names({"view"})
    results = [op.result(view)]
    if second:
        other = op.tanh(op.multiply(last, op.constant(np.float32(0.01))), name="other")
        other.output(0).set_names({"other"})
        results.append(op.result(other))
    return save(folder / "net", ov.Model(results, model.get_parameters(), "end"))


@pytest.mark.slow
def test_a_view_is_no_divergence(tmp_path):
    """The operation before it stands for it."""
    difference = compare(with_end(tmp_path), AlteredRunner("classifier"))
    assert difference.divergence.name == "classifier"


@dataclass
class FusedRunner(AlteredRunner):
    """Alters the operation only where nothing else reads it, as a fusion does."""

    def open(self, job, *_, **__):
        read = any(
            port.get_node().get_type_name() == "Result"
            for node in ov.Core().read_model(job.xml).get_ops()
            if node.get_friendly_name() == self.altered
            for port in node.output(0).get_target_inputs()
        )
        runner = AlteredRunner("" if read else self.altered)
        return runner.open(job)


@pytest.mark.slow
def test_a_difference_that_vanishes_when_it_is_read_names_no_view(tmp_path):
    difference = compare(with_end(tmp_path), FusedRunner("classifier"))
    assert difference.error == pytest.approx(0.5, rel=0.01)
    assert difference.divergence is None
    assert difference.search_failure


@pytest.mark.slow
def test_every_output_is_compared(tmp_path):
    difference = compare(with_end(tmp_path, second=True), AlteredRunner("other"))
    assert difference.output == "other"
    assert difference.divergence.name == "other"
    assert "other" in difference.note("net").evidence


@pytest.mark.slow
@pytest.mark.parametrize("compared", [False, True])
def test_outputs_without_a_finite_value_are_not_equal_but_unknown(tmp_path, compared):
    """Empty and NaN outputs."""
    x = op.parameter([-1, 16], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("NC"))
    ends = (op.constant(np.array([size], np.int64)) for size in (0, 0, 1, 1))
    empty = op.slice(x, *ends)
    undefined = op.log(op.subtract(op.constant(np.float32(-1)), op.abs(x)))
    outputs = [empty, undefined, x][: 3 if compared else 2]
    model = ov.Model([op.result(output) for output in outputs], [x], "net")
    difference = compare(save(tmp_path / "net", model), AlteredRunner(), RandomSamples(16))
    assert difference.error == (0 if compared else None)
    assert difference.note("net") is None


def test_difference_within_the_tolerance_has_no_note(net):
    difference = compare(net, AlteredRunner("conv0"), tolerance=100.0)
    assert 0.05 < difference.error < 100
    assert difference.note("net") is None


def test_failed_search_is_reported_with_the_reason(net):
    difference = compare(net, AlteredRunner("conv1", refused=True))
    assert difference.divergence is None
    assert difference.search_failure == "no room"
    assert "no room" in difference.note("net").evidence


def runs_in_bf16():
    return ov.Core().get_property("CPU", "INFERENCE_PRECISION_HINT") == ov.Type.bf16


@pytest.mark.slow
@pytest.mark.skipif(not runs_in_bf16(), reason="this processor does not run in bf16 by default")
def test_bf16_diverges_at_the_layer_that_loses_precision(tmp_path):
    """Runs both modes of the processor, in worker processes."""
    variant = save(tmp_path / "net", cancelling())
    rng = np.random.default_rng(1)
    data = tmp_path / "held-out.npz"
    np.savez(data, x=rng.standard_normal((6, 16)).astype(np.float32), label=np.arange(6) % 8)
    default, exact, f32 = api.evaluate_each(
        variant, str(data), precisions=("default", "exact", "f32")
    )
    assert default.executed_precision == "bf16"
    assert default.difference.error > 0.05
    divergence = default.difference.divergence
    assert (divergence.type, divergence.name) == ("MatMul", "differences")
    assert divergence.input_error < 0.01 < 0.05 < divergence.error
    (note,) = [note for note in default.notes if note.id == "device-difference"]
    assert "MatMul 'differences'" in note.evidence
    assert exact.executed_precision == "f32"
    assert exact.difference is None
    assert f32.difference.error < 0.01
    assert {"accuracy_top1", "quality_samples"} <= set(exact.figures)
    assert f32.figures["accuracy_top1"] == exact.figures["accuracy_top1"]
