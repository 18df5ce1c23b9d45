"""Jobs of a sweep, with fake devices and a fake runner: shapes, precisions and properties."""

import contextlib
from dataclasses import dataclass, field

import numpy as np
import pytest

from ovtool import api
from ovtool.benchmark.fake import FakeRunner
from ovtool.core.errors import NothingMeasuredError
from ovtool.core.shapes import OPEN
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.sweep_spec import SweepSpec
from ovtool.datasets import text as text_data
from ovtool.devices import discovery
from ovtool.devices.discovery import Device
from ovtool.evaluation import language
from ovtool.models.convert import convert
from ovtool.results.table import load_results
from ovtool.sweep import measurer
from ovtool.sweep import run as sweep_run
from tests.benchmark.scripted import even
from tests.helpers.decoders import HEAD, VOCABULARY, build_decoder, write_openvino_folder
from tests.helpers.graphs import embedding, fully_connected, save
from tests.helpers.owned import QUICK

pytestmark = pytest.mark.usefixtures("local_workers")


@dataclass
class RecordingRunner:
    """A fake runner that records its jobs."""

    jobs: list = field(default_factory=list)

    def __post_init__(self):
        self.runner = FakeRunner(even)

    def prepare(self, jobs):
        self.runner.prepare(jobs)

    def open(self, job, cache=None, *, warm_up=True):
        self.jobs.append(job)
        return self.runner.open(job, cache, warm_up=warm_up)

    def close(self):
        self.runner.close()


@pytest.fixture
def runner(monkeypatch):
    """A machine with a fake NPU and a fake GPU."""
    recording = RecordingRunner()
    monkeypatch.setattr(measurer, "ProcessRunner", lambda **_: recording)
    available = [Device(name, available=True) for name in ("CPU", "GPU.0", "NPU")]
    monkeypatch.setattr(discovery, "discover", lambda: available)
    return recording


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """x [?, 64]: an open batch."""
    return save(tmp_path_factory.mktemp("v") / "dense", fully_connected())


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """ids, mask [?, ?]: an open batch and length."""
    return save(tmp_path_factory.mktemp("v") / "text", embedding())


def sweep_rows(variants, out, device="NPU", **axes):
    with contextlib.suppress(NothingMeasuredError):
        api.sweep(variants, out=out, spec=SweepSpec(**QUICK, devices=[device], **axes))
    return list(SweepFolder(out).measurements())


def both(*shapes):
    return {"ids": list(shapes), "mask": list(shapes)}


@pytest.mark.slow
def test_a_dynamic_batch_is_fixed_in_each_row(runner, dense, tmp_path):
    rows = sweep_rows([dense], tmp_path / "s", batches=(1, 2, 8))
    assert [m.status for m in rows] == ["ok"] * 6
    assert {job.shapes for job in runner.jobs} == {((1, 64),), ((2, 64),), ((8, 64),)}
    assert all(job.properties["NPU_BYPASS_UMD_CACHING"] == "YES" for job in runner.jobs)


@pytest.mark.slow
def test_a_row_is_static_or_names_the_open_dimension(runner, dense, text, tmp_path):
    rows = sweep_rows([dense, text], tmp_path / "s", batches=(1, 4))
    assert not [job for job in runner.jobs if OPEN in (d for s in job.shapes for d in s)]
    for measurement in rows:
        if measurement.trial.variant_name == "dense":
            assert measurement.status == "ok"
        else:
            assert measurement.status == "failed"
            assert all(f"--shape {name}=?x128" in measurement.reason for name in ("ids", "mask"))


@pytest.mark.slow
def test_a_requested_shape_is_compiled(runner, text, tmp_path):
    rows = sweep_rows([text], tmp_path / "s", batches=(2,), shapes=both("?x16", "?x64"))
    assert {m.status for m in rows} == {"ok"}
    assert {job.shapes for job in runner.jobs} == {((2, 16), (2, 16)), ((2, 64), (2, 64))}


