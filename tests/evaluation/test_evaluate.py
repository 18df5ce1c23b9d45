"""The verb evaluate: requests that are rejected before anything runs."""

import pytest

from ovtool.core.errors import InputError
from ovtool.evaluation.evaluate import EXACT, evaluate
from tests.helpers.graphs import convolutional, save


@pytest.fixture(scope="module")
def variant(tmp_path_factory):
    return save(tmp_path_factory.mktemp("evaluate") / "net", convolutional())


def test_data_without_labels_needs_a_baseline(variant):
    with pytest.raises(InputError, match="noise") as raised:
        evaluate(variant, "noise:4")
    assert "--baseline" in raised.value.hint


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan")])
def test_tolerance_must_be_positive(variant, tolerance):
    with pytest.raises(InputError, match=f"{tolerance:g}"):
        evaluate(variant, "noise:4", baseline=variant, tolerance=tolerance)


def test_virtual_device_has_no_exact_precision(variant):
    with pytest.raises(InputError, match="AUTO:CPU"):
        evaluate(variant, "noise:4", baseline=variant, device="AUTO:CPU", precision=EXACT)
