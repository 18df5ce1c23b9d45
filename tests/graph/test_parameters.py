"""Numbers of parameters, compared with those of PyTorch and with formulas."""

import numpy as np
import openvino as ov
import pytest
import torch
from openvino import opset15 as op

from ovtool.graph.counts import analyze
from ovtool.graph.parameters import count_parameters
from tests.helpers.quantized_models import PARAMETERS, save_mlp, write_dynamic, write_qdq
from tests.helpers.torch_modules import convert


def total(model):
    return sum(count.values for count in count_parameters(model).values())


def saved(model, folder):
    """The graph as a file stores it: equal constants once."""
    ov.save_model(model, folder / "m.xml", compress_to_fp16=False)
    return ov.Core().read_model(folder / "m.xml")


class Tied(torch.nn.Module):
    """An embedding of which the last layer reads the table too."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(50, 32)
        self.positions = torch.nn.Embedding(40, 32)
        block = torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
        self.block = block
        self.head = torch.nn.Linear(32, 50, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids):
        places = torch.arange(ids.shape[1])
        return self.head(self.block(self.table(ids) + self.positions(places)))


@pytest.mark.slow
def test_convolutions(tmp_path):
    nn = torch.nn
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ConvTranspose2d(8, 4, 2),
        nn.PReLU(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5),
    )  # fmt: skip
    model = convert(module, torch.zeros(1, 3, 12, 12), [-1, 3, 12, 12])
    assert total(saved(model, tmp_path)) == sum(p.numel() for p in module.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("length", [-1, 6])
def test_transformer_with_tied_embeddings(tmp_path, length):
    torch.manual_seed(0)
    module = Tied()
    model = convert(module, torch.zeros(1, 6, dtype=torch.int64), [-1, length])
    expected = sum(p.numel() for p in module.parameters())
    assert total(saved(model, tmp_path)) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "gates", "biases"), [("LSTM", 4, 4), ("GRU", 3, 4), ("RNN", 1, 1)]
)
def test_recurrent_layers_add_up_their_biases(tmp_path, kind, gates, biases):
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(8, 16, batch_first=True, bidirectional=True)
    model = convert(module, torch.zeros(2, 5, 8), [-1, 5, 8])
    matrices = 2 * gates * 16 * (8 + 16)
    assert total(saved(model, tmp_path)) == matrices + 2 * biases * 16


def test_parameters_do_not_depend_on_the_shape(tmp_path):
    module = torch.nn.LSTM(8, 16, batch_first=True)
    model = saved(convert(module, torch.zeros(2, 5, 8), [-1, -1, 8]), tmp_path)
    before = total(model)
    model.reshape([4, 7, 8])
    assert total(model) == before == analyze(model).total.parameters


@pytest.mark.parametrize(
    "write",
    [
        lambda source, _: source,
        write_qdq,
        lambda source, target: write_qdq(source, target, per_channel=True),
        write_dynamic,
        lambda source, target: write_dynamic(source, target, per_channel=True),
    ],
    ids=["float", "qdq", "qdq by channel", "dynamic", "dynamic by channel"],
)
def test_quantization_keeps_the_number(tmp_path, write):
    path = write(save_mlp(tmp_path / "mlp.onnx"), tmp_path / "q.onnx")
    assert total(saved(ov.Core().read_model(path), tmp_path)) == PARAMETERS


@pytest.mark.parametrize("outside", [True, False])
def test_parameters_of_a_body_belong_to_its_loop(outside):
    x, step = op.parameter([1, 5, 8], ov.Type.f32), op.parameter([1, 1, 8], ov.Type.f32)
    rows = op.constant(np.arange(64, dtype=np.float32).reshape(8, 8))
    inner = op.parameter([8, 8], ov.Type.f32) if outside else rows
    y = op.result(op.matmul(step, inner, False, False))
    body = ov.Model([y], [step, inner] if outside else [step], "step")
    loop = op.tensor_iterator()
    loop.set_body(body)
    loop.set_sliced_input(step, x.output(0), 0, 1, 1, -1, 1)
    if outside:
        loop.set_invariant_input(inner, rows.output(0))
    joined = loop.get_concatenated_slices(y.output(0), 0, 1, 1, -1, 1)
    model = ov.Model([op.result(joined)], [x])
    assert {name: c.values for name, c in count_parameters(model).items()} == {loop.get_name(): 64}


def test_scalars_states_ranges_and_tables_of_indices_are_no_parameters():
    x = op.parameter([1, 8], ov.Type.f32)
    low, high = op.constant(np.zeros(8, np.float32)), op.constant(np.ones(8, np.float32))
    rounded = op.fake_quantize(x, low, high, low, high, 256)
    places = op.constant(np.arange(4096))
    looked_up = op.gather(places, op.convert(x, "i64"), op.constant(np.int64(0)))
    y = op.add(op.multiply(rounded, op.constant(np.float32(3))), op.convert(looked_up, "f32"))
    assert total(ov.Model([op.result(y)], [x])) == 0
