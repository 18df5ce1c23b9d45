"""Torch modules that change what their next run reads, by the outputs of their first run."""

import numpy as np
import openvino as ov
import pytest
import torch

from ovtool.core.errors import InputError
from ovtool.core.variant import Source
from ovtool.models.convert import convert as convert_file
from ovtool.models.options import SourceOptions
from ovtool.models.torch import from_module
from ovtool.models.torch_state import find_state


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(4, 4)
        self.register_buffer("h", torch.zeros(1, 4))
        self.count, self.rows, self.hidden = 0, [], None
        self.rnn = torch.nn.LSTM(4, 5, batch_first=True)

    def forward(self, x):
        return self.layer(x)


class InPlace(Linear):
    def forward(self, x):
        self.h.add_(x)
        return self.layer(self.h)


class Assigned(Linear):
    def forward(self, x):
        self.h = torch.tanh(self.layer(x) + self.h)
        return self.h


class Counted(Linear):
    def forward(self, x):
        self.count += 1
        return self.layer(x) * self.count


class Listed(Linear):
    def forward(self, x):
        self.rows.append(x)
        return self.layer(torch.cat(self.rows)).sum(0, keepdim=True)


class Hidden(Linear):
    def forward(self, x):
        y, hidden = self.rnn(x[None], self.hidden)
        self.hidden = tuple(part.detach() for part in hidden)
        return y[:, -1]


class Lazy(Linear):
    """Keeps a value for the next run, which has no effect on its outputs."""

    def forward(self, x):
        self.last = self.layer(x)
        return self.last * 2


class Random(Linear):
    def forward(self, x):
        self.last = x
        return self.layer(x) + torch.rand_like(x)


class Nested(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Identity(), InPlace())

    def forward(self, x):
        return self.body(x)


def convert(module):
    source = Source(kind="torch", reference="nets:net")
    return from_module(module, torch.ones(1, 4), SourceOptions(), source)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Linear, []),
        (Lazy, []),
        (InPlace, ["h"]),
        (Assigned, ["h"]),
        (Counted, ["count"]),
        (Listed, ["rows"]),
        (Hidden, ["hidden"]),
        (Nested, ["body.1.h"]),
    ],
)
def test_conversion_and_reference_run_from_the_initial_state(kind, names):
    x = np.random.default_rng(0).standard_normal((1, 4)).astype(np.float32)
    with torch.no_grad():
        first = kind().eval()(torch.from_numpy(x)).numpy()
    converted = convert(kind())
    compiled = ov.Core().compile_model(converted.model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for _ in range(2):
        np.testing.assert_allclose(compiled([x])[0], first, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(converted.reference({"x": x})[0], first, rtol=1e-4, atol=1e-6)
    evidence = [n.evidence for n in converted.notes if n.id == "state-not-converted"]
    assert evidence == ([", ".join(names)] if names else [])


def test_a_copy_of_a_network_has_a_state_of_its_own():
    network = convert(InPlace()).network
    copied = network.copy()
    with torch.no_grad():
        ones = {"x": torch.ones(1, 4)}
        assert torch.equal(copied(ones), copied(ones))
        assert torch.equal(network(ones), copied(ones))


def test_random_outputs_are_no_state():
    module = Random().eval()
    assert find_state(module, lambda: module(torch.ones(1, 4))) is None


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_a_scripted_module_with_state_is_refused():
    with pytest.raises(InputError, match=r"\bh\b"):
        convert(torch.jit.script(InPlaceOnly()))


class InPlaceOnly(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("h", torch.zeros(1, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.h.add_(x)
        return self.h * 2


@pytest.mark.slow
def test_an_exported_program_is_checked_from_its_initial_state(tmp_path):
    batch = torch.export.Dim("batch", min=1, max=64)
    module, x = Running().eval(), torch.ones(3, 4)
    program = torch.export.export(module, (x,), dynamic_shapes={"x": {0: batch}})
    torch.export.save(program, tmp_path / "running.pt2")
    record = convert_file(
        tmp_path / "running.pt2", out=tmp_path / "v", options=SourceOptions(trust=True)
    ).record
    assert {n.id: n.evidence for n in record.notes}["state-not-converted"] == "h"
    assert ";" in record.check.inputs, "several runs"


class Running(Linear):
    def forward(self, x):
        self.h.add_(x.sum(0, keepdim=True))
        return self.layer(self.h + x)
