import numpy as np
import pytest

from ovtool.core.ports import Preprocessing
from tests.compression.samples import Listed, Notes
from tests.helpers.graphs import convolutional, fully_connected, save


@pytest.fixture(scope="session")
def conv(tmp_path_factory):
    steps = Preprocessing(size=(16, 16), mean=(127.0,), scale=(128.0,))
    folder = tmp_path_factory.mktemp("conv") / "conv"
    return save(folder, convolutional(), preprocessing=steps, batch_note="made open")


@pytest.fixture(scope="session")
def dense(tmp_path_factory):
    return save(tmp_path_factory.mktemp("dense") / "dense", fully_connected())


@pytest.fixture
def progress():
    return Notes()


@pytest.fixture
def pictures():
    rng = np.random.default_rng(1)
    return Listed(list(rng.standard_normal((12, 3, 16, 16)).astype(np.float32)))
