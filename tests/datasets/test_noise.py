"""Random samples."""

import numpy as np
import pytest

from ovtool.core.errors import InputError
from ovtool.core.ports import Port
from ovtool.datasets.registry import load_samples

PORT = Port(name="x", shape=(-1, 3, 32, 32), dtype="f32", layout="NCHW")


def test_noise_is_seeded_and_noted(progress):
    samples = load_samples("noise:3", [PORT], None, progress=progress)
    first, again = ([s.inputs["x"] for s in samples] for _ in range(2))
    other = [s.inputs["x"] for s in load_samples("noise:3", [PORT], None, seed=1)]
    assert len(samples) == 3
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])
    assert len(progress.notes) == 1
    assert not samples.labelled


def test_noise_has_a_default_number_and_a_limit():
    assert len(load_samples("noise", [PORT], None)) == 32
    assert len(load_samples("noise:100", [PORT], None, limit=4)) == 4


@pytest.mark.parametrize("reference", ["noise:", "noise:0", "noise:-3", "noise:x", "noise:1.5"])
def test_invalid_number_of_noise_samples_raises(reference):
    with pytest.raises(InputError, match=reference):
        load_samples(reference, [PORT], None)


def test_noise_requires_a_static_shape():
    port = Port(name="x", shape=(-1, -1), dtype="i64")
    with pytest.raises(InputError, match=r"x .*-1, -1"):
        load_samples("noise", [port], None)
