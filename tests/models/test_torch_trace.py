"""Tracing of modules with arguments and outputs of any structure."""

import types

import numpy as np
import openvino as ov
import pytest
import torch

from ovtool.core.errors import InputError
from ovtool.core.variant import Source
from ovtool.models.network import Network
from ovtool.models.options import SourceOptions
from ovtool.models.torch import from_module


class Keywords(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.dense = torch.nn.Linear(4, 3)

    def forward(self, *, x, mask=None, negative=False):
        y = self.dense(x)
        y = y if mask is None else y * mask
        return {"y": -y if negative else y, "empty": None, "rest": (y + 1, [x]), "on": negative}


class Rest(torch.nn.Module):
    def forward(self, x, **options):
        return x * options["scale"]


class Returned(torch.nn.Module):
    def forward(self, x):
        return x, x * 2, x


class Twice(torch.nn.Module):
    def forward(self, x):
        y = x * 2
        return {"b": y, "a": y}


class Batch(torch.nn.Module):
    def forward(self, batch):
        return batch["a"] - batch["b"]


class Unused(torch.nn.Module):
    def forward(self, x, y):  # noqa: ARG002 - an argument without effect
        return x + 1


def read(module, example):
    source = Source(kind="torch", reference="net")
    return from_module(module, example, SourceOptions(), source)


def compare(model, reference, seed=0):
    """Check that the graph gives what torch gives; return inputs and outputs by name."""
    generator = np.random.default_rng(seed)
    inputs = {
        p.any_name: generator.standard_normal(list(p.shape)).astype(np.float32)
        for p in model.inputs
    }
    compiled = ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    outputs = list(compiled(inputs).values())
    expected = reference(inputs)
    assert len(outputs) == len(expected)
    for ours, theirs in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    return list(inputs)


@pytest.mark.parametrize(
    ("module", "example", "inputs", "outputs"),
    [
        (Keywords(), {"x": torch.ones(1, 4)}, ["x"], ["y", "rest.0", "rest.1.0"]),
        (
            Keywords(),
            {"mask": torch.ones(1, 3), "x": torch.ones(1, 4), "negative": True},
            ["x", "mask"],
            ["y", "rest.0", "rest.1.0"],
        ),
        (Rest(), {"scale": torch.ones(1, 4), "x": torch.ones(1, 4)}, ["x", "scale"], [None]),
        (Returned(), torch.ones(1, 4), ["x"], [None, None, None]),
        (Twice(), torch.ones(1, 4), ["x"], ["b", "a"]),
        (Batch(), {"a": torch.ones(1, 4), "b": torch.ones(1, 4)}, ["batch.a", "batch.b"], [None]),
        (Unused(), (torch.ones(1, 4), torch.ones(1, 2)), ["x", "y"], [None]),
    ],
)
def test_graph_gives_what_torch_gives(module, example, inputs, outputs):
    source = read(module.eval(), example)
    assert compare(source.model, source.reference) == inputs
    assert [next(iter(port.names), None) for port in source.model.outputs] == outputs


def test_outputs_that_are_not_tensors_are_left_out_with_a_note():
    (note,) = read(Keywords().eval(), {"x": torch.ones(1, 4)}).notes
    assert (note.id, note.evidence) == ("outputs-left-out", "on (bool)")


class Number(torch.nn.Module):
    def forward(self, x):
        return {"steps": int(x.shape[0])}


def test_outputs_without_a_tensor_are_refused_by_name():
    with pytest.raises(InputError, match=r"net .*steps \(int\)"):
        read(Number(), torch.ones(1, 4))


class Generator(torch.nn.Module):
    """Returns a cache that cannot be traced, unless it is switched off."""

    def __init__(self):
        super().__init__()
        self.config = types.SimpleNamespace(use_cache=True)

    def forward(self, ids, use_cache=None):
        if use_cache is None and torch.jit.is_tracing():
            raise RuntimeError("a cache")
        return {"logits": ids * 2.0}


@pytest.mark.parametrize("example", [torch.ones(1, 4), {"ids": torch.ones(1, 4)}])
def test_text_generator_is_traced_without_a_cache_that_fails(example):
    source = read(Generator(), example)
    assert [next(iter(port.names)) for port in source.model.outputs] == ["logits"]
    assert [note.id for note in source.notes] == ["outputs-left-out"]
    assert compare(source.model, source.reference) == ["ids"]


def test_operations_have_the_names_of_the_modules():
    model = Network(Keywords(), {"x": torch.ones(1, 4)}, True, "net").to_openvino()
    names = [op.get_friendly_name() for op in model.get_ops()]
    assert any(name.startswith("__module.dense") for name in names)
    assert "self.dense.weight" in names
    assert "x" in names
    assert not any("traced" in name for name in names)
