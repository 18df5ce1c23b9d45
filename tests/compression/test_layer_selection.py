"""Layers that a method skips."""

import pytest

from ovtool.core.errors import InputError
from tests.compression.samples import compress, types_of


def test_unknown_ignored_layers_are_listed_with_the_nearest_names(conv, tmp_path, pictures):
    settings = {"ignored_names": "conv", "ignored_types": "Matmul", "ignored_patterns": "zz"}
    with pytest.raises(InputError) as caught:
        compress(conv, "int8", settings, pictures, out=tmp_path / "q", name="q")
    message = str(caught.value)
    for name in ("'conv'", "'conv1'", "'Matmul'", "'MatMul'", "'zz'"):
        assert name in message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ({"ignored_names": "classifier"}, 1),
        ({"ignored_types": "MatMul"}, 1),
        ({"ignored_patterns": "conv[01]$"}, 2),
    ],
)
def test_ignored_layers_are_not_compressed(conv, tmp_path, settings, layers):
    compressed = compress(conv, "weights", settings, None, out=tmp_path / "w", name="w")
    assert types_of(compressed)["f32"]["layers"] == layers


@pytest.mark.slow
def test_int8_skips_ignored_layers(conv, pictures, tmp_path):
    settings = {"ignored_names": "classifier"}
    compressed = compress(conv, "int8", settings, pictures, out=tmp_path / "q", name="q")
    assert types_of(compressed)["f32"]["layers"] == 1


def test_ignoring_every_layer_raises(conv, tmp_path):
    settings = {"ignored_patterns": "conv[01]$", "ignored_types": "MatMul"}
    with pytest.raises(InputError, match=r"weights .* conv$"):
        compress(conv, "weights", settings, None, out=tmp_path / "w", name="w")
