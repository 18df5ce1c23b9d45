import importlib.util
import re
import subprocess
import sys

import pytest

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.core.ports import Port, Preprocessing
from ovtool.datasets.registry import DATASETS, load_samples

PORT = Port(name="x", shape=(-1, 3, 32, 32), dtype="f32", layout="NCHW")
STEPS = Preprocessing(size=(32, 32))


@pytest.mark.parametrize("reference", ["", "nowhere", "nowhere.npz", "nowhere/images"])
def test_missing_dataset_raises(reference):
    with pytest.raises(InputError, match=re.escape(repr(reference))):
        load_samples(reference, [PORT], None)


def test_unsupported_file_raises(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match=r"a\.txt"):
        load_samples(str(tmp_path / "a.txt"), [PORT], None)


def test_invalid_labels_and_limit_raise(tmp_path):
    with pytest.raises(InputError, match="noise"):
        load_samples("noise", [PORT], None, labels=tmp_path / "labels.csv")
    with pytest.raises(InputError, match="0"):
        load_samples("noise", [PORT], None, limit=0)


def test_imagenet20_is_labelled():
    pytest.importorskip("foolbox", reason="the package of the images is optional")
    samples = load_samples("sample:imagenet20", [PORT], STEPS)
    assert len(samples) == 20
    assert samples.labelled
    first = next(iter(samples))
    assert (first.label, first.inputs["x"].shape) == (243, (3, 32, 32))


@pytest.mark.slow
def test_photographs_are_unlabelled_and_all_different():
    pytest.importorskip("skimage", reason="the package of the images is optional")
    samples = load_samples("sample:photographs", [PORT], STEPS)
    arrays = [sample.inputs["x"].tobytes() for sample in samples]
    assert len(set(arrays)) == len(arrays) == 72
    assert not samples.labelled


def test_unknown_sample_raises():
    with pytest.raises(InputError, match="'imagenet2'") as caught:
        load_samples("sample:imagenet2", [PORT], STEPS)
    assert "imagenet20" in caught.value.hint


def test_missing_package_hint_is_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match="foolbox") as caught:
        load_samples("sample:imagenet20", [PORT], STEPS)
    assert "ovtool[demo]" in caught.value.hint


@pytest.mark.slow
def test_samples_are_located_without_importing_their_packages():
    code = (
        "import sys; from ovtool.datasets.registry import load_samples;"
        "from ovtool.core.variant import Port, Preprocessing;"
        "p = Port(name='x', shape=(-1, 3, 8, 8), dtype='f32', layout='NCHW');"
        "print([len(load_samples(s, [p], Preprocessing(size=(8, 8)))) for s in"
        " ('sample:imagenet20', 'sample:photographs')],"
        " {'foolbox', 'skimage', 'openvino', 'PIL'} & set(sys.modules))"
    )
    pytest.importorskip("foolbox", reason="the package of the images is optional")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[20, 72] set()"


def test_every_registry_row_is_importable():
    assert all(callable(DATASETS.load(kind)) for kind in DATASETS)
