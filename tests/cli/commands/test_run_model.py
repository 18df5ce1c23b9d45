"""``ovtool run MODEL``: from a model and images to the answer, with one command."""

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from PIL import Image

from ovtool.cli.answer import LINES
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.variant import Variant
from ovtool.datasets.registry import load_samples
from ovtool.recipes.schema import read_recipe
from ovtool.results.table import load_results
from tests.helpers.owned import write_onnx

QUICK = ("--batch", "1", "--hint", "latency", "--rounds", "3", "--round-s", "0.03",
         "--max-seconds", "0.5")  # fmt: skip
PIXELS = ("--mean", "127", "--scale", "64")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A model with 24 images, half of which have the label that the model gives."""
    monkeypatch.chdir(tmp_path)
    model = write_onnx(tmp_path / "own.onnx")
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(4)
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    lines = ["file,label"]
    for number in range(24):
        pixels = rng.integers(0, 256, (12, 12, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
        scores = compiled(((pixels.astype(np.float32) - 127) / 64).transpose(2, 0, 1)[None])[0]
        lines.append(f"{number}.png,{(int(scores.argmax()) + number % 2) % 5}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


@pytest.mark.slow
def test_one_command_from_a_model_to_the_answer(ovtool, own):
    arguments = ("--data", "images", "--labels", "labels.csv", *PIXELS, *QUICK)
    ran = ovtool("run", "own.onnx", *arguments)
    assert ran.status == 0, ran.err
    lines = ran.out.rstrip("\n").splitlines()
    assert len(lines) <= LINES
    folder = own / "reports" / "own"
    assert "reports/own/index.html" in ran.out
    assert "ovtool run reports/own/recipe.yaml" in lines[-1]
    assert lines[0].startswith("TOO FEW")  # 12 samples
    assert "reused" not in ran.out + ran.err
    assert (folder / "index.html").is_file()

    recipe = read_recipe(folder / "recipe.yaml")
    assert list(recipe.variants) == ["own", "int8", "int8-weights"]
    assert Variant.load(folder / "variants" / "int8").compressed
    rows = {
        (row["variant"], row["precision"]): row for row in load_results([folder / "sweep"]).records
    }
    assert {name for name, _ in rows} == set(recipe.variants)
    assert all(row["quality_samples"] == 12 for row in rows.values())
    original = Variant.load(folder / "variants" / "own").record
    judged = load_samples(
        "images", original.inputs, original.preprocessing, labels=Path("labels.csv"), part="2/2"
    )
    right = [int(Path(sample.origin).stem) % 2 == 0 for sample in judged]
    assert len(right) == 12
    assert rows["own", "default"]["accuracy_top1"] == pytest.approx(sum(right) / 12)
    default = ov.Core().get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()
    assert (("own", "f32") in rows) == (default != "f32")
    assert rows.get(("own", "f32"), rows["own", "default"])["quality_loss"] == 0
    assert rows["int8", "default"]["speedup_f32_x"] is not None

    measured = len(list(SweepFolder(folder / "sweep").measurements()))
    again = ovtool("run", "reports/own/recipe.yaml", "--json")
    assert again.status == 0, again.err
    document = again.document
    assert document["folder"] == "reports/own"
    assert document["recipe"] is None
    assert len(list(SweepFolder(folder / "sweep").measurements())) == measured


@pytest.mark.slow
def test_limits_that_nothing_meets_give_the_commands_that_go_on(ovtool, own):
    limits = ("--max-drop", "60%", "--max-latency-ms", "0.00001")
    ran = ovtool("run", "own.onnx", "--data", "images", *PIXELS, *QUICK, *limits)
    assert ran.status == 1
    assert len(ran.errors) == 2
    assert 1 <= len(ran.out.splitlines()) <= 3
    assert "reports/own/index.html" in ran.out
    command = next(line for line in ran.out.splitlines() if "ovtool choose " in line)
    again = ovtool(*command.partition("ovtool ")[2].split(), "--json")
    assert again.status == 0
    (step,) = Variant.load(own / "reports" / "own" / "variants" / "int8").record.steps
    assert step.settings["max_drop"] == 0.6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--data", "images", "--labels", "absent.csv"), "absent.csv"),
        (("--data", "images", "--labels", "wrong.csv"), "wrong.csv"),
        (("--data", "nothing"), "nothing"),
        (("--data", "images", "--labels", "labels.csv", "--metric", "code:judge"), "code:judge"),
        (("--data", "images", "--labels", "labels.csv", "--min-quality", "1.5"), "1.5"),
        (("--labels", "labels.csv"), "--data"),
        (("--device", "NPU.4", "--strict"), "NPU.4"),
    ],
)
def test_wrong_data_are_refused_before_anything_is_written(refused, own, arguments, named):
    (own / "wrong.csv").write_text("name,class\n0.png,1\n")
    (own / "nothing").mkdir()
    status = 3 if "--strict" in arguments else 2
    assert named in refused("run", "own.onnx", *arguments, *PIXELS, status=status).text


def test_options_of_a_model_are_refused_for_a_recipe(refused, own):
    (own / "r.yaml").write_text(
        "recipe: 1\nname: r\nmodel: {source: own.onnx}\nvariants: {fp32: {}}\n"
    )
    assert "--data" in refused("run", "r.yaml", "--data", "images").error


@pytest.mark.parametrize(
    ("verb", "arguments", "folder"),
    [
        ("convert", ("own.onnx",), "variants/own"),
        ("compress", ("own.onnx", "weights"), "variants/own-weights"),
        ("sweep", ("own.onnx", *QUICK), "sweeps/own"),
    ],
)
@pytest.mark.slow
def test_results_have_a_folder_without_out(ovtool, own, verb, arguments, folder):
    ran = ovtool(verb, *arguments)
    assert ran.status == 0, ran.err
    assert (own / folder).is_dir()
    assert folder in ran.out + ran.err
