"""EfficientNet-Lite0 on the real GPU plugin: quality, a sweep, the report, no choice."""

from pathlib import Path

import pytest

from ovtool import api
from ovtool.core.errors import NothingMeasuredError
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.sweep_spec import SweepSpec
from tests.gpu_emulated.conftest import QUICK
from tests.helpers.report_pages import cells

BATCHES = (1, 2, 4)
NAMES = ("fp32", "int8", "int8-weights")


def quality(lite0, name, device):
    quality_result = api.evaluate(
        lite0[name],
        "sample:imagenet20",
        baseline=lite0["fp32"],
        device=device,
        precision="f32",
        batch=4,
    )
    assert quality_result.figures["quality_samples"] == 20
    return quality_result


def has_exact_int8_kernels():
    """Whether the CPU multiplies 8-bit integers without saturating sums of two products."""
    flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    return not {"avx512_vnni", "avx_vnni", "amx_int8"}.isdisjoint(flags)


def test_fp32_agrees_with_the_cpu(lite0):
    quality_result = quality(lite0, "fp32", "GPU")
    assert quality_result.executed_precision == "f32"
    assert quality_result.figures["agreement_top1"] == 1
    assert quality_result.figures["output_max_abs_difference"] < 1e-3
    assert quality_result.difference.error < 1e-3
    assert quality_result.device.endswith("(emulated)")
    assert "emulated" in {note.id for note in quality_result.notes}


@pytest.mark.parametrize("name", NAMES[1:])
def test_compressed_variants_agree_with_the_cpu(lite0, name):
    if name == "int8" and not has_exact_int8_kernels():
        pytest.skip("INT8 kernels of a CPU without VNNI saturate their 16-bit sums")
    gpu, cpu = (quality(lite0, name, device) for device in ("GPU", "CPU"))
    assert gpu.figures["output_cosine"] == pytest.approx(cpu.figures["output_cosine"], abs=0.01)
    assert abs(gpu.figures["agreement_top1"] - cpu.figures["agreement_top1"]) <= 0.1
    assert not cpu.device.endswith("(emulated)")


@pytest.fixture(scope="module")
def swept(lite0, tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept") / "sweep"
    spec = SweepSpec(devices=["GPU"], batches=BATCHES, hints=("latency",))
    api.sweep(lite0.values(), out=folder, spec=spec.model_copy(update=QUICK))
    return folder


def test_every_batch_runs_with_its_settings(swept):
    """Only one hint: four requests in flight of this network take long."""
    by = {(m.trial.variant_name, m.trial.batch): m for m in SweepFolder(swept).measurements()}
    assert {key: m.reason for key, m in by.items() if m.status != "ok"} == {}
    assert set(by) == {(n, b) for n in NAMES for b in BATCHES}
    for row in by.values():
        assert row.emulated
        assert row.properties["ALLOW_AUTO_BATCHING"] == "NO"
        assert row.properties["PERFORMANCE_HINT"] == "LATENCY"
        assert row.figures["inferences"] >= 1
        assert row.figures["requests"] == 1
        assert row.executed_precision


def test_starts_use_the_model_cache(swept):
    for row in SweepFolder(swept).measurements():
        assert row.figures["blob_mib"] > 1
        assert "no-cached-start" not in {note.id for note in row.notes}
        assert row.figures["compile_cached_ms"] < row.figures["compile_cold_ms"]


def test_report_has_no_emulated_result(swept, tmp_path):
    written = api.report([swept], out=tmp_path / "report")
    page = written.page.read_text()
    assert written.charts == ()
    shown = cells(page)
    assert shown.count("GPU.0 (emulated)") + shown.count("GPU (emulated)") == 9
    assert "No recommendation" in page
    assert all("(emulated)" in row.name for row in api.summarize([swept]).rows)


def test_no_row_can_be_chosen(swept):
    with pytest.raises(NothingMeasuredError, match=r"9 .*GPU"):
        api.choose([swept])
