"""The verb evaluate: requests that are rejected before anything runs."""

import numpy as np
import pytest

from ovtool.core.errors import InputError
from ovtool.evaluation.evaluate import EXACT, evaluate
from ovtool.models.convert import convert
from ovtool.models.options import SourceOptions
from tests.helpers.graphs import convolutional, save
from tests.helpers.quantized_models import run, samples, save_mlp, write_qdq


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


@pytest.mark.slow
def test_a_baseline_is_any_model(tmp_path):
    source = save_mlp(tmp_path / "mlp.onnx")
    int8 = write_qdq(source, tmp_path / "qdq.onnx")
    values = samples(100, seed=3)
    np.savez(tmp_path / "held-out.npz", x=values)
    variant = convert(int8, out=tmp_path / "int8", options=SourceOptions(tolerance=0.2))
    quality = evaluate(variant, str(tmp_path / "held-out.npz"), baseline=source, precision="f32")
    expected = (run(source, values).argmax(1) == run(int8, values).argmax(1)).mean()
    assert expected < 1
    assert quality.figures["agreement_top1"] == pytest.approx(expected, abs=0.021)
