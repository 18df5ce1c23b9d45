"""The verb deploy: the bundle of a choice, and what it cannot be made of."""

import json

import numpy as np
import pytest

from ovtool import api
from ovtool.core.errors import InputError
from ovtool.core.third_party import read_graph
from ovtool.core.variant import Variant
from ovtool.datasets.image_transform import load_image, make_transform
from ovtool.deploy.manifest import read_manifest
from ovtool.deploy.python_program import SAMPLE_INPUTS, SAMPLE_OUTPUTS
from ovtool.graph.reference_run import ReferenceModel
from ovtool.selection.choice import NothingFitsError
from tests.helpers import graphs
from tests.helpers.bundles import CLASSES, QUICK

RUNGS = ["files", "code", "versions", "device", "properties", "program", "outputs", "latency"]


def test_the_bundle_has_the_chosen_row(deployed):
    manifest, choice = read_manifest(deployed.bundle), deployed.result.choice
    assert (manifest.package, manifest.target) == ("tiny_net", "python")
    assert manifest.trial.batch == choice.winner["batch"] == 2
    assert manifest.properties == choice.properties == {"PERFORMANCE_HINT": "LATENCY"}
    assert manifest.row.kind == "measured"
    names = ("latency_p50_ms", "latency_p50_ms_ci_low", "latency_p50_ms_ci_high", "verdict")
    assert [manifest.row.figures[n] for n in names] == [choice.winner[n] for n in names]
    assert manifest.variant.sha256 == deployed.variant.record.sha256
    assert manifest.labels == CLASSES
    config = json.loads((deployed.bundle / "tiny_net/config.json").read_text())
    assert config["properties"] == choice.properties
    assert config["requests"] == choice.winner["requests"]


def test_every_rung_is_reached(deployed):
    rungs = deployed.result.verification.rungs
    assert [rung.name for rung in rungs] == RUNGS[:-1]
    assert all(rung.reached for rung in rungs)
    stored = json.loads((deployed.bundle / "VERIFICATION.json").read_text())
    assert [rung["name"] for rung in stored["rungs"]] == RUNGS[:-1]


def test_the_stored_outputs_are_those_of_the_variant_on_evaluated_images(deployed):
    """Raw pixels in the bundle, the preprocessing of the evaluation in the reference."""
    inputs, outputs = (np.load(deployed.bundle / n) for n in (SAMPLE_INPUTS, SAMPLE_OUTPUTS))
    assert inputs["x"].shape == (4, 16, 16, 3)
    assert inputs["x"].dtype == np.uint8
    variant = Variant.load(deployed.variant)
    transform = make_transform(variant.record.inputs, variant.record.preprocessing)
    images = {p: load_image(p, transform) for p in deployed.images.rglob("*.png")}
    exact = ReferenceModel(read_graph(variant.xml))
    known = {p: exact.run({0: image[None]})[0][0] for p, image in images.items()}
    for row in outputs["scores"]:
        assert min(np.abs(row - scores).max() for scores in known.values()) < 1e-4


@pytest.mark.slow
def test_arrays_stay_arrays_and_noise_stands_for_missing_data(tmp_path, local_workers):
    variant = graphs.save(tmp_path / "text", graphs.embedding())
    swept = api.sweep(
        [variant], out=tmp_path / "s", shapes={"ids": "?x6", "mask": "?x6"}, hints=["throughput"],
        **QUICK,
    )  # fmt: skip
    bundle = api.deploy(swept.folder, tmp_path / "bundle", latency=False)
    assert [note.id for note in bundle.notes] == ["samples-random"]
    manifest = read_manifest(bundle.folder)
    assert manifest.image is None
    assert [(p.name, p.shape, p.dtype) for p in manifest.inputs] == [
        ("ids", (1, 6), "i64"), ("mask", (1, 6), "i64"),
    ]  # fmt: skip
    assert manifest.requests == bundle.choice.winner["requests"]
    assert [r.name for r in bundle.verification.rungs] == RUNGS[:-1]
    assert not (bundle.folder / "requirements-images.txt").exists()


@pytest.mark.slow
def test_limits_and_rows_by_hand(deployed, tmp_path, local_workers):
    with pytest.raises(NothingFitsError):
        api.deploy(deployed.sweep, tmp_path / "b", max_latency_ms=1e-6)
    for wrong in ({"batch": 3}, {"variant": "other"}, {"device": "GPU"}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            api.deploy(deployed.sweep, tmp_path / "b", **wrong)
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"target": "java"}, {"name": "json"}, {"name": "../x"}, {"name": "numpy"}, {"data": "gone"}],
)
def test_wrong_options_leave_nothing(deployed, tmp_path, local_workers, options):
    with pytest.raises(InputError):
        api.deploy(deployed.sweep, tmp_path / "b", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_list_of_classes_must_fit_the_outputs(deployed, tmp_path, local_workers):
    (tmp_path / "two.txt").write_text("cat\ndog\n")
    with pytest.raises(InputError, match="2 classes"):
        api.deploy(deployed.sweep, tmp_path / "b", classes=tmp_path / "two.txt")


@pytest.mark.slow
def test_models_that_a_bundle_cannot_run(deployed, tmp_path, local_workers):
    stateful = graphs.save(tmp_path / "stateful", graphs.accumulating())
    swept = api.sweep([stateful], out=tmp_path / "s", hints=["latency"], **QUICK)
    with pytest.raises(InputError, match="state"):
        api.deploy(swept.folder, tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
def test_a_changed_variant_is_refused(tmp_path, local_workers):
    variant = graphs.save(tmp_path / "dense", graphs.fully_connected())
    swept = api.sweep([variant], out=tmp_path / "s", hints=["latency"], **QUICK)
    variant.bin.write_bytes(variant.bin.read_bytes()[:-4] + b"\1\2\3\4")
    with pytest.raises(InputError, match="changed"):
        api.deploy(swept.folder, tmp_path / "b")
