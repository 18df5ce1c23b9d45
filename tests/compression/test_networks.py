"""Restoring the PyTorch network of a saved variant."""

import numpy as np
import pytest

from ovtool.compression.networks import is_trainable, restore_network
from ovtool.compression.pipeline import apply_method
from ovtool.core.errors import InputError
from ovtool.core.variant import NETWORK, Variant
from tests.compression.learnable import Patterns, inputs, linear, outputs, residual, saved

QUICK = {"epochs": 1, "batch_size": 32}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("restore") / "source", residual())


@pytest.fixture(scope="module")
def trained(source):
    out = source.folder.with_name("trained")
    return apply_method(source, "train", QUICK, inputs(), out=out, name="trained")


def test_uncompressed_variant_has_the_source_network(source):
    assert is_trainable(source)
    assert np.array_equal(
        outputs(restore_network(residual(), source), Patterns(4).images),
        outputs(residual(), Patterns(4).images),
    )


def test_same_network_gives_the_same_files(source, tmp_path):
    """OpenVINO numbers fused operations by a counter of the process."""
    again = saved(tmp_path / "source", residual())
    assert again.record.sha256 == source.record.sha256


@pytest.mark.slow
def test_restore_network_repeats_recorded_steps(trained, tmp_path):
    def network():
        return restore_network(residual(), trained)

    twice = apply_method(
        trained, "train", {**QUICK, "seed": 1}, inputs(network),
        out=tmp_path / "twice", name="twice",
    )  # fmt: skip
    x = Patterns(4, seed=3).images
    first, second = (
        outputs(restore_network(residual(seed=9), Variant.load(v.folder)), x)
        for v in (trained, twice)
    )
    assert np.abs(first - second).max() > 1e-3
    assert np.abs(first - outputs(residual(), x)).max() > 1e-3


@pytest.mark.slow
def test_error_names_the_step_that_left_no_network(trained, tmp_path):
    small = apply_method(trained, "int8", {}, inputs(), out=tmp_path / "q", name="q")
    assert not is_trainable(small)
    with pytest.raises(InputError, match=r"q .* int8") as caught:
        restore_network(residual(), small)
    assert "int8" in caught.value.hint


@pytest.mark.slow
def test_changed_weights_raise(source, trained, tmp_path):
    with pytest.raises(InputError, match="linear"):
        restore_network(linear(), trained)
    compressed = apply_method(source, "train", QUICK, inputs(), out=tmp_path / "t", name="t")
    weights = compressed.folder / NETWORK
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(InputError, match=weights.name):
        restore_network(residual(), compressed)
    weights.unlink()
    with pytest.raises(InputError, match=weights.name):
        restore_network(residual(), compressed)
