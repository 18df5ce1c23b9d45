"""Every verb prints the same figures of a model: parameters, arithmetic, types, size, precision.

The numbers of parameters and multiply-adds are computed by formula or by PyTorch.
"""

import itertools
import json
import shutil
from dataclasses import dataclass

import numpy as np
import openvino as ov
import pytest
import torch
from openvino import opset15 as op

from ovtool import api
from ovtool.cli.commands.profile import print_profile
from ovtool.core import units
from ovtool.models.options import SourceOptions
from ovtool.report.summary import summarize
from ovtool.results.table import load_results
from tests.helpers.graphs import save
from tests.helpers.owned import QUICK
from tests.helpers.quantized_models import PARAMETERS, SIZES, save_mlp, write_dynamic, write_qdq
from tests.helpers.torch_modules import convert

pytestmark = pytest.mark.slow
nn = torch.nn


@dataclass
class Case:
    """A variant with its numbers for one sample; None is unknown."""

    variant: object
    parameters: int
    macs: int | None
    shapes: dict
    types: dict


def from_torch(folder, module, example, shape, layout):
    model = convert(module, example, shape)
    model.inputs[0].set_names({"x"})
    model.inputs[0].get_node().set_layout(ov.Layout(layout))
    for index, output in enumerate(model.outputs):
        output.set_names({f"y{index}"})
    return save(folder, model), sum(p.numel() for p in module.parameters())


def cnn(tmp_path):
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, groups=4),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip
    shape = [-1, 3, 16, 16]
    variant, parameters = from_torch(
        tmp_path / "cnn", module, torch.zeros(1, 3, 16, 16), shape, "NCHW"
    )
    macs = 16 * 16 * 9 * (16 * 3 + 16 * 4) + 160
    return Case(variant, parameters, macs, {}, {"f32": 100.0})


def transformer(tmp_path):
    module = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    shape, steps = [-1, -1, 32], 12
    variant, parameters = from_torch(
        tmp_path / "block", module, torch.zeros(1, 12, 32), shape, "NTC"
    )
    macs = steps * (4 * 32 * 32 + 2 * 32 * 64) + 2 * steps * steps * 32
    return Case(variant, parameters, macs, {"x": (1, steps, 32)}, {"f32": 100.0})


def recurrent(kind, gates):
    def make(tmp_path):
        module = getattr(nn, kind)(8, 16, batch_first=True)
        variant, parameters = from_torch(
            tmp_path / kind.lower(), module, torch.zeros(1, 10, 8), [-1, 10, 8], "NTC"
        )
        if kind == "LSTM":
            parameters -= gates * 16  # both biases are added up
        else:
            parameters -= 2 * 16  # those of two gates
        return Case(variant, parameters, 10 * gates * 16 * (8 + 16), {}, {"f32": 100.0})

    return make


def loop(tmp_path):
    """A product in each of five steps, and one in 8 bits after the loop."""
    rng = np.random.default_rng(0)
    x, step = op.parameter([-1, 5, 8], ov.Type.f32), op.parameter([-1, 1, 8], ov.Type.f32)
    rows = op.constant(rng.standard_normal((8, 48)).astype(np.float32))
    body = ov.Model([op.result(op.tanh(op.matmul(step, rows, False, False)))], [step], "step")
    steps = op.tensor_iterator()
    steps.set_body(body)
    steps.set_sliced_input(step, x.output(0), 0, 1, 1, -1, 1)
    joined = steps.get_concatenated_slices(body.get_results()[0].output(0), 0, 1, 1, -1, 1)
    stored = op.constant(rng.integers(-127, 127, (3, 48)).astype(np.int8))
    head = op.multiply(op.convert(stored, "f32"), op.constant(np.full((3, 1), 0.01, np.float32)))
    y = op.matmul(joined, head, False, True)
    y.output(0).set_names({"y0"})
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("NTC"))
    variant = save(tmp_path / "loop", ov.Model([op.result(y)], [x], "loop"))
    types = {"f32": 100 * 384 / 528, "i8": 100 * 144 / 528}
    return Case(variant, 8 * 48 + 48 * 3, 5 * (8 * 48 + 48 * 3), {}, types)


MLP_MACS = sum(a * b for a, b in itertools.pairwise(SIZES))


def onnx(name, write, types):
    def make(tmp_path):
        path = write(save_mlp(tmp_path / "mlp.onnx"), tmp_path / f"{name}.onnx")
        options = SourceOptions(tolerance=0.3, layouts={"x": "NC"})
        variant = api.convert(path, out=tmp_path / name, options=options)
        return Case(variant, PARAMETERS, MLP_MACS, {}, types)

    return make


def compressed(name, method, settings, types):
    def make(tmp_path):
        case = onnx("mlp", lambda source, _: source, {})(tmp_path)
        variant = api.compress(case.variant, method, settings=settings, out=tmp_path / name)
        return Case(variant, PARAMETERS, MLP_MACS, {}, types)

    return make


class Two(nn.Module):
    """Two heads on one layer."""

    def __init__(self):
        super().__init__()
        self.body, self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 3), nn.Linear(16, 5)

    def forward(self, x):
        h = self.body(x).relu()
        return self.a(h), self.b(h)


