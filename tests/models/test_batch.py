"""The batch dimension of every input and output, and whether it may be dynamic."""

import numpy as np
import openvino as ov
import pytest
import torch

from ovtool.core.ports import ports
from ovtool.graph.reference_run import ReferenceModel
from ovtool.models.batch import open_batch
from ovtool.models.network import Network
from tests.models.source_models import across_onnx, conv_onnx, make, open_onnx, reshape_onnx


def test_static_batch_becomes_dynamic_and_the_check_records_its_inputs(tmp_path):
    record = make(conv_onnx(tmp_path / "net.onnx", batch=4), tmp_path / "out").record
    assert record.batch == "dynamic"
    assert record.check.inputs.startswith("random, seed 0: x 4x3x8x8; ")


def test_hard_coded_batch_stays_static_with_a_note(tmp_path, notes):
    record = make(reshape_onnx(tmp_path / "net.onnx"), tmp_path / "out", notes).record
    assert record.batch == "static"
    assert record.inputs[0].shape == (1, 3, 4)
    assert "'y'" in record.batch_note or "reshape" in record.batch_note.lower()
    assert any(record.batch_note in text for text in notes.texts)


def test_model_that_mixes_samples_stays_static(tmp_path):
    record = make(across_onnx(tmp_path / "net.onnx"), tmp_path / "out").record
    assert (record.batch, record.batch_size) == ("static", 1)
    assert "'y'" in record.batch_note


class Call(torch.nn.Module):
    """A function of tensors as a module; ``inner`` is a trained part."""

    def __init__(self, function, inner=None):
        super().__init__()
        torch.manual_seed(0)
        self.function, self.inner = function, inner() if inner else None

    def forward(self, *inputs):
        return self.function(self.inner, *inputs)


def convert(module, *shapes):
    example = {f"input_{i}": torch.zeros(shape) for i, shape in enumerate(shapes)}
    return Network(module, example, by_name=False, reference="net").to_openvino()


def axes(model):
    return {side: tuple(port.batch_axis for port in found) for side, found in ports(model).items()}


