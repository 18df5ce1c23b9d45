"""Character accuracy through the API: an ONNX recogniser that lists its characters."""

import importlib.util

import numpy as np
import onnx
import openvino as ov
import pytest
from onnx import TensorProto, helper

from ovtool import api
from ovtool.core.errors import InputError
from ovtool.core.trial_grid import Axes
from ovtool.evaluation import alphabet
from ovtool.evaluation.graph_evaluator import GraphJudge
from ovtool.models.options import SourceOptions
from tests.helpers.owned import QUICK

LETTERS = ("", *"abcd", " ")


def write_onnx(path, characters="a\nb\nc\nd"):
    """Write x [batch, steps, 6] -> a product with nearly the unit matrix -> its softmax."""
    rng = np.random.default_rng(0)
    weights = (np.eye(6) * 9 + rng.uniform(-1, 1, (6, 6))).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Softmax", ["h"], ["y"], axis=2),
    ]
    graph = helper.make_graph(
        nodes,
        "recogniser",
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
    """Lines that are read as they are written, but the labels of two differ by a letter each."""
    rng = np.random.default_rng(1)
    texts = ["".join(rng.choice(list("abcd "), 6)).strip() or "a" for _ in range(40)]
    path = write_lines(tmp_path / "lines.npz", texts)
    labels = [texts[0] + "d", "c" + texts[1], *texts[2:]]
    with np.load(path) as found:
        np.savez(path, x=found["x"], label=np.array(labels))
    return path, 1 - 2 / sum(map(len, labels))


@pytest.mark.slow
def test_characters_are_judged_everywhere_alike(tmp_path, lines):
    data, expected = lines
    plain = api.convert(write_onnx(tmp_path / "r.onnx"), out=tmp_path / "plain")
    assert alphabet(plain) == LETTERS
    given = api.Given(data=str(data))
    small = api.compress(plain, "int8", out=tmp_path / "int8", given=given)
    assert alphabet(small) == LETTERS, "compression keeps the characters"
    found = api.evaluate(small, str(data), baseline=plain, precision="f32").figures
    assert found["accuracy_characters"] == pytest.approx(expected)
    assert found["accuracy_characters_ci_low"] < expected < found["accuracy_characters_ci_high"]
    assert found["agreement_top1"] == 1
    judge = GraphJudge(api.DataSpec(str(data)).load(plain), plain, "characters")
    assert judge.metric == "accuracy_characters"
    assert judge(ov.Core().read_model(small.xml)).value == pytest.approx(expected)
    done = api.sweep(
        [plain, small], out=tmp_path / "sweep", devices=["CPU"], data=str(data), settings=QUICK,
        axes=Axes(hints=["latency"], precisions=["f32"]),
    )  # fmt: skip
    heading, *_ = (h for h in api.summarize([done.folder]).headings if "accuracy" in h)
    assert heading == "character accuracy"


@pytest.mark.slow
def test_a_recogniser_without_its_characters_is_told(tmp_path, lines):
    data, _ = lines
    mute = api.convert(write_onnx(tmp_path / "m.onnx", ""), out=tmp_path / "mute")
    with pytest.raises(InputError, match="does not list its characters"):
        api.evaluate(mute, str(data))
    few = api.convert(write_onnx(tmp_path / "f.onnx", "a\nb"), out=tmp_path / "few")
    with pytest.raises(InputError, match="lists 2 characters and tells 6 classes apart"):
        api.evaluate(few, str(data))


def test_a_metric_that_does_not_fit_the_labels_is_refused(tmp_path, lines):
    data, _ = lines
    plain = api.convert(write_onnx(tmp_path / "r.onnx"), out=tmp_path / "plain")
    judge = GraphJudge(api.DataSpec(str(data)).load(plain), plain, "top1")
    with pytest.raises(InputError, match="top1 does not fit the labels") as raised:
        judge(None)
    assert "characters or agreement" in raised.value.hint


@pytest.mark.slow
def test_the_recogniser_reads_its_lines_and_plain_int8_ruins_it(tmp_path):
    if importlib.util.find_spec("rapidocr") is None:
        pytest.skip("ovtool[ocr] is not installed")
    options = SourceOptions(input_shapes={"x": (-1, 3, 48, 320)})
    plain = api.convert("sample:text-recogniser", out=tmp_path / "plain", options=options)
    data = api.DataSpec("sample:text-lines-calibration", limit=20)
    judge = GraphJudge(
        api.DataSpec("sample:text-lines-test", limit=20).load(plain), plain, "characters"
    )
    accuracy = {"f32": judge(ov.Core().read_model(plain.xml)).value}
    for kind in ("none", "transformer"):
        settings = {"model_type": kind, "subset_size": 20}
        small = api.compress(plain, "int8", out=tmp_path / kind, data=data, settings=settings)
        accuracy[kind] = judge(ov.Core().read_model(small.xml)).value
    assert accuracy["f32"] > 0.98
    assert accuracy["transformer"] > 0.97
    assert accuracy["none"] < 0.95
