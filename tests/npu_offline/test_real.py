"""The NPU's real compiler: what it takes, what it refuses, and that nothing of it stays."""

import sys

import openvino as ov
import psutil
import pytest

from ovtool import api
from ovtool.compile_check.compiling import explain
from ovtool.compile_check.npu import offline
from ovtool.core.errors import OvtoolError
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.trial_grid import Axes
from ovtool.selection.limits import Limits
from tests.compile_check.graphs import with_segments
from tests.helpers import graphs as models

PLATFORMS = tuple(offline.PLATFORMS)


def why_not():
    if offline.native() is not None:
        return ""
    if offline.installed() is None:
        return "the NPU's compiler is not installed: make test-npu-offline does it"
    try:
        offline.Wine.found(offline.home())
    except OvtoolError as error:
        return f"{error}: {error.hint}"
    return ""


WHY_NOT = why_not()
pytestmark = [
    pytest.mark.npu_offline,
    pytest.mark.slow,
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it is there"),
]
ALL = [f"NPU.{platform}" for platform in PLATFORMS]


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    folder = tmp_path_factory.mktemp("variants")

    def save(name, model):
        return models.save(folder / name, model)

    return {
        "convolutional": save("convolutional", models.convolutional()),
        "int8": save("int8", models.convolutional(int8=("conv0", "conv1", "classifier"))),
        "transformer": save("transformer", models.attention(fused=True)),
        "text": save("text", models.embedding()),
        "segments": save("segments", with_segments(count=2)),
    }


@pytest.mark.parametrize("name", ["convolutional", "int8", "transformer"])
def test_it_compiles_for_every_platform_and_estimates(variants, name):
    found = api.check(variants[name], devices=ALL)
    for check in found:
        assert check.compiles, check.said
        assert check.blob_mib > 0
        assert 0 < check.compiler_estimate_ms < 100
        assert check.openvino.startswith(ov.get_version().split("-")[0])


def test_static_batches_compile(variants):
    one, four = (
        api.check(variants["convolutional"], devices=["NPU.4000"], batch=batch)[0]
        for batch in (1, 4)
    )
    assert one.compiles
    assert four.compiles
    assert dict(four.shapes)["x"][0] == 4
    assert (one.of_one_sample, four.of_one_sample) == (False, True)
    assert four.compiler_estimate_ms == one.compiler_estimate_ms, "the plugin no longer splits it"


def test_a_sweeps_estimates_are_of_whole_batches(variants, tmp_path):
    done = api.sweep(
        [variants["convolutional"], variants["segments"]],
        out=tmp_path / "s",
        devices=["NPU.4000"],
        axes=Axes(batches=(1, 4), hints=("latency",)),
        with_estimates=True,
    )
    rows = {
        (m.trial.variant_name, m.trial.batch): m for m in SweepFolder(done.folder).measurements()
    }
    one, four = (rows["convolutional", batch] for batch in (1, 4))
    assert one.status == four.status == "estimated"
    assert four.figures["latency_estimate_ms"] > 1.5 * one.figures["latency_estimate_ms"]
    assert four.properties["NPU_BATCH_MODE"] == "COMPILER"
    assert rows["segments", 1].status == rows["segments", 4].status == "failed"
    assert "fill_mode" in rows["segments", 1].reason
    assert (
        api.choose([done.folder], limits=Limits(allow_estimates=True), objective="latency").winner[
            "batch"
        ]
        == 1
    )


def test_a_text_model_compiles_with_its_shapes_given(variants):
    shapes = {"ids": (-1, 16), "mask": (-1, 16)}
    (found,) = api.check(variants["text"], devices=["NPU.4000"], shapes=shapes)
    assert found.compiles, found.said


@pytest.mark.parametrize("device", ALL)
def test_an_operation_that_it_does_not_know_is_named(variants, device):
    (found,) = api.check(variants["segments"], devices=[device])
    assert not found.compiles
    assert "fill_mode" in found.said
    (suspect,) = found.search.suspects
    assert (suspect.name, suspect.type, suspect.alone) == ("largest.0", "SegmentMax", True)
    assert suspect.alike == 1
    assert found.search.rest_compiles


def test_open_dimensions_are_refused_and_told(tmp_path):
    """As ovtool itself never asks it to: it fixes every dimension first."""
    ov.save_model(models.embedding(), tmp_path / "model.xml")
    with offline.compiler("4000") as compiler:
        found = compiler.compile(tmp_path / "model.xml", {})
    assert not found.compiled
    assert "Missing upper bound" in found.error
    assert explain(found.error).meaning == (
        "the NPU's compiler takes no open dimension without an upper bound"
    )


def test_a_precision_that_it_does_not_have_is_told(variants):
    (found,) = api.check(variants["convolutional"], devices=["NPU.4000"], precision="f32")
    assert not found.compiles
    assert found.error == "the device does not run in f32, only in f16, i8"
    assert found.search is None


def test_a_compile_that_takes_too_long_is_ended(variants):
    (found,) = api.check(variants["convolutional"], devices=["NPU.4000"], timeout_s=0.05)
    assert not found.compiles
    assert "took too long" in found.error


@pytest.mark.skipif(sys.platform == "win32", reason="there is no Wine on Windows")
def test_nothing_outlives_it(variants):
    api.check(variants["convolutional"], devices=["NPU.4000"])
    prefix = str(offline.home())
    left = []
    for process in psutil.process_iter():
        try:
            if prefix in process.environ().get("WINEPREFIX", ""):
                left.append(process.name())
        except psutil.Error:
            continue
    assert left == []
