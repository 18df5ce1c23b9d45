"""Predicted against measured latency, over networks that no calibration has seen.

A calibration measures operations of one kind each (``ovtool/roofline/probes.py``).  The device is
calibrated first where it was not in this environment.  ``make bench`` runs it.
"""

import pytest

from ovtool import api
from ovtool.models.options import SourceOptions
from ovtool.roofline import predict as predicting
from tests.benchmarks import networks
from tests.benchmarks.conftest import job_of, measure
from tests.helpers import graphs as models

MIN_CASES = 12
"""Minimum undisturbed cases for an error."""
LITE0 = "sample:efficientnet-lite0"
SMALL = ("lenet-300-100", "lenet-5", "digits-cnn", "digits-resnet")


def convert_all(folder):
    """Variants by name, with the batches to run them at."""
    for size in (128, 224, 320):
        options = SourceOptions(input_shapes={"inputs": (-1, 3, size, size)})
        out = folder / f"lite0-{size}"
        yield api.convert(LITE0, out=out, options=options), (1, 4)
    for name in SMALL:
        yield api.convert(f"sample:{name}", out=folder / name), (1, 32)
    yield networks.tiny(folder), (1,)
    yield networks.short(folder), (1, 8)
    yield networks.memory_bound(folder), (1,)
    yield models.save(folder / "mlp", networks.dense(768, 6)), (1, 64)
    yield models.save(folder / "vgg", networks.convnet(96, 64, 6)), (1,)
    yield models.save(folder / "resnet-64", networks.resnet()), (1, 8)
    yield models.save(folder / "resnet-224", networks.resnet(224, 64, (2, 2, 2, 2), 1000)), (1,)
    yield models.save(folder / "encoder", networks.transformer()), (1, 4)
    yield models.save(folder / "encoder-small", networks.transformer(128, 2, 32)), (1,)


@pytest.fixture(scope="module")
def calibration():
    return predicting.find_calibration("CPU") or api.calibrate("CPU")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    return list(convert_all(tmp_path_factory.mktemp("originals")))


@pytest.fixture(scope="module")
def quantized(originals, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    return [
        (api.compress(variant, "int8", data="noise:32", out=folder / variant.name), batches)
        for variant, batches in originals
    ]


def compare(cases, precision, name=None):
    """Print a line for each network and batch, and return the mean absolute error.

    It is that of the cases that others did not disturb; where these are too few, nothing is known.
    """
    errors, quiet = [], []
    print()
    for variant, batches in cases:
        for batch in batches:
            predicted_ms = api.predict(variant, batch=batch, precision=precision).latency_ms
            (row,) = measure([job_of(variant, batch, precision=precision)], max_seconds=4)
            which = "min" if row.verdict == "contended" else "p50"
            latency_ms = row.figures[f"latency_{which}_ms"]
            errors.append(predicted_ms / latency_ms - 1)
            quiet += errors[-1:] * (row.verdict != "contended")
            print(
                f"prediction {name or precision}: {variant.name} batch {batch}:"
                f" predicted {predicted_ms:.4g} ms, measured {latency_ms:.4g} ms ({row.verdict}),"
                f" {errors[-1]:+.0%}"
            )
    for which, some in (("all", errors), ("not contended", quiet)):
        mean = sum(map(abs, some)) / len(some) if some else float("nan")
        print(
            f"prediction {name or precision}: {len(some)} cases, {which}: mean absolute error"
            f" {mean:.1%}"
        )
    if len(quiet) < MIN_CASES:
        pytest.skip(f"busy machine: {len(quiet)} of {len(errors)} cases were undisturbed")
    return mean


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_f32(calibration, originals):
    assert compare(originals, "f32") < 0.15


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_the_default_precision(calibration, originals):
    assert compare(originals, "default") < 0.3


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_int8(calibration, quantized):
    assert compare(quantized, "f32", "INT8") < 0.3
