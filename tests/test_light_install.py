"""The wheel, without the packages of the extra ``compress``, measures a model from elsewhere."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import openvino as ov
import pytest

from tests.helpers import graphs

ROOT = Path(__file__).parents[1]
RECIPE = """
recipe: 1
name: elsewhere
about: an IR, measured
model: {source: MODEL}
variants: {fp32: {}}
sweep: {devices: [CPU], batches: [1], hints: [latency], rounds: 3, round_s: 0.05, max_seconds: 1}
"""
BLOCKER = """
from importlib.machinery import PathFinder

find_spec = PathFinder.find_spec


def find_other_spec(name, path=None, target=None):
    if name.partition(".")[0] not in {"torch", "nncf", "sklearn"}:
        return find_spec(name, path, target)


PathFinder.find_spec = find_other_spec
"""


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    """Return a function that runs the installed wheel in a folder of its own."""
    folder = tmp_path_factory.mktemp("light")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    site = folder / "site"
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    (site / "sitecustomize.py").write_text(BLOCKER)
    ov.save_model(graphs.convolutional(), folder / "model.xml", compress_to_fp16=False)
    (folder / "recipe.yaml").write_text(RECIPE.replace("MODEL", str(folder / "model.xml")))

    def run(*arguments):
        program = "import ovtool.__main__ as m, sys; print(m.__file__, file=sys.stderr); m.run()"
        return subprocess.run(
            [sys.executable, "-P", "-c", program, *arguments],
            check=False,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
        )

    run.site = site
    return run


@pytest.mark.slow
def test_the_wheel_runs_a_recipe_on_an_ir(light):
    done = light("run", "recipe.yaml", "--out", "out", "--json")
    assert done.returncode == 0, done.stderr
    assert str(light.site) in done.stderr.splitlines()[0]
    assert json.loads(done.stdout)
    assert (light.site.parent / "out").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("compress", "variant", "weights", "--out", "int8"),
        ("convert", "network.pt", "--trust", "--out", "fp32"),
        ("convert", "sample:digits-cnn", "--out", "fp32"),
    ],
)
def test_what_needs_more_has_an_install_command(light, arguments):
    folder = light.site.parent
    if not (folder / "variant").exists():
        assert light("convert", "model.xml", "--out", "variant").returncode == 0
        (folder / "network.pt").write_bytes(b"PK")
    done = light(*arguments)
    assert done.returncode == 3
    assert "pip install 'ovtool[compress]'" in done.stderr
    assert not (folder / arguments[-1]).exists()
