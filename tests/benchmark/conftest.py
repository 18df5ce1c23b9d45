import contextlib

import psutil
import pytest

from ovtool.benchmark import jobs
from ovtool.benchmark.process import ProcessRunner
from ovtool.core.trial import Trial
from ovtool.devices import rules
from tests.helpers.graphs import convolutional, fully_connected, save
from tests.helpers.in_process import use_local_workers


def children():
    return {p.pid for p in psutil.Process().children(recursive=True)}


@pytest.fixture
def no_process_left():
    before = children()
    yield
    assert children() <= before


@pytest.fixture(scope="module")
def conv(tmp_path_factory):
    return save(tmp_path_factory.mktemp("conv") / "conv", convolutional())


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    return save(tmp_path_factory.mktemp("dense") / "dense", fully_connected())


@pytest.fixture(scope="module")
def opened():
    """Opens sessions of real processes, and closes them after the module's tests."""
    with contextlib.ExitStack() as stack:

        def open_one(variant, device="CPU", batch=1, inputs=None, runner=None, **fields):
            trial = Trial(variant.id, variant.name, device, batch, **fields)
            job = jobs.build_job(trial, variant, rules.trial_properties(trial), inputs)
            session = (runner or ProcessRunner(timeout_s=60)).open(job)
            return stack.enter_context(contextlib.closing(session))

        yield open_one


@pytest.fixture
def opened_here(opened, monkeypatch):
    """Opens sessions as ``opened`` does, in this process."""
    use_local_workers(monkeypatch)
    return opened
