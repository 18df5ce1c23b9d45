"""The real GPU plugin on an emulated GPU: a test of code paths.

The figures say nothing about a GPU.
"""

from pathlib import Path

import pytest

from ovtool import api
from tests.gpu_emulated import activate
from tests.helpers import graphs as models

QUICK = {"rounds": 3, "round_s": 0.05, "max_seconds": 0.5}
"""The fewest rounds: an inference takes up to seconds, and its time has no meaning."""
HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark the tests, and skip them where the emulation is not active."""
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.gpu_emulated)
        item.add_marker(pytest.mark.timeout(1800))
        if not activate.active():
            reason = "the emulated GPU is not active: make test-gpu-emulated installs and runs it"
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A variant of a small network with a dynamic batch."""
    return models.save(tmp_path_factory.mktemp("small") / "small", models.convolutional())


@pytest.fixture(scope="session")
def lite0(tmp_path_factory):
    """EfficientNet-Lite0 uncompressed, in INT8, and with INT8 weights."""
    folder = tmp_path_factory.mktemp("lite0")
    fp32 = api.convert("sample:efficientnet-lite0", out=folder / "fp32")
    return {
        "fp32": fp32,
        "int8": api.compress(fp32, "int8", data="sample:photographs", out=folder / "int8"),
        "int8-weights": api.compress(fp32, "weights", out=folder / "int8-weights"),
    }
