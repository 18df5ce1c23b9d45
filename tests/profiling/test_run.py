"""Profiles of real small networks, taken by real processes.  No test depends on speed."""

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


def test_every_layer_has_its_time_and_precision(written):
    _, found = written
    assert (found.variant, found.device, found.batch, found.load) == ("int8", "CPU", 4, "latency")
    assert found.executed_precision == "i8+f32"
    assert {"conv0", "conv1"} <= {layer.name for layer in found.layers}
    times = [layer.time_ms for layer in found.layers]
    assert times == sorted(times, reverse=True)
    assert found.layers_ms == pytest.approx(sum(times))
    assert found.layers_ms > 0
    assert min(found.latency_ms, found.latency_counted_ms) > 0
    assert found.attributed == 1
    assert found.others_cpu_pct >= 0
    conv0, conv1, classifier = (2 * 32 * 256 * 3 * 9, 2 * 32 * 256 * 32 * 9, 2 * 10 * 32)
    assert found.gflops == pytest.approx((conv0 + conv1 + classifier) / 1e9)
    rows = {row.name: row for row in found.by_layer}
    assert rows["conv1"].gflops == pytest.approx(4 * conv1 / 1e9), "a request has four samples"


def test_the_layer_left_in_f32_is_named(written):
    _, found = written
    assert [layer.name for layer in found.fallbacks] == ["conv1"]
    assert set(found.flops_shares) == {"i8", "f32"}
    assert found.flops_shares["f32"] > 0.9
    assert sum(found.time_shares.values()) == pytest.approx(1)


def test_the_folder_has_a_table_a_document_and_a_chart(written):
    out, found = written
    with found.files.csv.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == [layer.name for layer in found.layers]
    assert float(rows[-1]["cumulative_pct"]) == pytest.approx(100)
    document = json.loads(found.files.document.read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(found.to_json()))
    assert document["fallbacks"] == ["conv1"]
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()) == [
        "charts/time-by-layer.png", "charts/time-by-layer.svg", "layers.csv", "profile.json",
    ]  # fmt: skip
    assert all(path.is_file() for path in found.files.charts)
    assert list(out.parent.iterdir()) == [out], "nothing is left beside it"


def test_a_folder_that_is_there_is_replaced_only_when_asked(variants, written):
    out, _ = written
    before = (out / "profile.json").read_bytes()
    with pytest.raises(InputError, match=re.escape(str(out))):
        api.profile(variants["float"], seconds=SECONDS, out=out)
    assert (out / "profile.json").read_bytes() == before


@pytest.mark.slow
def test_a_model_that_is_no_variant_is_converted_first(owned, tmp_path):
    found = api.profile(owned.onnx, seconds=SECONDS, out=tmp_path / "out", data=str(owned.labelled))
    assert found.variant == "classifier"
    assert (tmp_path / "out-source" / "variant.json").is_file()
    assert found.files.document == tmp_path / "out" / "profile.json"
    alone = api.profile(owned.onnx, seconds=SECONDS)
    assert alone.files is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "out-source"]


@pytest.mark.parametrize(("others_pct", "noted"), [(4.9, []), (30.0, ["contended"]), (None, [])])
def test_a_busy_machine_is_noted(variants, monkeypatch, others_pct, noted):
    profile = process.ProcessSession.profile

    def beside_others(session, seconds):
        return replace(profile(session, seconds), others_cpu_pct=others_pct)

    monkeypatch.setattr(process.ProcessSession, "profile", beside_others)
    found = api.profile(variants["float"], seconds=SECONDS)
    assert [note.id for note in found.notes if note.id == "contended"] == noted


@pytest.mark.parametrize("device", ["HETERO:CPU", "AUTO:CPU"])
def test_a_virtual_device_shows_its_layers_too(variants, device):
    found = api.profile(variants["float"], device=device, hint="throughput", seconds=SECONDS)
    assert {"conv0", "conv1"} <= {layer.name for layer in found.layers}
    assert {layer.device for layer in found.layers} == {"CPU"}


def test_an_open_shape_is_given(tmp_path):
    model = models.convolutional()
    model.reshape([-1, 3, -1, 16])
    made = models.save(tmp_path / "open", model)
    with pytest.raises(InputError, match="dimension 2 of input x is open"):
        api.profile(made, seconds=SECONDS)
    found = api.profile(made, shapes={"x": (-1, 3, 24, 16)}, seconds=SECONDS)
    assert found.gflops == pytest.approx((2 * 32 * 24 * 16 * 35 * 9 + 640) / 1e9)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"hint": "fastest"}, "'fastest'"),
        ({"precision": "f31"}, "'f31'"),
        ({"batch": 0}, "batch: .*0"),
        ({"shapes": {"y": (1,)}}, "no variant has an input 'y'"),
        ({"shapes": {"x": (-1, 3)}}, "has 4 dimensions"),
        ({"device": "XPU"}, "unknown device 'XPU'"),
    ],
)
def test_what_is_not_possible_is_said_and_nothing_is_written(variants, tmp_path, wrong, said):
    with pytest.raises((InputError, MissingDeviceError), match=said):
        api.profile(variants["float"], out=tmp_path / "out", seconds=SECONDS, **wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_dies_is_one_line(variants, tmp_path, monkeypatch):
    program = "import sys; print('driver broke', file=sys.stderr); sys.exit(3)"
    monkeypatch.setattr(process, "_COMMAND", (sys.executable, "-c", program))
    with pytest.raises(InputError, match=r"float CPU batch 1 latency: .*driver broke") as caught:
        api.profile(variants["float"], out=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_inputs_that_do_not_fit_are_said(variants, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.ones((4, 3, 8, 8), np.float32))
    with pytest.raises(InputError, match="x"):
        api.profile(variants["float"], data=str(tmp_path / "x.npz"), seconds=SECONDS)
