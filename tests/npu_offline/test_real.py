"""The real NPU compiler: what it compiles and rejects, and that no process is left."""

import sys

import openvino as ov
import psutil
import pytest

from ovtool import api
from ovtool.compile_check.compiling import Outcome, explain
from ovtool.compile_check.npu import offline
from ovtool.core.errors import OvtoolError
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.sweep_spec import SweepSpec
from ovtool.selection.choice_spec import ChoiceSpec
from tests.compile_check.graphs import with_segments
from tests.helpers import graphs as models

PLATFORMS = tuple(offline.PLATFORMS)


def skip_reason():
    if offline.find_native_library() is not None:
        return ""
    if offline.npu_compiler_folder() is None:
        return "the NPU compiler is not installed: run make test-npu-offline"
    try:
        offline.Wine.locate(offline.install_folder())
    except OvtoolError as error:
        return f"{error}: {error.hint}"
    return ""


SKIP_REASON = skip_reason()
pytestmark = [
    pytest.mark.npu_offline,
    pytest.mark.slow,
    pytest.mark.skipif(bool(SKIP_REASON), reason=SKIP_REASON or "installed"),
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
def test_model_compiles_for_every_platform_with_an_estimate(variants, name):
    for check in api.check(variants[name], devices=ALL):
        assert check.compiles, check.compiler_error
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


def test_estimates_of_a_sweep_are_of_whole_batches(variants, tmp_path):
    done = api.sweep(
        [variants["convolutional"], variants["segments"]],
        out=tmp_path / "s",
        spec=SweepSpec(
            devices=["NPU.4000"], with_estimates=True, batches=(1, 4), hints=("latency",)
        ),
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
    spec = ChoiceSpec(allow_estimates=True, objective="latency")
    assert api.choose([done.folder], spec=spec).winner["batch"] == 1


def test_text_model_compiles_with_fixed_shapes(variants):
    shapes = {"ids": (-1, 16), "mask": (-1, 16)}
    (check,) = api.check(variants["text"], devices=["NPU.4000"], shapes=shapes)
    assert check.compiles, check.compiler_error


@pytest.mark.parametrize("device", ALL)
def test_unsupported_operation_is_identified(variants, device):
    (check,) = api.check(variants["segments"], devices=[device])
    assert not check.compiles
    assert "fill_mode" in check.compiler_error
    (suspect,) = check.search.suspects
    assert (suspect.name, suspect.type, suspect.fails_alone) == ("largest.0", "SegmentMax", True)
    assert suspect.untested_same_type == 1
    assert check.search.rest_compiles


def test_open_dimensions_are_rejected(tmp_path):
    """ovtool itself fixes every dimension first."""
    ov.save_model(models.embedding(), tmp_path / "model.xml")
    with offline.compiler("4000") as compiler:
        check = compiler.compile(tmp_path / "model.xml", {})
    assert not check.compiled
    assert "Missing upper bound" in check.error
    assert explain(check).id == "open-dimension"


def test_unsupported_precision_is_explained(variants):
    (check,) = api.check(variants["convolutional"], devices=["NPU.4000"], precision="f32")
    assert not check.compiles
    for precision in ("f32", "f16", "i8"):
        assert precision in check.error
    assert check.search is None


def test_compile_is_killed_after_the_time_limit(variants):
    (check,) = api.check(variants["convolutional"], devices=["NPU.4000"], timeout_s=0.05)
    assert not check.compiles
    assert check.error == explain(Outcome("timeout")).meaning


@pytest.mark.skipif(sys.platform == "win32", reason="Windows needs no Wine")
def test_no_process_is_left(variants):
    api.check(variants["convolutional"], devices=["NPU.4000"])
    prefix = str(offline.install_folder())
    remaining = []
    for process in psutil.process_iter():
        try:
            if prefix in process.environ().get("WINEPREFIX", ""):
                remaining.append(process.name())
        except psutil.Error:
            continue
    assert remaining == []