def two_outputs(tmp_path):
    variant, parameters = from_torch(tmp_path / "two", Two(), torch.zeros(1, 8), [-1, 8], "NC")
    return Case(variant, parameters, 8 * 16 + 16 * 8, {}, {"f32": 100.0})


def no_weights(tmp_path):
    x = op.parameter([-1, 8], ov.Type.f32)
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("NC"))
    y = op.softmax(x, 1)
    y.output(0).set_names({"y0"})
    variant = save(tmp_path / "softmax", ov.Model([op.result(y)], [x], "softmax"))
    return Case(variant, 0, 0, {}, {})


CASES = {
    "cnn": cnn,
    "transformer of any length": transformer,
    "GRU": recurrent("GRU", 3),
    "LSTM": recurrent("LSTM", 4),
    "loop": loop,
    "QDQ": onnx("qdq", write_qdq, {"i8": 100.0}),
    "dynamic quantization": onnx("dynamic", write_dynamic, {"i8": 100.0}),
    "weights in int8": compressed("w8", "weights", {}, {"u8": 100.0}),
    "weights in int4": compressed(
        "w4", "weights", {"mode": "int4_sym", "group_size": 8, "all_layers": True}, {"i4": 100.0}
    ),
    "shared weights": compressed(
        "shared",
        "weight-sharing",
        {"clusters": 16},
        {"f32": 100 * 240 / MLP_MACS, "u4": 100 - 100 * 240 / MLP_MACS},  # the last one is small
    ),
    "two outputs": two_outputs,
    "no weights": no_weights,
}


def weight_types(variant):
    from ovtool.graph.weights import count_weight_types

    counted = count_weight_types(ov.Core().read_model(variant.xml))
    return {share.type: share.share_pct for share in counted.shares}


@pytest.mark.parametrize("name", CASES)
def test_every_verb_has_the_same_figures(name, tmp_path, capsys):
    case = CASES[name](tmp_path)
    variant, shapes = case.variant, case.shapes
    analysis = api.analyze(variant, shapes=shapes)
    total = analysis.analysis.total
    assert total.parameters == case.parameters
    assert (None if total.uncounted else total.macs) == case.macs
    if case.types is not None:
        assert weight_types(variant) == pytest.approx(case.types, abs=0.01)

    axes = {n: ["x".join(map(str, shape))] for n, shape in shapes.items()}
    spec = api.SweepSpec(
        **QUICK, hints=["latency"], precisions=["f32"], shapes=axes,
        baseline=str(variant.folder) if variant.record.source.compression != "none" else None,
    )  # fmt: skip
    api.sweep([variant], out=tmp_path / "s", spec=spec)
    table = load_results([tmp_path / "s"])
    (row,) = table.records
    profile = api.profile(variant, precision="f32", shapes=shapes, seconds=0.1)
    sizes = {p.name: tuple(s if s > 0 else 1 for s in p.shape) for p in variant.record.inputs}
    values = {n: np.ones((4, *(shapes.get(n) or s)[1:]), np.float32) for n, s in sizes.items()}
    np.savez(tmp_path / "data.npz", **values)
    data = str(tmp_path / "data.npz")
    quality = api.evaluate(variant, data, baseline=variant, precision="f32")

    assert row["parameters"] == case.parameters
    assert row["model_mib"] == pytest.approx(variant.model_mib)
    if variant.record.steps:
        details = variant.record.steps[-1].details
        assert details["storage"]["parameters"] == case.parameters
        stored = {share["type"]: share["share_pct"] for share in details["weights"]}
        assert stored == weight_types(variant)
    assert row["gflops"] == pytest.approx(2e-9 * case.macs)
    assert profile.gflops == pytest.approx(2e-9 * case.macs)

    precisions = {row["executed_precision"], profile.executed_precision, quality.executed_precision}
    (precision,) = precisions
    if case.macs:
        shares = {p: row[f"flops_{p}_pct"] / 100 for p in ("i8", "bf16", "f16", "f32")}
        assert {p: s for p, s in shares.items() if s} == pytest.approx(profile.flops_shares)
        assert set(precision.split("+")) <= {p for p, s in shares.items() if s}
        assert "i8" in precision.split("+") or not shares["i8"]
    print_profile(profile, top=3, json=False)
    assert f"in {precision}" in " ".join(capsys.readouterr().out.split())

    shown = " ".join(cell for line in summarize([tmp_path / "s"]).rows for cell in line.cells)
    assert f"{units.text(variant.model_mib)} MiB" in shown
    files = api.report([tmp_path / "s"], out=tmp_path / "report")
    assert precision in files.page.read_text(encoding="utf-8")
    shutil.copytree(tmp_path / "s", tmp_path / "copy")
    comparison = api.compare(tmp_path / "s", tmp_path / "copy")
    for change in comparison.sizes:
        assert (change.a_mib, change.b_mib) == pytest.approx((variant.model_mib,) * 2)
    assert json.loads((tmp_path / "s" / "plan.json").read_text())["variants"]
