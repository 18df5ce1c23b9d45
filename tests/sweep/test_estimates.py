"""Sweeps over NPUs that are not here: their compiler is a script, and so is all that it says."""

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
from ovtool.sweep import estimates as estimating
from ovtool.sweep import measurer as measuring
from tests.benchmark.scripted import even
from tests.compile_check.graphs import with_segments
from tests.compile_check.test_compile_check import Scripted, good, no_segments
from tests.helpers.graphs import convolutional, embedding, save
from tests.helpers.owned import QUICK

NO_NPU = Device("NPU", available=False, unavailable_reason="no driver")
CPU = Device("CPU", available=True)
ONE = {"devices": ["NPU.4000"], "with_estimates": True, "batches": (1,), "hints": ("latency",)}


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """A machine with a processor that runs nothing for real, and no NPU."""
    monkeypatch.setattr(discovery, "discover", lambda *_: [CPU, NO_NPU])
    monkeypatch.setattr(measuring, "ProcessRunner", lambda **_: FakeRunner(even))


@pytest.fixture
def compiler(monkeypatch):
    def use(answer):
        made = Scripted(answer)
        monkeypatch.setattr(offline, "compiler", lambda *_: made)
        return made

    return use


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    folder = tmp_path_factory.mktemp("v")
    made = {"net": convolutional(), "segments": with_segments(), "text": embedding()}
    return {name: save(folder / name, model) for name, model in made.items()}


def rows_of(folder):
    return list(SweepFolder(folder).measurements())


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


def test_a_sweep_of_estimates_alone_is_resumed_and_none_is_made_twice(variants, compiler, tmp_path):
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


def test_what_does_not_compile_is_a_row_with_its_reason(variants, compiler, tmp_path):
    script = compiler(no_segments)
    done = api.sweep(
        [variants["net"], variants["segments"]],
        out=tmp_path / "s",
        spec=SweepSpec(**ONE),
    )
    good_one, bad = rows_of(done.folder)
    assert good_one.status == "estimated"
    assert bad.status == "failed"
    assert "fill_mode" in bad.reason
    assert f"ovtool check {variants['segments'].folder} --device NPU.4000" in bad.reason
    assert len(script.models) == 2, "the operations are ovtool check's to look for"


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"precisions": ("f32",)}, "f32"),
        ({"threads": (2,)}, "threads"),
        ({"rates": (50.0,)}, "nothing can be said of requests that arrive"),
        ({"find_rate": FindRate(max_latency_ms=5)}, "nothing can be said of requests"),
    ],
)
def test_what_cannot_be_estimated_says_why(variants, compiler, tmp_path, axes, said):
    compiler(good)
    with pytest.raises(NothingMeasuredError) as told:
        api.sweep(
            [variants["net"]],
            out=tmp_path / "s",
            spec=SweepSpec(**ONE | axes),
        )
    assert said in told.value.hint
    assert all(said in row.reason for row in rows_of(tmp_path / "s"))


def test_an_open_dimension_is_a_reason(variants, compiler, tmp_path):
    compiler(good)
    with pytest.raises(NothingMeasuredError) as told:
        api.sweep(
            [variants["text"]],
            out=tmp_path / "s",
            spec=SweepSpec(**ONE),
        )
    assert "dimension 1 of input ids is open" in told.value.hint


def test_no_estimate_is_not_an_estimate_of_nothing(variants, compiler, tmp_path):
    compiler(lambda _: Outcome(None, "", 5, 1.0, None, "NPU", "1"))
    with pytest.raises(NothingMeasuredError, match="not one of 1 trials") as told:
        api.sweep(
            [variants["net"]],
            out=tmp_path / "s",
            spec=SweepSpec(**ONE),
        )
    assert "it compiles, and a script makes no estimate" in told.value.hint


def test_an_estimate_of_one_sample_is_none_of_a_batch(variants, compiler, tmp_path):
    compiler(lambda _: Outcome(None, "", 5, 1.0, 0.3, "NPU", "1", of_one_sample=True))
    with pytest.raises(NothingMeasuredError) as told:
        api.sweep(
            [variants["net"]],
            out=tmp_path / "s",
            spec=SweepSpec(**ONE | {"batches": (4,)}),
        )
    assert "the plugin splits the batch" in told.value.hint


def sorted_out(devices, estimates=True, strict=False):
    spec = SweepSpec(devices=devices, with_estimates=estimates, timeout_s=1)
    return estimating.targets(spec, strict=strict)


def test_a_compiler_that_is_not_installed_leaves_the_device_out_with_how_to_get_it(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(offline, "find_native_library", lambda: None)
    found = sorted_out(["CPU", "NPU.4000"])
    assert (found.there, found.compilers) == (["CPU"], {})
    assert "ovtool devices --install-npu-compiler" in found.missing["NPU.4000"]
    with pytest.raises(MissingDeviceError, match="--install-npu-compiler"):
        sorted_out(["CPU", "NPU.4000"], strict=True)


def test_without_a_platform_none_is_guessed(compiler):
    compiler(good)
    found = sorted_out(["CPU", "NPU"])
    assert found.compilers == {}
    assert found.missing["NPU"].startswith("no driver; for an estimate name the platform: NPU.3720")


def test_unasked_the_reason_says_that_there_could_be_one(compiler):
    compiler(good)
    found = sorted_out(["CPU", "NPU.4000", "GPU"], estimates=False)
    assert found.missing["NPU.4000"] == (
        "no driver; --with-estimates has its compiler estimate the latency"
    )
    assert "estimate" not in found.missing["GPU"]


def test_an_unknown_platform_is_wrong_input(compiler):
    compiler(good)
    with pytest.raises(InputError, match="unknown NPU platform '1234'"):
        sorted_out(["CPU", "NPU.1234"])


def test_an_npu_that_is_here_is_measured_and_not_estimated(monkeypatch, compiler):
    lunar = Device("NPU", available=True, properties={"architecture": "4000"})
    monkeypatch.setattr(discovery, "discover", lambda *_: [CPU, lunar])
    script = compiler(good)
    found = sorted_out(["NPU.4000", "NPU.5010"])
    assert found.there == ["NPU"]
    assert found.compilers == {"NPU.5010": script}
    assert compile_check.select_compiler("NPU.4000", [lunar]).device == "NPU"
