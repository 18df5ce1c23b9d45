"""The code of a Python bundle, imported from a bundle as a program imports it."""

import asyncio
import importlib
import itertools
import json
import subprocess
import sys
import threading
import venv
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovtool import api
from ovtool.core.ports import Port, Preprocessing
from ovtool.datasets.image_transform import load_image, make_transform
from ovtool.deploy.graph import raw_port, raw_steps
from ovtool.deploy.manifest import ImageSteps
from ovtool.deploy.templates.python_app.images import read_image
from tests.helpers.bundles import CLASSES


@pytest.fixture(scope="module")
def package(deployed):
    """The package of a bundle, with a batch of 2."""
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    sys.path.insert(0, str(deployed.bundle))
    try:
        yield importlib.import_module("tiny_net")
    finally:
        sys.path.remove(str(deployed.bundle))
        sys.dont_write_bytecode = before


@pytest.fixture(scope="module")
def model(package):
    with package.Model() as opened:
        yield opened


@pytest.fixture(scope="module")
def stored(deployed):
    inputs, outputs = (np.load(deployed.bundle / f"samples/{n}puts.npz") for n in ("in", "out"))
    return inputs["x"], outputs["scores"]


def close(a, b):
    return np.allclose(a, b, atol=1e-3 * np.abs(b).max())


def test_one_request_is_a_full_batch(model, stored):
    pixels, scores = stored
    assert (model.batch, model.device, model.labels) == (2, "CPU", list(CLASSES))
    outputs = model.infer(pixels[:2])
    assert list(outputs) == ["scores"]
    assert close(outputs["scores"], scores[:2])
    assert close(model.infer({"x": pixels[2:]})["scores"], scores[2:])


def test_requests_run_asynchronously_and_their_inputs_may_be_reused(model, stored):
    pixels, scores = stored
    buffer = pixels[:2].copy()
    first = model.submit(buffer)
    buffer[:] = 0
    assert close(first.result()["scores"], scores[:2])

    async def both():
        futures = [model.submit(pixels[:2]), model.submit(pixels[2:])]
        return await asyncio.gather(*map(asyncio.wrap_future, futures))

    results = asyncio.run(both())
    assert close(np.concatenate([r["scores"] for r in results]), scores)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_any_number_of_samples_in_order(model, stored, count):
    pixels, scores = stored
    order = list(itertools.islice(itertools.cycle(range(4)), count))
    outputs = list(model.infer_samples(pixels[i] for i in order))
    assert len(outputs) == count
    assert all(close(o["scores"], scores[i]) for o, i in zip(outputs, order, strict=True))


def test_several_threads(model, stored):
    pixels, scores = stored
    wrong = []

    def run():
        wrong.extend(
            1 for _ in range(20) if not close(model.infer(pixels[:2])["scores"], scores[:2])
        )

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "inputs",
    [
        np.zeros((1, 16, 16, 3), np.uint8), np.zeros((2, 3, 16, 16), np.uint8),
        np.zeros((2, 16, 16, 3), np.float32), {}, {"y": np.zeros((2, 16, 16, 3), np.uint8)}, 3,
    ],
    ids=["batch", "layout", "type", "none", "name", "number"],
)  # fmt: skip
def test_wrong_inputs_are_value_errors_and_take_no_request(model, stored, inputs):
    for _ in range(model.requests + 1):
        for call in (model.infer, model.submit):
            with pytest.raises(ValueError, match="input x"):
                call(inputs)
    with pytest.raises(ValueError, match="x"):
        list(model.infer_samples([inputs]))
    assert close(model.infer(stored[0][:2])["scores"], stored[1][:2])


def test_properties_are_read_back_as_they_are_set(model):
    described = model.describe()
    assert described["properties"] == {"PERFORMANCE_HINT": "LATENCY"}
    assert (described["device"], described["requests"]) == ("CPU", model.requests)


