"""Models that crash, block or do not fit into memory fail alone; the other models are measured."""

import sys

import numpy as np
import pytest

from ovtool import api
from ovtool.core import steps
from ovtool.core.errors import InputError, MissingDependencyError, NothingMeasuredError
from ovtool.core.progress import Silent
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.sweep_spec import SweepSpec
from ovtool.core.variant import Step
from ovtool.graph.storage import load_storage
from ovtool.sweep import preparation
from ovtool.sweep.preparation import Preparation
from tests.helpers.graphs import convolutional, save
from tests.helpers.owned import QUICK
from tests.system.hostile import write_out_of_range

ONE_TRIAL = {**QUICK, "batches": [1], "hints": ["latency"]}

# A worker that ends, blocks or fails for a model whose path contains "bad", and is the
# real worker for all others.
FAULTY = """
import os, signal, sys, time
from ovtool.sweep.preparation import PreparationWorker
from ovtool.system.child_process import serve

class Faulty(PreparationWorker):
    def convert(self, request):
        return self.fail() if "bad" in request["reference"] else super().convert(request)

    def measure_weights(self, request):
        return self.fail() if "bad" in request["folder"] else super().measure_weights(request)

    def fail(self):
        {fault}

serve(Faulty)
"""
FAULTS = {
    "crash": "os.kill(os.getpid(), signal.SIGSEGV)",
    "hang": "time.sleep(600)",
    "memory": "raise MemoryError('bad allocation')",
}
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


@pytest.fixture
def faulty(monkeypatch):
    def install(fault):
        program = FAULTY.format(fault=FAULTS[fault])
        monkeypatch.setattr(preparation, "_COMMAND", (sys.executable, "-c", program))

    return install


@pytest.fixture
def source(tmp_path):
    """Writes a plain IR, which a sweep converts."""

    def write(name):
        folder = tmp_path / name
        save(folder, convolutional(seed=len(name)))
        (folder / "variant.json").unlink()
        return (folder / "model.xml").rename(folder / f"{name}.xml"), (folder / "model.bin").rename(
            folder / f"{name}.bin"
        )

    return lambda name: write(name)[0]


@posix
@pytest.mark.slow
@pytest.mark.parametrize("fault", ["crash", "hang", "memory"])
def test_a_source_that_fails_is_a_failed_row(tmp_path, source, faulty, monkeypatch, fault):
    faulty(fault)
    monkeypatch.setenv(steps.STEP_TIMEOUT, "0.1")
    bad, good = source("bad"), source("good")
    spec = SweepSpec(**ONE_TRIAL, timeout_s=30 if fault != "hang" else 8)
    result = api.sweep([bad, good], out=tmp_path / "out", spec=spec)
    assert (result.measured, result.failed) == (1, 1)
    rows = {m.trial.variant_name: m for m in SweepFolder(tmp_path / "out").measurements()}
    assert rows["good"].status == "ok"
    assert rows["bad"].status == "failed"
    assert str(bad) in rows["bad"].reason
    if fault == "crash":
        assert "SIGSEGV" in rows["bad"].reason
    again = api.sweep([bad, good], out=tmp_path / "out", spec=spec)
    assert (again.measured, again.failed, again.reused) == (0, 0, 2)


@pytest.mark.slow
@posix
def test_shapes_of_sources_that_all_crash_are_not_judged(tmp_path, source, faulty):
    faulty("crash")
    spec = SweepSpec(**ONE_TRIAL, shapes={"x": [(1, 3, 8, 8)]})
    with pytest.raises(NothingMeasuredError) as raised:
        api.sweep([source("bad")], out=tmp_path / "out", spec=spec)
    assert "SIGSEGV" in raised.value.hint


def held_out(folder, variant):
    """Write samples without labels."""
    (port,) = variant.record.inputs
    shape = [n if n > 0 else 4 for n in port.shape]
    np.savez(folder / "held.npz", **{port.name: np.ones(shape, np.float32)})
    return str(folder / "held.npz")


@pytest.mark.slow
@posix
def test_a_variant_that_crashes_is_a_failed_row(tmp_path, faulty):
    faulty("crash")
    bad = save(tmp_path / "bad", convolutional(seed=1))
    good = save(tmp_path / "good", convolutional(seed=2))
    data = held_out(tmp_path, good)
    result = api.sweep([bad, good], out=tmp_path / "out", spec=SweepSpec(**ONE_TRIAL), data=data)
    assert (result.measured, result.failed) == (1, 1)
    plan = SweepFolder(tmp_path / "out").plan
    assert plan.variants[bad.id].weights == {}
    expected = load_storage(good)
    assert plan.variants[good.id].weights["nonzero_pct"] == expected.nonzero_pct


