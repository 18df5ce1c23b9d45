"""Profiles of small networks; no test depends on speed."""

import csv
import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from ovtool import api
from ovtool.benchmark import process
from ovtool.core.errors import InputError, MissingDeviceError
from tests.helpers import graphs as models

pytestmark = pytest.mark.usefixtures("local_workers")

SECONDS = 0.05
INT8 = ("conv0", "classifier")


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    folder = tmp_path_factory.mktemp("variants")
    return {
        "float": models.save(folder / "float", models.convolutional()),
        "int8": models.save(folder / "int8", models.convolutional(int8=INT8)),
    }


@pytest.fixture(scope="module")
def written(variants, tmp_path_factory):
    """The profile of an INT8 model with a layer left in f32, and its folder."""
    out = tmp_path_factory.mktemp("profiles") / "int8"
    return out, api.profile(variants["int8"], batch=4, precision="f32", seconds=SECONDS, out=out)


@pytest.mark.slow
def test_every_layer_has_time_and_precision(written):
    _, result = written
    assert (result.variant, result.device, result.batch, result.load) == (
        "int8",
        "CPU",
        4,
        "latency",
    )
    assert result.executed_precision == "i8+f32"
    assert {"conv0", "conv1"} <= {layer.name for layer in result.layers}
    times = [layer.time_ms for layer in result.layers]
    assert times == sorted(times, reverse=True)
    assert result.layers_ms == pytest.approx(sum(times))
    assert result.layers_ms > 0
    assert min(result.latency_ms, result.latency_counted_ms) > 0
    assert result.attributed == 1
    assert result.others_cpu_pct >= 0
    conv0, conv1, classifier = (2 * 32 * 256 * 3 * 9, 2 * 32 * 256 * 32 * 9, 2 * 10 * 32)
    assert result.gflops == pytest.approx((conv0 + conv1 + classifier) / 1e9)
    rows = {row.name: row for row in result.by_layer}
    assert rows["conv1"].gflops == pytest.approx(4 * conv1 / 1e9)  # of four samples


@pytest.mark.slow
def test_fallbacks_are_the_layers_in_f32(written):
    _, result = written
    assert [layer.name for layer in result.fallbacks] == ["conv1"]
    assert set(result.flops_shares) == {"i8", "f32"}
    assert result.flops_shares["f32"] > 0.9
    assert sum(result.time_shares.values()) == pytest.approx(1)


@pytest.mark.slow
def test_the_folder_has_a_table_a_document_and_a_chart(written):
    out, result = written
    with result.files.csv.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == [layer.name for layer in result.layers]
    assert float(rows[-1]["cumulative_pct"]) == pytest.approx(100)
    document = json.loads(result.files.document.read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(result.to_json()))
    assert document["fallbacks"] == ["conv1"]
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()) == [
        ".ovtool", "charts/time-by-layer.png", "charts/time-by-layer.svg", "layers.csv",
        "profile.json",
    ]  # fmt: skip
    assert all(path.is_file() for path in result.files.charts)
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.slow
def test_an_existing_folder_is_replaced_only_on_request(variants, written):
    out, _ = written
    before = (out / "profile.json").read_bytes()
    with pytest.raises(InputError, match=re.escape(str(out))):
        api.profile(variants["float"], seconds=SECONDS, out=out)
    assert (out / "profile.json").read_bytes() == before


@pytest.mark.slow
def test_a_model_is_converted_first(owned, tmp_path):
    result = api.profile(
        owned.onnx, seconds=SECONDS, out=tmp_path / "out", data=str(owned.labelled)
    )
    assert result.variant == "classifier"
    assert (tmp_path / "out-source" / "variant.json").is_file()
    assert result.files.document == tmp_path / "out" / "profile.json"
    without_folder = api.profile(owned.onnx, seconds=SECONDS)
    assert without_folder.files is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "out-source"]


@pytest.mark.slow
@pytest.mark.parametrize(("others_pct", "noted"), [(4.9, []), (30.0, ["contended"]), (None, [])])
def test_a_busy_machine_is_noted(variants, monkeypatch, others_pct, noted):
    profile = process.ProcessSession.profile

    def busy_profile(session, seconds):
        return replace(profile(session, seconds), others_cpu_pct=others_pct)

    monkeypatch.setattr(process.ProcessSession, "profile", busy_profile)
    result = api.profile(variants["float"], seconds=SECONDS)
    assert [note.id for note in result.notes if note.id == "contended"] == noted


@pytest.mark.slow
@pytest.mark.parametrize("device", ["HETERO:CPU", "AUTO:CPU"])
def test_a_virtual_device_has_layers(variants, device):
    result = api.profile(variants["float"], device=device, hint="throughput", seconds=SECONDS)
    assert {"conv0", "conv1"} <= {layer.name for layer in result.layers}
    assert {layer.device for layer in result.layers} == {"CPU"}


@pytest.mark.slow
def test_an_open_dimension_needs_a_shape(tmp_path):
    model = models.convolutional()
    model.reshape([-1, 3, -1, 16])
    variant = models.save(tmp_path / "open", model)
    with pytest.raises(InputError, match="2 of input x"):
        api.profile(variant, seconds=SECONDS)
    result = api.profile(variant, shapes={"x": (-1, 3, 24, 16)}, seconds=SECONDS)
    assert result.gflops == pytest.approx((2 * 32 * 24 * 16 * 35 * 9 + 640) / 1e9)


@pytest.mark.parametrize(
    ("wrong", "value"),
    [
        ({"hint": "fastest"}, "'fastest'"),
        ({"precision": "f31"}, "'f31'"),
        ({"batch": 0}, "batch: .*0"),
        ({"shapes": {"y": (1,)}}, "'y'"),
        ({"shapes": {"x": (-1, 3)}}, "\\b4\\b"),
        ({"device": "XPU"}, "'XPU'"),
    ],
)
def test_an_invalid_argument_is_named_and_no_file_written(variants, tmp_path, wrong, value):
    with pytest.raises((InputError, MissingDeviceError), match=value):
        api.profile(variants["float"], out=tmp_path / "out", seconds=SECONDS, **wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_crashed_worker_gives_an_error_of_one_line(variants, tmp_path, monkeypatch):
    program = "import sys; print('driver broke', file=sys.stderr); sys.exit(3)"
    monkeypatch.setattr(process, "_COMMAND", (sys.executable, "-c", program))
    with pytest.raises(InputError, match=r"float CPU batch 1 latency: .*driver broke") as caught:
        api.profile(variants["float"], out=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_data_of_another_shape_are_rejected(variants, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.ones((4, 3, 8, 8), np.float32))
    with pytest.raises(InputError, match="x"):
        api.profile(variants["float"], data=str(tmp_path / "x.npz"), seconds=SECONDS)