@pytest.mark.slow
@pytest.mark.parametrize("device", ["NPU", "AUTO:NPU,CPU"])
def test_the_npu_compiles_the_shape_of_the_data_with_a_note(runner, text, tmp_path, device):
    (row, *_) = sweep_rows([text], tmp_path / "s", device, data_shapes=both("1x16"))
    assert row.status == "ok"
    assert {job.shapes for job in runner.jobs} == {((1, 16), (1, 16))}
    (note,) = (note for note in row.notes if note.id == "fixed-shapes")
    assert note.evidence == "ids=1x16 mask=1x16"


@pytest.mark.slow
@pytest.mark.parametrize("device", ["CPU", "GPU.0"])
def test_other_devices_keep_open_dimensions(runner, text, tmp_path, device):
    (row, *_) = sweep_rows([text], tmp_path / "s", device, data_shapes=both("1x16"))
    assert row.status == "ok"
    assert {job.shapes for job in runner.jobs} == {((OPEN, OPEN), (OPEN, OPEN))}
    assert "fixed-shapes" not in {note.id for note in row.notes}


def test_an_unsupported_precision_gives_a_failed_row(runner, dense, tmp_path):
    rows = sweep_rows(
        [dense], tmp_path / "s", hints=("latency",), precisions=("default", "f32", "f16")
    )
    reasons = {m.trial.precision: m.reason for m in rows}
    assert (reasons["default"], reasons["f16"]) == ("", "")
    assert "NPU" in reasons["f32"]
    assert "f32" in reasons["f32"]
    assert {job.trial.precision for job in runner.jobs} == {"default", "f16"}


@pytest.mark.slow
def test_threads_are_supported_by_the_cpu_only(runner, dense, tmp_path):
    for device in ("NPU", "GPU"):
        (row,) = sweep_rows([dense], tmp_path / device, device, threads=(2,))
        assert "threads" in row.reason
    assert runner.jobs == []


@pytest.mark.slow
def test_automatic_batching_of_the_gpu_is_off(runner, dense, tmp_path):
    sweep_rows([dense], tmp_path / "s", "GPU", batches=(1, 4))
    assert {job.properties["ALLOW_AUTO_BATCHING"] for job in runner.jobs} == {"NO"}


@pytest.mark.slow
def test_rows_of_text_generators_have_their_quality(runner, tmp_path, monkeypatch):
    tokens = np.random.default_rng(1).integers(0, VOCABULARY, (1, 300))
    monkeypatch.setattr(text_data, "tokenize", lambda *_: {"input_ids": tokens})
    monkeypatch.setattr(language, "PROMPTS", 1)
    monkeypatch.setattr(sweep_run, "require_packages", lambda *_: None)
    (tmp_path / "text.txt").write_text("a text")
    source = write_openvino_folder(tmp_path / "source", build_decoder(HEAD * 0.05))
    (source / "config.json").write_text('{"n_positions": 64}')
    variant = convert(source, out=tmp_path / "v")
    lengths = {"prompt_lengths": (16,), "output_lengths": (8,)}
    spec = SweepSpec(**QUICK, **lengths, concurrency=(1, 2), precisions=("f32",))
    api.sweep(variant, out=tmp_path / "s", spec=spec, data=tmp_path / "text.txt")
    table = load_results([tmp_path / "s"])
    assert table.quality_metric == "perplexity"
    (expected,) = api.evaluate_each(
        variant, tmp_path / "text.txt", baseline=variant, precisions=["f32"]
    )
    rows = list(table.records)
    assert len(rows) == 2
    for row in rows:  # evaluated once
        assert row["perplexity"] == pytest.approx(expected.figures["perplexity"])
        assert row["perplexity_rise_pct"] == 0
        assert row["quality_tokens"] == 299
    assert [m.trial.generation.concurrency for m in SweepFolder(tmp_path / "s").measurements()]
