"""Sweeps over NPUs that are not available, with a scripted compiler."""

import pytest

from ovtool import api
from ovtool.benchmark.fake import FakeRunner
from ovtool.compile_check import compile_check
from ovtool.compile_check.compiling import Outcome
from ovtool.compile_check.npu import offline
from ovtool.core.errors import InputError, MissingDeviceError, NothingMeasuredError
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.sweep_spec import FindRate, SweepSpec
from ovtool.devices import discovery
from ovtool.devices.discovery import Device
from ovtool.results.table import load_results
from ovtool.sweep import estimates, measurer
from tests.benchmark.scripted import even
from tests.compile_check.graphs import with_segments
from tests.compile_check.test_compile_check import Scripted, good, no_segments
from tests.helpers.graphs import convolutional, embedding, save
from tests.helpers.owned import QUICK

pytestmark = pytest.mark.usefixtures("local_workers")

NO_NPU = Device("NPU", available=False, unavailable_reason="no driver")
CPU = Device("CPU", available=True)
ONE = {"devices": ["NPU.4000"], "with_estimates": True, "batches": (1,), "hints": ("latency",)}


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine with a fake CPU and no NPU."""
    monkeypatch.setattr(discovery, "discover", lambda *_: [CPU, NO_NPU])
    monkeypatch.setattr(measurer, "ProcessRunner", lambda **_: FakeRunner(even))


@pytest.fixture
def compiler(monkeypatch):
    def use(answer):
        scripted = Scripted(answer)
        monkeypatch.setattr(offline, "compiler", lambda *_: scripted)
        return scripted

    return use


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    folder = tmp_path_factory.mktemp("v")
    models = {"net": convolutional(), "segments": with_segments(), "text": embedding()}
    return {name: save(folder / name, model) for name, model in models.items()}


def rows_of(folder):
    return list(SweepFolder(folder).measurements())


@pytest.mark.slow
def test_each_trial_is_compiled_with_its_own_static_batch(variants, compiler, tmp_path):
    script = compiler(good)
    devices = ["CPU", "NPU.3720", "NPU.4000"]
    spec = SweepSpec(**QUICK, **ONE | {"devices": devices, "batches": (1, 4)})
    done = api.sweep([variants["net"]], out=tmp_path / "s", spec=spec)
    assert (done.measured, done.estimated, done.failed, done.unavailable) == (2, 4, 0, {})
    compiled = [tuple(model.inputs[0].shape) for model in script.models]
    assert compiled == [(1, 3, 16, 16), (4, 3, 16, 16)] * 2
    assert script.properties[0]["PERFORMANCE_HINT"] == "LATENCY"
    assert [properties.get("NPU_BATCH_MODE") for properties in script.properties] == [
        None,
        "COMPILER",
    ] * 2
    rows = {(m.trial.device, m.trial.batch): m for m in rows_of(done.folder)}
    for (device, _), row in rows.items():
        assert row.status == ("ok" if device == "CPU" else "estimated")
    guess = rows["NPU.4000", 4]
    assert dict(guess.figures) == {
        "latency_estimate_ms": 0.322,
        "blob_mib": 3.0,
        "trial_compile_ms": 1500.0,
    }
    assert guess.executed_precision is None
    assert guess.rounds == ()
    assert "a script, openvino 2026.4.1" in guess.notes[0].evidence
    assert api.choose([done.folder]).winner["device"] == "CPU"
    assert set(load_results([done.folder]).rows["device"]) == {
        "CPU",
        "NPU.3720 (estimate)",
        "NPU.4000 (estimate)",
    }


@pytest.mark.slow
def test_a_sweep_of_estimates_resumes_without_repeats(variants, compiler, tmp_path):
    script = compiler(good)
    sweep = {
        "variants": [variants["net"]],
        "out": tmp_path / "s",
        "spec": SweepSpec(**ONE),
    }
    assert api.sweep(**sweep).estimated == 1
    again = api.sweep(**sweep, retry_failed=True)
    assert (again.estimated, again.reused) == (0, 1)
    assert len(script.models) == 1


def test_a_model_that_does_not_compile_gives_a_failed_row(variants, compiler, tmp_path):
    script = compiler(no_segments)
    done = api.sweep(
        [variants["net"], variants["segments"]],
        out=tmp_path / "s",
        spec=SweepSpec(**ONE),
    )
    good_row, bad = rows_of(done.folder)
    assert good_row.status == "estimated"
    assert bad.status == "failed"
    assert "fill_mode" in bad.reason
    assert f"ovtool check {variants['segments'].folder} --device NPU.4000" in bad.reason
    assert len(script.models) == 2, "only ovtool check searches for the operations"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axes", "named"),
    [
        ({"precisions": ("f32",)}, "f32"),
        ({"threads": (2,)}, "threads"),
        ({"rates": (50.0,)}, "rate"),
        ({"find_rate": FindRate(max_latency_ms=5)}, "rate"),
    ],
)
def test_a_trial_without_estimate_names_the_setting(variants, compiler, tmp_path, axes, named):
    compiler(good)
    with pytest.raises(NothingMeasuredError) as caught:
        api.sweep(
            [variants["net"]],
            out=tmp_path / "s",
            spec=SweepSpec(**ONE | axes),
        )
    assert named in caught.value.hint
    assert all(named in row.reason for row in rows_of(tmp_path / "s"))


def test_an_open_dimension_is_refused(variants, compiler, tmp_path):
    compiler(good)
    with pytest.raises(InputError, match="input ids"):
        api.sweep(
            [variants["text"]],
            out=tmp_path / "s",
            spec=SweepSpec(**ONE),
        )


def test_a_compiler_without_estimate_gives_a_failed_row(variants, compiler, tmp_path):
    compiler(lambda _: Outcome(None, "", 5, 1.0, None, "NPU", "1"))
    with pytest.raises(NothingMeasuredError, match=r"\b1 trials") as caught:
        api.sweep(
            [variants["net"]],
            out=tmp_path / "s",
            spec=SweepSpec(**ONE),
        )
    assert "a script" in caught.value.hint


def test_an_estimate_of_one_sample_does_not_count_for_a_batch(variants, compiler, tmp_path):
    compiler(lambda _: Outcome(None, "", 5, 1.0, 0.3, "NPU", "1", of_one_sample=True))
    with pytest.raises(NothingMeasuredError) as caught:
        api.sweep(
            [variants["net"]],
            out=tmp_path / "s",
            spec=SweepSpec(**ONE | {"batches": (4,)}),
        )
    assert "batch" in caught.value.hint


def select(devices, with_estimates=True, strict=False):
    spec = SweepSpec(devices=devices, with_estimates=with_estimates, timeout_s=1)
    return estimates.select_targets(spec, strict=strict)


def test_without_a_compiler_the_reason_is_how_to_install_one(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(offline, "find_native_library", lambda: None)
    targets = select(["CPU", "NPU.4000"])
    assert (targets.measured, targets.compilers) == (["CPU"], {})
    assert "ovtool devices --install-npu-compiler" in targets.missing["NPU.4000"]
    with pytest.raises(MissingDeviceError, match="--install-npu-compiler"):
        select(["CPU", "NPU.4000"], strict=True)


def test_an_npu_without_platform_has_no_estimate(compiler):
    compiler(good)
    targets = select(["CPU", "NPU"])
    assert targets.compilers == {}
    assert "no driver" in targets.missing["NPU"]
    assert "NPU.3720" in targets.missing["NPU"]


def test_without_the_option_the_reason_names_the_option(compiler):
    compiler(good)
    targets = select(["CPU", "NPU.4000", "GPU"], with_estimates=False)
    assert "no driver" in targets.missing["NPU.4000"]
    assert "--with-estimates" in targets.missing["NPU.4000"]
    assert "--with-estimates" not in targets.missing["GPU"]


def test_an_unknown_platform_is_wrong_input(compiler):
    compiler(good)
    with pytest.raises(InputError, match="'1234'"):
        select(["CPU", "NPU.1234"])


def test_an_available_npu_is_measured_and_not_estimated(monkeypatch, compiler):
    lunar = Device("NPU", available=True, properties={"architecture": "4000"})
    monkeypatch.setattr(discovery, "discover", lambda *_: [CPU, lunar])
    script = compiler(good)
    targets = select(["NPU.4000", "NPU.5010"])
    assert targets.measured == ["NPU"]
    assert targets.compilers == {"NPU.5010": script}
    assert compile_check.select_compiler("NPU.4000", [lunar]).device == "NPU"
