"""Control flow of torch modules that depends on values of the inputs."""

import inspect

import numpy as np
import openvino as ov
import pytest
import torch

from ovtool.core.errors import InputError
from ovtool.core.third_party import captured
from ovtool.models.control_flow import find_control_flow, find_difference, tracer_warnings
from tests.models.source_models import make


class Branch(torch.nn.Module):
    def forward(self, x):
        y = x.relu() * 2
        if y.mean() > 0.5:
            return y + 1
        return y


class Count(torch.nn.Module):
    def forward(self, x, n):
        for _ in range(int(n)):
            x = x * 2
        return x


class Listed(torch.nn.Module):
    def forward(self, x):
        first = x.flatten().tolist()[0]
        return x * first


class ThroughNumpy(torch.nn.Module):
    def forward(self, x):
        scale = (x + 1).numpy().max()
        return x * float(scale)


class InPlace(torch.nn.Module):
    def forward(self, x):
        seen = torch.zeros(4)
        seen[1:] += x[0, 1:]
        if seen.sum() > 0:
            return x + 1
        return x


class Selected(torch.nn.Module):
    def forward(self, x):
        chosen = x[x > 0]
        if chosen.shape[0] > 2:
            return chosen.sum()
        return x.sum()


class Contained(torch.nn.Module):
    def forward(self, x):
        return x + 1 if 0 in x else x


class Fixed(torch.nn.Module):
    """Branches on constants, buffers and shapes only."""

    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.ones(3))

    def forward(self, x):
        if x.shape[1] > 2 and self.table.sum() > 1:
            x = x + 1
        if torch.zeros_like(x).sum() == 0:
            x = x * 2
        return x if x.shape[0] * x.size(1) > 1 else -x


def find(module, **inputs):
    with captured("m") as caught:
        torch.jit.trace(module, example_kwarg_inputs=inputs, strict=False, check_trace=False)
    tensors = inputs.values()
    return find_control_flow(lambda: module(**inputs), tensors, tracer_warnings(caught))


def line_of(module, text):
    lines, start = inspect.getsourcelines(type(module))
    return start + next(i for i, line in enumerate(lines) if text in line)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "text", "inputs"),
    [
        (Branch(), "if y.mean", {}),
        (Count(), "int(n)", {"n": torch.tensor(3)}),
        (Listed(), "tolist", {}),
        (ThroughNumpy(), "numpy", {}),
        (InPlace(), "if seen", {}),
        (Selected(), "if chosen", {}),
        (Contained(), "0 in x", {}),
    ],
)
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_conversion_of_values_is_named_by_file_and_line(module, text, inputs):
    (place,) = find(module, x=torch.ones(1, 4), **inputs)
    assert place.endswith(f"test_control_flow.py line {line_of(module, text)}")


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_branches_on_shapes_constants_and_weights_are_no_control_flow():
    assert find(Fixed(), x=torch.ones(1, 4)) == []


EARLY = """
    import torch

    class Early(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a = torch.nn.Linear(8, 4)
            self.b = torch.nn.Linear(8, 4)
        def forward(self, x):
            if LIMIT:
                return self.a(x)
            return self.b(x)

    def make(): return Early(), torch.ones(1, 8)
"""


def write(folder, monkeypatch, limit):
    import sys
    import textwrap

    text = textwrap.dedent(EARLY).replace("LIMIT", limit)
    (folder / "early.py").write_text(text)
    monkeypatch.delitem(sys.modules, "early", raising=False)
    monkeypatch.chdir(folder)
    return 1 + text.splitlines().index(f"        if {limit}:")


@pytest.mark.slow
def test_branch_that_random_inputs_do_not_take_is_a_warning_of_the_variant(tmp_path, monkeypatch):
    line = write(tmp_path, monkeypatch, "x.abs().max() > 50")
    variant = make("early:make", tmp_path / "out")
    (note,) = (n for n in variant.record.notes if n.id == "traced-control-flow")
    assert note.evidence.startswith(f"early.py line {line}; output 0 differs by ")
    compiled = ov.compile_model(variant.xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    import early

    module, _ = early.make()
    x = torch.full((1, 8), 200.0)
    assert np.abs(compiled([x.numpy()])[0] - module(x).detach().numpy()).max() > 10


def test_proof_names_the_largest_difference_and_what_was_tried():
    def source(inputs):
        (x,) = inputs.values()
        return [x if x.max() < 50 else 3 * x]

    def converted(inputs):
        return [*inputs.values()]

    example = {"x": np.ones((1, 2), np.float32)}
    assert find_difference(converted, converted, example).startswith("no difference ")
    shown = find_difference(converted, source, example)
    assert shown == "output 0 differs by 66.7% on the example times 100"
    assert find_difference(converted, source, {"x": np.zeros((1, 2), np.float32)}).endswith(" 100")

    def refused(_):
        raise InputError("not valid")

    assert "tried" in find_difference(converted, refused, example)


def test_branch_that_random_inputs_take_is_refused_by_its_line(tmp_path, monkeypatch):
    line = write(tmp_path, monkeypatch, "x.mean() > 0")
    with pytest.raises(InputError, match=rf"early\.py line {line}") as raised:
        make("early:make", tmp_path / "out")
    assert "torch.cond" in raised.value.hint