LINEAR = lambda: torch.nn.Linear(8, 4)  # noqa: E731
DYNAMIC = {
    "sequence first": (lambda m, x: m(x), lambda: torch.nn.GRU(4, 6), [(10, 1, 4)], (1,), (1, 1)),
    "sequence first, example of two": (
        lambda m, x, h: m(x, h), lambda: torch.nn.GRU(4, 6), [(10, 2, 4), (1, 2, 6)],
        (1, 1), (1, 1),
    ),
    "states of layers": (
        lambda m, x, h, c: m(x, (h, c)), lambda: torch.nn.LSTM(4, 6, 2, batch_first=True),
        [(1, 10, 4), (2, 1, 6), (2, 1, 6)], (0, 1, 1), (0, 1, 1),
    ),
    "one state is added": (lambda m, x, s: m(x) + s, LINEAR, [(1, 8), (2, 1, 4)], (0, 1), (1,)),
    "attention over the first dimension": (
        lambda m, x: m(x), lambda: torch.nn.TransformerEncoderLayer(8, 2, 16), [(7, 1, 8)],
        (1,), (1,),
    ),
    "scalar input": (lambda m, x, t: m(x) * t, LINEAR, [(1, 8), ()], (0, None), (0,)),
    "shared table": (
        lambda m, x, table: m(x) @ table.T, LINEAR, [(1, 8), (5, 4)], (0, None), (0,),
    ),
    "constant output": (lambda m, x: (m(x), m.weight * 2), LINEAR, [(1, 8)], (0,), (0, None)),
    "several rows of a sample": (
        lambda m, x: m(x).reshape(-1, 4), LINEAR, [(1, 3, 8)], (0,), (0,),
    ),
    "batch is last in the output": (lambda m, x: m(x).T, LINEAR, [(1, 8)], (0,), (1,)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", DYNAMIC)
def test_batch_axes_are_those_that_samples_move_along(case):
    function, inner, shapes, inputs, outputs = DYNAMIC[case]
    module = Call(function, inner)
    batched = open_batch(convert(module, *shapes), seed=0)
    assert (batched.batch, axes(batched.model)) == (
        "dynamic", {"inputs": inputs, "outputs": outputs},
    )  # fmt: skip
    batch = 3
    shapes = [
        tuple(batch if place == axis else size for place, size in enumerate(shape))
        for shape, axis in zip(shapes, inputs, strict=True)
    ]
    tensors = [torch.randn(shape, generator=torch.Generator().manual_seed(1)) for shape in shapes]
    with torch.no_grad():
        expected = module(*tensors)
    flat = torch.utils._pytree.tree_leaves(expected)
    actual = ReferenceModel(batched.model).run(dict(enumerate(t.numpy() for t in tensors)))
    for ours, theirs in zip(actual, flat, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


class Text(torch.nn.Module):
    """ids [length, batch] -> scores [batch, 3] of the last step."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.inner = torch.nn.Embedding(50, 8), torch.nn.GRU(8, 8)

    def forward(self, ids):
        return self.inner(self.table(ids))[0][-1]


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 4])
def test_indices_may_have_the_length_first(batch):
    example = {"ids": torch.zeros(12, batch, dtype=torch.long)}
    model = Network(Text(), example, by_name=True, reference="net").to_openvino()
    assert axes(open_batch(model, 0).model) == {"inputs": (1,), "outputs": (0,)}


def test_fixed_first_dimension_comes_before_others_of_a_shared_input():
    module = Call(lambda m, x, mask: m(x).reshape(2, 3, 4) * mask, LINEAR)
    batched = open_batch(convert(module, (2, 3, 8), (3, 4)), seed=0)
    assert axes(batched.model) == {"inputs": (0, None), "outputs": (0,)}


STATIC = {
    "reshape to the example's batch": (lambda m, x: m(x).reshape(4, 4), (4, 8), (0,), 4),
    "batch and rows of it": (lambda m, x: m(x).reshape(4, 2, 2), (4, 8), (0,), 4),
}


@pytest.mark.parametrize("case", STATIC)
def test_fixed_batch_is_the_dimension_whose_samples_are_independent(case):
    function, shape, outputs, size = STATIC[case]
    batched = open_batch(convert(Call(function, LINEAR), shape), seed=0)
    described = ports(batched.model)
    assert batched.batch == "static"
    assert axes(batched.model) == {"inputs": (0,), "outputs": outputs}
    assert described["inputs"][0].shape[0] == size
    assert "reshape" in batched.note.lower() or "[2,4]" in batched.note


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda _, x: torch.softmax(x, 0), (5, 3)),
        (lambda _, x: x.reshape(4, 2).sum(0), (8,)),
        (lambda _, x: x - x.mean(), (4, 6)),
    ],
)
def test_model_that_mixes_everything_has_no_batch(function, shape):
    batched = open_batch(convert(Call(function), shape), seed=0)
    assert (batched.batch, axes(batched.model)["inputs"]) == ("none", (None,))
    assert ports(batched.model)["inputs"][0].shape == shape


def test_output_that_combines_samples_is_the_reason():
    module = Call(lambda m, x: (m(x), m(x).mean()), LINEAR)
    model = convert(module, (1, 8))
    names = [port.name for port in ports(model)["outputs"]]
    batched = open_batch(model, seed=0)
    assert batched.batch == "static"
    assert repr(names[1]) in batched.note


def test_names_of_the_source_decide_between_equal_dimensions(tmp_path):
    model = ov.Core().read_model(open_onnx(tmp_path / "net.onnx"))
    assert axes(open_batch(model.clone(), 0).model) == {"inputs": (0,), "outputs": (0,)}
    named = open_batch(model, 0, {"x": ["time", "batch_size", None]})
    assert axes(named.model) == {"inputs": (1,), "outputs": (1,)}
    assert named.note == ""


def test_dimension_whose_name_occurs_twice_is_no_batch():
    """The rows of an adjacency matrix are independent, but as many as its columns."""
    model = convert(Call(lambda _, x, a: a @ x), (6, 4), (6, 6))
    model.reshape({0: [-1, 4], 1: [-1, -1]})
    first, second = (port.name for port in ports(model)["inputs"])
    names = {first: ["nodes", None], second: ["nodes", "nodes"]}
    assert open_batch(model.clone(), 0).batch == "dynamic"
    batched = open_batch(model, 0, names)
    assert batched.batch == "none"
    assert [port.shape for port in ports(batched.model)["inputs"]] == [(-1, 4), (-1, -1)]


def test_another_possible_dimension_is_named_with_its_layout():
    batched = open_batch(convert(Call(lambda m, x: m(x), LINEAR), (10, 1, 8)), seed=0)
    assert batched.batch == "dynamic"
    (port,) = ports(batched.model)["inputs"]
    assert f"--layout {port.name}=?N?" in batched.note


def test_declared_batch_that_is_not_correct_is_fixed_at_one(tmp_path):
    model = convert(Call(lambda _, x: x - x.mean(0, keepdim=True)), (1, 5))
    model.reshape([-1, 5])
    model.inputs[0].get_node().set_layout(ov.Layout("NC"))
    batched = open_batch(model, seed=0)
    assert batched.batch == "static"
    assert ports(batched.model)["inputs"][0].shape == (1, 5)
    [port] = ports(batched.model)["inputs"]
    assert f"--layout {port.name}=??" in batched.note


def test_empty_outputs_are_not_called_infinite(tmp_path):
    model = convert(Call(lambda _, x: (x > 1e9).nonzero().float()), (1, 5))
    model.reshape([-1, 5])
    model.inputs[0].get_node().set_layout(ov.Layout("NC"))
    batched = open_batch(model, seed=0)
    assert batched.batch == "static"
    assert "finite" not in batched.note
