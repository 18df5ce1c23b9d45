"""Torch networks as sources of variants."""

import sys
from pathlib import Path

import pytest
import torch

from ovtool.core.errors import InputError
from ovtool.core.ports import Port
from ovtool.core.variant import Source
from ovtool.models import network as networks
from ovtool.models.network import Network
from ovtool.models.options import SourceOptions
from tests.models.source_models import Net, make


class Pair(torch.nn.Module):
    def forward(self, a, b):
        return {"sum": a + b, "nested": (a - b, [2 * b])}


@pytest.fixture
def pair():
    return Network(Pair(), {"b": torch.ones(1, 2), "a": torch.zeros(1, 2)}, True, "pair")


def image(value=0.0):
    return torch.full((1, 3, 8, 8), value)


def test_inputs_are_passed_by_name_or_in_order(pair):
    inputs = {"a": torch.tensor([5.0]), "b": torch.tensor([2.0])}
    assert pair(inputs)["nested"][0] == 3
    ordered = Network(Pair(), dict(pair.example), False, "pair")
    assert ordered(inputs)["nested"][0] == -3


def test_outputs_are_flattened_in_order(pair):
    a, b = torch.tensor([5.0]), torch.tensor([2.0])
    flat = networks.flatten_outputs(pair({"a": a, "b": b}), "pair")
    assert [float(tensor) for tensor in flat] == [7, 3, 4]
    for empty, value in ((None, "pair"), (["text"], r"pair .*str")):
        with pytest.raises(InputError, match=value):
            networks.flatten_outputs(empty, "pair")


def test_weights_round_trip_and_do_not_reach_a_copy(tmp_path):
    network = Network(Net().eval(), {"image": image()}, False, "net")
    copy = network.copy()
    network.save(tmp_path / "w.safetensors")
    with torch.no_grad():
        network.module.conv.bias.add_(1)
    assert not torch.equal(copy.module.conv.bias, network.module.conv.bias)
    network.load(tmp_path / "w.safetensors")
    assert torch.equal(copy.module.conv.bias, network.module.conv.bias)


def test_weights_of_another_network_raise(tmp_path, pair):
    Network(Net(), {"image": image()}, False, "net").save(tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"w\.safetensors .*pair"):
        pair.load(tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match=r"w\.safetensors .*pair"):
        pair.load(tmp_path / "w.safetensors")


def test_converted_graph_has_the_shapes_and_layouts_of_the_ports():
    module = Net().train()
    network = Network(module, {"image": image()}, False, "net")
    port = Port(name="image", shape=(-1, 3, 8, 8), dtype="f32", layout="NCHW")
    model = network.to_openvino([port])
    assert not module.training
    assert model.input("image").partial_shape.to_string() == "[?,3,8,8]"
    assert model.get_parameters()[0].layout.to_string() == "[N,C,H,W]"
    assert list(network.to_openvino().input("image").shape) == [1, 3, 8, 8]


def test_argument_without_an_input_raises_with_the_names():
    model = Network(Net(), {"image": image()}, False, "net").to_openvino()
    with pytest.raises(InputError, match=r"net .*image, mask.* 1 "):
        networks.name_inputs(model, {"image": (1, 3, 8, 8), "mask": (1, 8)}, "net")


def test_source_that_runs_code_requires_trust():
    source = Source(kind="torch", reference="nets:net", sha256=None)
    with pytest.raises(InputError, match="nets:net") as raised:
        networks.load_source_network(source, SourceOptions())
    assert "--trust" in raised.value.hint
    with pytest.raises(InputError, match="nets:net") as raised:
        networks.load_network("nets:net", SourceOptions())
    assert "--trust" in raised.value.hint


def test_changed_or_unsuitable_source_raises():
    source = Source(kind="sample", reference="sample:lenet-300-100", sha256="0" * 64)
    with pytest.raises(InputError, match="sample:lenet-300-100"):
        networks.load_source_network(source, SourceOptions())
    source = Source(kind="onnx", reference="net.onnx", sha256=None)
    with pytest.raises(InputError, match=r"net\.onnx"):
        networks.load_source_network(source, SourceOptions(trust=True))


def reload(name):
    """Make Python read a module of the user anew, also if it changed within a second."""
    for cached in Path(sys.modules[name].__file__).parent.glob("__pycache__/*.pyc"):
        cached.unlink()
    sys.modules.pop(name, None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_network_is_built_again_with_the_shapes_and_types_of_the_conversion(nets):
    shapes = {"image": (-1, 3, 10, 10)}
    source = make("nets:net", nets / "out", input_shapes=shapes).record.source
    network = networks.load_source_network(source, SourceOptions(trust=True))
    assert network.example["image"].shape == (1, 3, 10, 10)
    torch.jit.script(Table()).save("table.pt")
    options = {"input_shapes": {"ids": (1, 5)}, "input_dtypes": {"ids": "i64"}, "trust": True}
    source = make("table.pt", nets / "table", **options).record.source
    network = networks.load_source_network(source, SourceOptions(trust=True))
    assert (network.example["ids"].shape, network.example["ids"].dtype) == ((1, 5), torch.int64)


@pytest.mark.slow
def test_only_what_is_built_counts_as_a_change_of_the_source(nets):
    path = nets / "nets.py"
    source = make("nets:with_example", nets / "out").record.source
    trusted = SourceOptions(trust=True)
    path.write_text("# a comment\n" + path.read_text().replace("class Two", "class Second"))
    reload("nets")
    network = networks.load_source_network(source, trusted)
    assert network.example["image"].shape == (1, 3, 8, 8)
    for old, new in (("manual_seed(0)", "manual_seed(1)"), ("torch.relu", "torch.tanh")):
        text = path.read_text()
        path.write_text(text.replace(old, new))
        reload("nets")
        with pytest.raises(InputError, match="nets:with_example"):
            networks.load_source_network(source, trusted)
        path.write_text(text)


class Table(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Embedding(9, 4)

    def forward(self, ids):
        return self.table(ids)
