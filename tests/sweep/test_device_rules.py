"""Sweeps on the rules of devices that are not here: the runner is a fake, its figures invented."""

import contextlib
from dataclasses import dataclass, field

import pytest

from ovtool import api
from ovtool.benchmark.fake import FakeRunner
from ovtool.core.errors import NothingMeasuredError
from ovtool.core.shapes import OPEN
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.sweep_spec import SweepSpec
from ovtool.devices import discovery
from ovtool.devices.discovery import Device
from ovtool.sweep import measurer as measuring
from tests.benchmark.scripted import even
from tests.helpers.graphs import embedding, fully_connected, save
from tests.helpers.owned import QUICK


@dataclass
class Noted:
    """A fake runner that keeps the jobs that it was given."""

    jobs: list = field(default_factory=list)

    def __post_init__(self):
        self.runner = FakeRunner(even)

    def prepare(self, count):
        self.runner.prepare(count)

    def open(self, job, cache=None, *, warm_up=True):
        self.jobs.append(job)
        return self.runner.open(job, cache, warm_up=warm_up)

    def close(self):
        self.runner.close()


@pytest.fixture
def runner(monkeypatch):
    """A machine with an NPU and a GPU, where nothing is really run."""
    noted = Noted()
    monkeypatch.setattr(measuring, "ProcessRunner", lambda **_: noted)
    there = [Device(name, available=True) for name in ("CPU", "GPU.0", "NPU")]
    monkeypatch.setattr(discovery, "discover", lambda: there)
    return noted


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """x [?, 64]: only the batch is open."""
    return save(tmp_path_factory.mktemp("v") / "dense", fully_connected())


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """ids, mask [?, ?]: the length is open too."""
    return save(tmp_path_factory.mktemp("v") / "text", embedding())


def rows(variants, out, device="NPU", **axes):
    with contextlib.suppress(NothingMeasuredError):
        api.sweep(variants, out=out, spec=SweepSpec(**QUICK, devices=[device], **axes))
    return list(SweepFolder(out).measurements())


def both(*shapes):
    return {"ids": list(shapes), "mask": list(shapes)}


def test_a_dynamic_batch_is_fixed_row_by_row(runner, dense, tmp_path):
    found = rows([dense], tmp_path / "s", batches=(1, 2, 8))
    assert [m.status for m in found] == ["ok"] * 6
    assert {job.shapes for job in runner.jobs} == {((1, 64),), ((2, 64),), ((8, 64),)}
    assert all(job.properties["NPU_BYPASS_UMD_CACHING"] == "YES" for job in runner.jobs)


def test_every_row_is_static_or_says_which_dimension_to_give(runner, dense, text, tmp_path):
    found = rows([dense, text], tmp_path / "s", batches=(1, 4))
    assert not [job for job in runner.jobs if OPEN in (d for s in job.shapes for d in s)]
    for measurement in found:
        if measurement.trial.variant_name == "dense":
            assert measurement.status == "ok"
        else:
            assert measurement.status == "failed"
            assert "--shape ids=?x?" in (measurement.reason)


def test_a_shape_that_was_given_is_compiled(runner, text, tmp_path):
    found = rows([text], tmp_path / "s", batches=(2,), shapes=both("?x16", "?x64"))
    assert {m.status for m in found} == {"ok"}
    assert {job.shapes for job in runner.jobs} == {((2, 16), (2, 16)), ((2, 64), (2, 64))}


@pytest.mark.parametrize("device", ["NPU", "AUTO:NPU,CPU"])
def test_what_the_data_says_is_compiled_and_noted(runner, text, tmp_path, device):
    (row, *_) = rows([text], tmp_path / "s", device, data_shapes=both("1x16"))
    assert row.status == "ok"
    assert {job.shapes for job in runner.jobs} == {((1, 16), (1, 16))}
    (note,) = (note for note in row.notes if note.id == "fixed-shapes")
    assert note.evidence == "ids=1x16 mask=1x16"


@pytest.mark.parametrize("device", ["CPU", "GPU.0"])
def test_other_devices_keep_open_dimensions(runner, text, tmp_path, device):
    (row, *_) = rows([text], tmp_path / "s", device, data_shapes=both("1x16"))
    assert row.status == "ok"
    assert {job.shapes for job in runner.jobs} == {((OPEN, OPEN), (OPEN, OPEN))}
    assert "fixed-shapes" not in {note.id for note in row.notes}


def test_a_precision_that_the_npu_has_not_is_a_reason(runner, dense, tmp_path):
    found = rows([dense], tmp_path / "s", hints=("latency",), precisions=("default", "f32", "f16"))
    reasons = {m.trial.precision: m.reason for m in found}
    assert (reasons["default"], reasons["f16"]) == ("", "")
    assert "NPU" in reasons["f32"]
    assert "f32" in reasons["f32"]
    assert {job.trial.precision for job in runner.jobs} == {"default", "f16"}


def test_threads_by_hand_are_the_cpus(runner, dense, tmp_path):
    for device in ("NPU", "GPU"):
        (row,) = rows([dense], tmp_path / device, device, threads=(2,))
        assert "threads" in row.reason
    assert runner.jobs == []


def test_the_gpu_does_not_batch_on_its_own(runner, dense, tmp_path):
    rows([dense], tmp_path / "s", "GPU", batches=(1, 4))
    assert {job.properties["ALLOW_AUTO_BATCHING"] for job in runner.jobs} == {"NO"}
