"""Changed bundles: each is refused with one error, before anything of it runs."""

import hashlib
import os
import random
import shutil
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovtool.core.errors import InputError
from ovtool.deploy.bundle_files import VERIFICATION, check_files
from ovtool.deploy.manifest import MANIFEST
from tests.helpers.bundles import read_document, seal, write_document

PACKAGE = "tiny_net"
FILES = (
    MANIFEST, "README.md", "requirements.txt", "requirements-images.txt", "sbom.cdx.json",
    *(f"{PACKAGE}/{name}" for name in (
        "__init__.py", "__main__.py", "model.py", "images.py", "config.json", "labels.txt",
        "model.xml", "model.bin",
    )),
    "samples/inputs.npz", "samples/outputs.npz",
)  # fmt: skip
CODE = [path for path in FILES if path.endswith(".py")]


@pytest.mark.slow
def test_the_files_are_those_of_a_bundle(deployed):
    present = {p.relative_to(deployed.bundle).as_posix() for p in deployed.bundle.rglob("*.*")}
    assert present == {*FILES, VERIFICATION, ".ovtool"}
    assert check_files(deployed.bundle).package == PACKAGE


def refuse(bundle):
    """Check a bundle that must be refused, in one line that a terminal can show."""
    with pytest.raises(InputError) as caught:
        check_files(bundle)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400
    return caught.value


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit(copy, name, seed):
    path, rng = copy / name, random.Random(f"{name}{seed}")
    content = bytearray(path.read_bytes())
    # The first and the last byte, and some between.
    place = {0: 0, 1: len(content) - 1}.get(seed, rng.randrange(len(content)))
    content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    refuse(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(copy, name):
    (copy / name).unlink()
    assert name.rpartition("/")[2] in str(refuse(copy))


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b + b"\n", lambda _: b""])
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_length(copy, name, change):
    path = copy / name
    path.write_bytes(change(path.read_bytes()))
    refuse(copy)


@pytest.mark.parametrize(
    "name",
    [
        "numpy.py", "openvino/__init__.py", "sitecustomize.py", f"{PACKAGE}/extra.py", ".hidden",
        f"{PACKAGE}/model.pyc", f"{PACKAGE}/__pycache__/model.cpython-311.pyc", "samples/x.npz",
        f"{PACKAGE}/images.so", "MANIFEST.json.bak", "usercustomize.pth", f"{PACKAGE}/.ovtool",
    ],
)  # fmt: skip
def test_an_extra_file(copy, name):
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_bytes(b"raise SystemExit\n")
    assert name.partition("/")[0] in str(refuse(copy))


def test_an_extra_folder(copy):
    (copy / "empty").mkdir()
    assert "empty" in str(refuse(copy))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
@pytest.mark.parametrize("name", [MANIFEST, f"{PACKAGE}/model.py", "samples/inputs.npz", PACKAGE])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_file_that_is_not_regular(copy, tmp_path, name, kind):
    path = copy / name
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved") if kind == "link" else os.mkfifo(path)
    refuse(copy)


@pytest.mark.parametrize("name", CODE)
def test_other_code_with_a_hash_that_fits(copy, name):
    """A stranger can change the code and its hash: it is not run."""
    path = copy / name
    path.write_bytes(b"import os\n" + path.read_bytes())
    document = read_document(copy)
    seal(copy)  # writes the code of ovtool again
    path.write_bytes(b"import os\n" + path.read_bytes())
    document["files"][name] = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size,
    }  # fmt: skip
    write_document(copy, document)
    assert name in str(refuse(copy))


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "C:\\x", "a/../../b", "", "samples", f"{PACKAGE}/x.py"]
)
def test_a_path_that_is_not_of_the_bundle(copy, name):
    document = read_document(copy)
    document["files"][name] = document["files"]["README.md"]
    write_document(copy, document)
    refuse(copy)


@pytest.mark.parametrize(
    "package", ["../x", "x/y", "os", "numpy", "", "X", "a-b", "class", 3, None, "é", "a" * 100]
)
def test_a_package_that_could_hide_another(copy, package):
    write_document(copy, read_document(copy) | {"package": package})
    refuse(copy)


def test_another_version_of_ovtool_is_named(copy):
    document = read_document(copy)
    path = copy / PACKAGE / "model.py"
    path.write_bytes(path.read_bytes() + b"# other\n")
    document["files"][f"{PACKAGE}/model.py"]["bytes"] = path.stat().st_size
    write_document(copy, document | {"ovtool": "9.9"})
    error = refuse(copy)
    assert "9.9" in f"{error} {error.hint}"


@pytest.mark.parametrize(
    "changes",
    [
        {"properties": {"PERFORMANCE_HINT": "THROUGHPUT"}},
        {"labels": ["x"] * 10},
        {"requests": 7},
        {"ovtool": "9.9"},
        {"licenses": {"model": "MIT", "data": "MIT"}},
    ],
    ids=str,
)
def test_a_field_that_the_texts_do_not_follow(copy, changes):
    write_document(copy, read_document(copy) | changes)
    refuse(copy)


def test_a_sealed_bundle_of_other_values_is_one_of_them(copy):
    """Hashes show damage, not who wrote a bundle."""
    seal(copy, licenses={"model": "MIT", "data": "MIT"})
    assert check_files(copy).licenses.model == "MIT"


@pytest.mark.slow
@settings(max_examples=20)
@given(data=st.data())
def test_any_changed_byte(deployed, tmp_path_factory, data):
    bundle = tmp_path_factory.mktemp("any") / "bundle"
    shutil.copytree(deployed.bundle, bundle)
    path = bundle / data.draw(st.sampled_from(FILES))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255).filter(lambda b: b != content[place]))
    path.write_bytes(content)
    refuse(bundle)
    shutil.rmtree(bundle)
