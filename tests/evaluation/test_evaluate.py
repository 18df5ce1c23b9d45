"""The verb evaluate: requests that are rejected before anything runs."""

import numpy as np
import pytest

from ovtool.core.errors import InputError
from ovtool.core.variant import Step, Variant
from ovtool.datasets.fingerprint import fingerprint
from ovtool.datasets.spec import DataSpec
from ovtool.evaluation.evaluate import EXACT, evaluate
from ovtool.models.convert import convert
from ovtool.models.options import SourceOptions
from tests.helpers.graphs import convolutional, save
from tests.helpers.quantized_models import run, samples, save_mlp, write_qdq

pytestmark = pytest.mark.usefixtures("local_workers")


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
    quality = evaluate(
        variant, str(tmp_path / "held-out.npz"), baseline=source, precision="f32",
        metric="agreement",
    )  # fmt: skip
    expected = (run(source, values).argmax(1) == run(int8, values).argmax(1)).mean()
    assert expected < 1
    assert quality.figures["agreement_top1"] == pytest.approx(expected, abs=0.021)


@pytest.mark.slow
def test_samples_that_calibrated_the_variant_are_a_warning(tmp_path):
    rows = np.random.default_rng(0).standard_normal((10, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "calibration.npz", x=rows[:6])
    np.savez(tmp_path / "mixed.npz", x=rows[4:], label=np.zeros(6, np.int64))
    np.savez(tmp_path / "other.npz", x=rows[6:], label=np.zeros(4, np.int64))
    base = save(tmp_path / "net", convolutional())
    hashes = fingerprint(DataSpec(str(tmp_path / "calibration.npz")).load(base)).samples
    step = Step(method="int8", settings={}, samples={"calibration": hashes}, seconds=0)
    calibrated = Variant(base.folder, base.record.model_copy(update={"steps": (step,)}))

    def shared(variant, name):
        quality = evaluate(variant, str(tmp_path / f"{name}.npz"))
        return [note.evidence for note in quality.notes if note.id == "samples-shared"]

    (evidence,) = shared(calibrated, "mixed")
    assert "2 of 6 " in evidence
    assert "calibration of int8" in evidence
    assert shared(calibrated, "other") == shared(base, "mixed") == []