@pytest.mark.parametrize("resize", ["crop", "stretch", None])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "I;16", "CMYK", "1", "LA"])
@pytest.mark.parametrize("size", [(31, 47), (60, 20), (16, 12), (5, 5)])
def test_images_are_read_as_the_evaluation_reads_them(tmp_path, size, mode, resize):
    """Independent of the templates: the transform of the evaluation, on raw pixels."""
    rng = np.random.default_rng(1)
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 65536, size[::-1], np.uint16))
    else:
        image = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), np.uint8)).convert(mode)
    path = tmp_path / f"image.{'tif' if mode == 'CMYK' else 'png'}"
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side
    image.save(path, **({} if mode in ("I;16", "CMYK") else {"exif": exif}))
    channels = "L" if mode == "L" else "RGB"
    port = Port(name="x", shape=(-1, 1 if mode == "L" else 3, 12, 16), dtype="f32", layout="NCHW")
    steps = Preprocessing(resize=resize, channels=channels, mean=(9.0,), scale=(7.0,))
    transform = make_transform((port,), steps)
    raw = raw_steps(transform)
    expected = load_image(path, make_transform((raw_port(transform),), raw))
    read = read_image(path, ImageSteps.of(raw, transform.size).model_dump())
    assert np.array_equal(read, expected)
    evaluated = load_image(path, transform)
    assert np.array_equal((read.astype(np.float32) - 9).transpose(2, 0, 1) / 7, evaluated)


def run(package, arguments, capsys):
    program = importlib.import_module("tiny_net.__main__")
    program.main([str(a) for a in arguments])
    return capsys.readouterr().out.splitlines()


def test_the_program_names_the_class_of_images_and_arrays(
    package, deployed, stored, tmp_path, capsys
):
    pixels, scores = stored
    np.save(tmp_path / "one.npy", pixels[0])
    np.save(tmp_path / "all.npy", pixels)
    lines = run(package, [tmp_path / "one.npy", tmp_path / "all.npy", "--top", "2"], capsys)
    assert len(lines) == 10
    best = scores[0].argmax()
    assert f"class {best} {CLASSES[best]} " in lines[0]
    picture = deployed.images / "c" / "picture.png"
    saved = tmp_path / "out.npz"
    (line,) = run(package, [picture, "--out", saved], capsys)
    assert str(picture) in line
    assert np.load(saved)["scores"].shape == (1, 10)


@pytest.mark.parametrize(
    "name", ["gone.png", "text.png", "text.npy", "text.npz", "objects.npy", "wide.npy"]
)
def test_the_program_ends_with_one_line_for_a_wrong_file(package, tmp_path, name, capsys):
    if name.startswith("text"):
        (tmp_path / name).write_text("no image")
    if name == "objects.npy":
        np.save(tmp_path / name, np.array([{}]), allow_pickle=True)
    if name == "wide.npy":
        np.save(tmp_path / name, np.zeros((2, 99, 99, 3), np.uint8))
    with pytest.raises(SystemExit) as end:
        run(package, [tmp_path / name], capsys)
    assert str(end.value).startswith("error: ")
    assert len(str(end.value).splitlines()) == 1


def fresh_environment(folder, names):
    """Return the Python of a new environment that has these installed packages alone."""
    venv.create(folder, with_pip=False)
    program = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
    python = folder / program
    place = "import sysconfig; print(sysconfig.get_path('purelib'))"
    printed = subprocess.run([python, "-c", place], capture_output=True, text=True, check=True)
    for name in names:
        installed = distribution(name)
        for top in {file.parts[0] for file in installed.files} - {"..", "__pycache__"}:
            link = Path(printed.stdout.strip(), top)
            if not link.exists():  # two packages can share a folder
                link.symlink_to(Path(installed.locate_file(top)).resolve())
    return python


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_fresh_environment_gives_the_classes_of_the_evaluation(deployed, tmp_path):
    sbom = json.loads((deployed.bundle / "sbom.cdx.json").read_text())
    names = [c["name"] for c in sbom["components"] if c["type"] == "library"]
    python = fresh_environment(tmp_path / "venv", names)
    command = [python, "-c", "import ovtool"]
    missing = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, env={})
    assert missing.returncode != 0
    pictures = sorted(deployed.images.rglob("*.png"))
    ran = subprocess.run(
        [python, "-B", "-m", "tiny_net", *pictures, "--out", tmp_path / "out.npz"],
        cwd=deployed.bundle, capture_output=True, text=True, check=True, env={},
    )  # fmt: skip
    assert len(ran.stdout.splitlines()) == len(pictures)
    quality = api.evaluate(deployed.variant, deployed.images, baseline=deployed.variant, batch=2)
    classes = [CLASSES[row.argmax()] for row in np.load(tmp_path / "out.npz")["scores"]]
    right = [name == path.parent.name for name, path in zip(classes, pictures, strict=True)]
    assert np.mean(right) == quality.figures["accuracy_top1"]
