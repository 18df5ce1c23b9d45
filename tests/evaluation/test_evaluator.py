"""Quality of trials and of graphs, by the character accuracy of an ONNX text recognizer."""

import importlib.util

import numpy as np
import onnx
import openvino as ov
import pytest
from onnx import TensorProto, helper

from ovtool import api
from ovtool.benchmark.session import TrialFailedError
from ovtool.core.errors import InputError
from ovtool.core.sweep_spec import SweepSpec
from ovtool.datasets.samples import Sample
from ovtool.evaluation import evaluator
from ovtool.evaluation.evaluator import GraphEvaluator
from ovtool.evaluation.metrics import MetricRequest
from ovtool.evaluation.text import load_alphabet
from ovtool.graph.reference_run import EXACT_PROPERTIES, FLOAT_KERNELS, ReferenceModel
from ovtool.models.options import SourceOptions
from tests.helpers.graphs import RECURRENT, recurrent
from tests.helpers.owned import QUICK

pytestmark = pytest.mark.usefixtures("local_workers")

LETTERS = ("", *"abcd", " ")


def write_onnx(path, characters="a\nb\nc\nd"):
    """Write x [batch, steps, 6] -> product with almost the identity matrix -> softmax."""
    rng = np.random.default_rng(0)
    weights = (np.eye(6) * 9 + rng.uniform(-1, 1, (6, 6))).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Softmax", ["h"], ["y"], axis=2),
    ]
    graph = helper.make_graph(
        nodes,
        "recognizer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 12, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 12, 6])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    if characters:
        helper.set_model_props(model, {"character": characters})
    onnx.save(model, path)
    return path


def write_lines(path, texts):
    steps = np.zeros((len(texts), 12), int)
    for row, text in enumerate(texts):
        steps[row, : 2 * len(text) : 2] = [LETTERS.index(letter) for letter in text]
    np.savez(path, x=np.eye(6, dtype=np.float32)[steps], label=np.array(texts))
    return path


@pytest.fixture
def lines(tmp_path):
    """Lines that the model recognizes; the labels of two lines differ by a letter each."""
    rng = np.random.default_rng(1)
    texts = ["".join(rng.choice(list("abcd "), 6)).strip() or "a" for _ in range(40)]
    path = write_lines(tmp_path / "lines.npz", texts)
    labels = [texts[0] + "d", "c" + texts[1], *texts[2:]]
    with np.load(path) as arrays:
        np.savez(path, x=arrays["x"], label=np.array(labels))
    return path, 1 - 2 / sum(map(len, labels))


@pytest.mark.slow
def test_character_accuracy_is_the_same_in_every_verb(tmp_path, lines):
    data, expected = lines
    plain = api.convert(write_onnx(tmp_path / "r.onnx"), out=tmp_path / "plain")
    assert load_alphabet(plain) == LETTERS
    given = api.CompressionData(calibration=str(data))
    small = api.compress(plain, "int8", out=tmp_path / "int8", data=given)
    assert load_alphabet(small) == LETTERS, "compression keeps the characters"
    figures = api.evaluate(small, str(data), baseline=plain, precision="f32").figures
    assert figures["accuracy_characters"] == pytest.approx(expected)
    low, high = (figures[f"accuracy_characters_ci_{end}"] for end in ("low", "high"))
    assert low < expected < high
    assert figures["agreement_top1"] == 1
    evaluator = GraphEvaluator(
        api.DataSpec(str(data)).load(plain), plain, MetricRequest("characters")
    )
    assert evaluator.metric == "accuracy_characters"
    assert evaluator(ov.Core().read_model(small.xml)).value == pytest.approx(expected)
    swept = api.sweep(
        [plain, small], out=tmp_path / "sweep", data=str(data),
        spec=SweepSpec(**QUICK, hints=["latency"], precisions=["f32"]),
    )  # fmt: skip
    heading, *_ = (h for h in api.summarize([swept.folder]).headings if "accuracy" in h)
    assert heading == "character accuracy"


@pytest.mark.slow
def test_recognizer_without_characters_is_rejected(tmp_path, lines):
    data, _ = lines
    without = api.convert(write_onnx(tmp_path / "m.onnx", ""), out=tmp_path / "without")
    with pytest.raises(InputError, match="without"):
        api.evaluate(without, str(data))
    few = api.convert(write_onnx(tmp_path / "f.onnx", "a\nb"), out=tmp_path / "few")
    with pytest.raises(InputError, match=r"2 characters.* 6 classes"):
        api.evaluate(few, str(data))


def test_metric_that_does_not_fit_the_labels_is_rejected(tmp_path, lines):
    data, _ = lines
    plain = api.convert(write_onnx(tmp_path / "r.onnx"), out=tmp_path / "plain")
    evaluator = GraphEvaluator(api.DataSpec(str(data)).load(plain), plain, MetricRequest("top1"))
    with pytest.raises(InputError, match="top1") as raised:
        evaluator(None)
    assert "characters" in raised.value.hint


@pytest.mark.slow
def test_recognizer_needs_the_transformer_scheme_in_int8(tmp_path):
    if importlib.util.find_spec("rapidocr") is None:
        pytest.skip("ovtool[ocr] is not installed")
    options = SourceOptions(input_shapes={"x": (-1, 3, 48, 320)})
    plain = api.convert("sample:text-recognizer", out=tmp_path / "plain", options=options)
    data = api.DataSpec("sample:text-lines-calibration", limit=20)
    evaluator = GraphEvaluator(
        api.DataSpec("sample:text-lines-test", limit=20).load(plain),
        plain,
        MetricRequest("characters"),
    )
    accuracy = {"f32": evaluator(ov.Core().read_model(plain.xml)).value}
    for kind in ("none", "transformer"):
        settings = {"model_type": kind, "subset_size": 20}
        small = api.compress(plain, "int8", out=tmp_path / kind, data=data, settings=settings)
        accuracy[kind] = evaluator(ov.Core().read_model(small.xml)).value
    assert accuracy["f32"] > 0.98
    assert accuracy["transformer"] > 0.97
    assert accuracy["none"] < 0.95


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """A recurrent step as a variant, and samples in two orders with NumPy's class of the step."""
    folder = tmp_path_factory.mktemp("steps")
    ov.save_model(recurrent(), folder / "step.xml", compress_to_fp16=False)
    x = np.random.default_rng(5).standard_normal((40, 8)).astype(np.float32)
    labels = (np.tanh(x @ RECURRENT["input"]) @ RECURRENT["scores"]).argmax(1)
    for name, order in (("first", slice(None)), ("second", slice(None, None, -1))):
        np.savez(folder / f"{name}.npz", x=x[order], label=labels[order])
    return api.convert(folder / "step.xml", out=folder / "step"), folder


@pytest.mark.slow
def test_the_quality_of_a_model_with_state_does_not_depend_on_the_order(steps):
    variant, folder = steps
    assert {n.id: n.evidence for n in variant.record.notes}["state-initial"] == "1 state: h [1,16]"
    for order in ("first", "second"):
        samples = api.DataSpec(str(folder / f"{order}.npz")).load(variant)
        quality = api.evaluate(variant, str(folder / f"{order}.npz"), precision="f32")
        assert quality.figures["accuracy_top1"] == 1
        assert quality.difference.error == 0
        graph = GraphEvaluator(samples, variant, MetricRequest("top1"))
        assert graph(ov.Core().read_model(variant.xml)).value == 1


@pytest.mark.slow
def test_calibration_of_a_model_with_state_does_not_depend_on_the_order(steps):
    variant, folder = steps
    first, second = (
        api.compress(variant, "int8", data=str(folder / f"{order}.npz"), out=folder / order)
        for order in ("first", "second")
    )
    assert first.record.sha256 == second.record.sha256


def test_outputs_that_cannot_be_read_are_an_error_of_the_trial():
    class Session:
        def infer(self, _, outputs):
            outputs.write_bytes(b"PK\x03\x04" + bytes(40))

    sample = Sample({"x": np.zeros(1)}, None, "noise")
    with pytest.raises(TrialFailedError), evaluator.infer_samples(Session(), [sample]):
        pass


def test_chunks_of_slow_inferences_stay_small(monkeypatch):
    """A chunk of 64 samples of 10 s each would exceed the time limit of a request."""
    now, took = [0.0], [0.0]
    monkeypatch.setattr(evaluator.time, "monotonic", lambda: now[0])
    samples = [Sample({"x": np.zeros(1)}, None, "noise")] * 200

    def sizes():
        for chunk in evaluator._chunks(samples):
            now[0] += took[0] * len(chunk)
            yield len(chunk)

    took[0] = 10.0
    assert set(sizes()) == {1}
    took[0] = 0.001
    assert list(sizes()) == [1, 8, 64, 64, 63]


@pytest.mark.slow
def test_a_graph_is_evaluated_with_the_given_properties(tmp_path, lines, monkeypatch):
    plain = api.convert(write_onnx(tmp_path / "r.onnx"), out=tmp_path / "plain")
    used = []

    class Recorded(ReferenceModel):
        def __init__(self, model, properties):
            used.append(properties)
            super().__init__(model, properties)

    monkeypatch.setattr(evaluator, "ReferenceModel", Recorded)
    samples = api.DataSpec(str(lines[0])).load(plain)
    for properties, int8_kernels in ((FLOAT_KERNELS, False), (EXACT_PROPERTIES, True)):
        judge = GraphEvaluator(samples, plain, MetricRequest("characters"), properties)
        judge(ov.Core().read_model(plain.xml))
        assert judge.int8_kernels is int8_kernels
        assert used.pop() is properties