@pytest.mark.slow
@posix
def test_a_baseline_that_crashes_is_an_error(tmp_path, source, faulty):
    faulty("crash")
    good = save(tmp_path / "good", convolutional())
    spec = SweepSpec(**ONE_TRIAL, baseline=str(source("bad")))
    with pytest.raises(InputError, match="SIGSEGV"):
        api.sweep([good], out=tmp_path / "out", spec=spec)


@pytest.mark.slow
@posix
def test_a_baseline_that_cannot_be_read_is_an_error(tmp_path, faulty):
    faulty("crash")
    bad = save(tmp_path / "bad", convolutional(seed=1))
    good = save(tmp_path / "good", convolutional(seed=2))
    spec = SweepSpec(**ONE_TRIAL, baseline=str(bad.folder))
    with pytest.raises(InputError, match=r"baseline fails: .*SIGSEGV"):
        api.sweep([good], out=tmp_path / "out", spec=spec, data=held_out(tmp_path, good))


@pytest.mark.slow
@posix
@pytest.mark.parametrize("judged", [False, True])
def test_a_variant_that_crashes_is_no_baseline(tmp_path, faulty, judged):
    faulty("crash")
    bad = save(tmp_path / "bad", convolutional(seed=1))
    step = Step(method="prune-weights", settings={}, seconds=0.0)
    good = save(tmp_path / "good", convolutional(seed=2), source=bad.record.source, steps=(step,))
    out, spec = tmp_path / "out", SweepSpec(**ONE_TRIAL)
    if judged:
        with pytest.raises(InputError, match="good has no baseline"):
            api.sweep([bad, good], out=out, spec=spec, data=held_out(tmp_path, good))
    else:
        result = api.sweep([bad, good], out=out, spec=spec)
        assert (result.measured, result.failed) == (1, 1)
        assert SweepFolder(out).plan.variants[good.id].baseline is None


@pytest.mark.slow
def test_an_invalid_source_is_an_error_before_anything_is_measured(tmp_path):
    damaged = tmp_path / "damaged.xml"
    damaged.write_text("<net")
    good = save(tmp_path / "good", convolutional())
    with pytest.raises(InputError) as raised:
        api.sweep([good, damaged], out=tmp_path / "out", spec=SweepSpec(**ONE_TRIAL))
    assert str(damaged) in str(raised.value)
    assert raised.value.hint


@pytest.mark.slow
def test_errors_of_the_worker_keep_their_type_and_hint(tmp_path, source, monkeypatch):
    program = """
from ovtool.core.errors import MissingDependencyError
from ovtool.sweep import preparation
from ovtool.system.child_process import serve
def fail(*arguments, **options):
    raise MissingDependencyError("no package", "install it")
preparation.load_or_convert = fail
serve(preparation.PreparationWorker)
"""
    monkeypatch.setattr(preparation, "_COMMAND", (sys.executable, "-c", program))
    prepared = Preparation(tmp_path, 30)
    with pytest.raises(MissingDependencyError, match="no package") as raised:
        prepared.load(source("good"))
    assert raised.value.hint == "install it"
    prepared.close()


@pytest.mark.slow
def test_notes_of_a_conversion_are_those_of_the_sweep(tmp_path, source, monkeypatch):
    program = """
from ovtool.sweep import preparation
from ovtool.system.child_process import serve
convert = preparation.load_or_convert
def noted(*arguments, progress, **options):
    progress.note("a note")
    return convert(*arguments, progress=progress, **options)
preparation.load_or_convert = noted
serve(preparation.PreparationWorker)
"""
    monkeypatch.setattr(preparation, "_COMMAND", (sys.executable, "-c", program))

    class Lines(Silent):
        def note(self, text):
            lines.append(text)

    lines = []
    prepared = Preparation(tmp_path, 30, Lines())
    assert prepared.load(source("good")).folder == tmp_path / "variants" / "good"
    prepared.close()
    assert "a note" in lines


@pytest.mark.slow
@posix
def test_a_real_hostile_model_leaves_the_others_measured(tmp_path, source):
    hostile = write_out_of_range(tmp_path / "hostile")
    result = api.sweep([source("good"), hostile], out=tmp_path / "out", spec=SweepSpec(**ONE_TRIAL))
    rows = {m.trial.variant_name: m.status for m in SweepFolder(tmp_path / "out").measurements()}
    assert rows["good"] == "ok"
    assert result.measured + result.failed == 2
