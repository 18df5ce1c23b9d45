"""The recipe that ``ovtool run MODEL`` drafts."""

import sys

import numpy as np
import onnx
import pytest
from PIL import Image

from ovtool import api
from ovtool.core.errors import InputError
from ovtool.datasets import text as text_data
from ovtool.datasets.registry import load_samples
from ovtool.datasets.samples import parse_part
from ovtool.models.options import SourceOptions
from ovtool.recipes import draft
from ovtool.recipes.draft import DraftSpec
from ovtool.recipes.run import run_recipe
from ovtool.recipes.schema import read_recipe
from ovtool.selection.choice_spec import ChoiceSpec
from tests.helpers.decoders import write_openvino_folder
from tests.helpers.owned import TORCH, write_onnx
from tests.helpers.quantized_models import samples, save_mlp, write_qdq


@pytest.fixture
def model(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.arange(7 * 432, dtype=np.float32).reshape(7, 3, 12, 12))
    return write_onnx(tmp_path / "own.onnx")


@pytest.mark.slow
def test_the_halves_of_the_data_share_no_sample(model):
    out = model.parent / "out"
    path = api.draft(model, out=out, data=str(model.parent / "x.npz"))
    recipe = read_recipe(path)
    inputs = api.recipes.check(path) and api.convert(model, out=out / "ir").record.inputs
    halves = [
        [float(s.inputs["x"].flat[0]) for s in load_samples(d.source, inputs, None, part=d.part)]
        for d in (recipe.data.calibration, recipe.data.evaluation)
    ]
    assert sorted(halves[0] + halves[1]) == [432.0 * row for row in range(7)]
    assert [len(half) for half in halves] == [4, 3]
    assert list(recipe.variants) == ["own", "int8", "int8-weights"]


@pytest.mark.slow
def test_a_limit_of_the_loss_takes_a_third_of_the_data(model):
    data = str(model.parent / "x.npz")
    path = api.draft(model, out=model.parent / "out", data=data, choose=ChoiceSpec(max_drop=0.02))
    recipe = read_recipe(path)
    inputs = api.convert(model, out=model.parent / "ir").record.inputs
    parts = [
        [float(s.inputs["x"].flat[0]) for s in load_samples(d.source, inputs, None, part=d.part)]
        for d in (recipe.data.calibration, recipe.data.validation, recipe.data.evaluation)
    ]
    assert sorted(value for part in parts for value in part) == [432.0 * row for row in range(7)]
    (step,) = recipe.variants["int8"].steps
    assert step.settings == {"max_drop": 0.02}
    assert recipe.choose.max_drop == 0.02


def test_a_limit_of_the_loss_needs_samples(model):
    with pytest.raises(InputError, match="--max-drop"):
        api.draft(model, out=model.parent / "out", choose=ChoiceSpec(max_drop=0.02))


@pytest.mark.slow
def test_without_data_only_variants_that_need_none(model):
    recipe = read_recipe(api.draft(model, out=model.parent / "out"))
    assert list(recipe.variants) == ["own", "int8-weights"]
    assert recipe.data.evaluation is None


@pytest.mark.slow
def test_an_edited_recipe_is_not_replaced(model):
    path = api.draft(model, out=model.parent / "out")
    assert api.draft(model, out=model.parent / "out") == path
    path.write_text(path.read_text().replace("throughput", "latency"))
    with pytest.raises(InputError):
        api.draft(model, out=model.parent / "out")


@pytest.mark.slow
def test_one_sample_is_refused(model):
    np.savez(model.parent / "one.npz", x=np.ones((1, 3, 12, 12), np.float32))
    with pytest.raises(InputError):
        api.draft(model, out=model.parent / "out", data=str(model.parent / "one.npz"))


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (16, 14), (40 * number, 90, 10)).save(folder / f"{number}.png")
    (tmp_path / "labels.csv").write_text(
        "file,label\n" + "".join(f"{n}.png,{n % 5}\n" for n in range(6))
    )
    return folder


def _empty_images(folder):
    for path in folder.iterdir():
        path.unlink()


def _damage_image(folder):
    path = folder / "3.png"
    path.write_bytes(path.read_bytes()[:40])


def _label_missing_image(folder):
    (folder.parent / "labels.csv").write_text("file,label\n0.png,1\nabsent.png,2\n")


def _label_without_header(folder):
    (folder.parent / "labels.csv").write_text("0.png,1\n1.png,2\n")


def _label_beyond_the_classes(folder):
    rows = "".join(f"{number}.png,{number + 5}\n" for number in range(6))
    (folder.parent / "labels.csv").write_text(f"file,label\n{rows}")


def _remove_labels(folder):
    (folder.parent / "labels.csv").unlink()


def _nothing(_folder):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "changes", "choose"),
    [
        (_empty_images, {"labels": None}, {}),
        (_damage_image, {}, {}),
        (_label_missing_image, {}, {}),
        (_label_without_header, {}, {}),
        (_label_beyond_the_classes, {}, {}),
        (_remove_labels, {}, {}),
        (_nothing, {"metric": "no_such_metric"}, {}),
        (_nothing, {"metric": "map"}, {}),
        (_nothing, {"metric": "code:judge"}, {}),
        (_nothing, {"outputs": ("absent",)}, {}),
        (_nothing, {"labels": None, "metric": "top1"}, {}),
        (_nothing, {}, {"min_quality": 95}),
        (_nothing, {}, {"prices": "absent.yaml"}),
        (_nothing, {"source": "absent"}, {}),
    ],
)
def test_data_that_does_not_fit_leaves_nothing(
    model, images, tmp_path, monkeypatch, damage, changes, choose
):
    damage(images)
    own = {"source": str(images), "labels": str(tmp_path / "labels.csv")} | changes
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError):
        api.draft(model, data=api.OwnData(**own), choose=api.ChoiceSpec(**choose))
    assert sorted(tmp_path.rglob("*")) == before


def test_damaged_arrays_are_found_before_the_conversion(model, monkeypatch):
    (model.parent / "x.npz").write_bytes((model.parent / "x.npz").read_bytes()[:3000])
    monkeypatch.setattr(draft, "load_or_convert", lambda *_, **__: pytest.fail("converts first"))
    with pytest.raises(InputError):
        api.draft(model, out=model.parent / "out", data=str(model.parent / "x.npz"))


@pytest.mark.slow
def test_an_error_keeps_the_variant_of_an_earlier_run(model, images):
    out = model.parent / "out"
    api.draft(model, out=out)
    kept = sorted((out / "variants").rglob("*"))
    _damage_image(images)
    with pytest.raises(InputError):
        api.draft(model, out=out, data=str(images))
    assert sorted((out / "variants").rglob("*")) == kept


@pytest.mark.slow
def test_labels_and_images_give_a_valid_recipe(model, images, tmp_path):
    own = api.OwnData(str(images), str(tmp_path / "labels.csv"), metric="top1")
    recipe = read_recipe(api.draft(model, out=tmp_path / "out", data=own))
    assert recipe.data.evaluation.metric == "top1"
    assert recipe.data.evaluation.labels == recipe.data.calibration.labels == own.labels


@pytest.mark.slow
@pytest.mark.parametrize("name", ["_net", "-net", "n" * 120, "..", "5"])
def test_any_name_of_a_model_gives_a_valid_recipe(model, tmp_path, name):
    model = model.rename(model.with_name(f"{name}.onnx"))
    read_recipe(api.draft(model, out=tmp_path / "out"))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "1/2/3", "²/2"])
def test_a_wrong_part_is_refused(text):
    with pytest.raises(InputError):
        parse_part(text)


@pytest.mark.slow
def test_open_dimensions_get_the_size_of_the_samples(tmp_path):
    model = write_onnx(tmp_path / "open.onnx")
    graph = onnx.load(model)
    for axis, name in ((2, "height"), (3, "width")):
        graph.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    onnx.save(graph, model)
    np.savez(tmp_path / "x.npz", x=np.ones((6, 3, 20, 24), np.float32))
    with pytest.raises(InputError):
        api.draft(model, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    recipe = read_recipe(api.draft(model, out=tmp_path / "out", data=str(tmp_path / "x.npz")))
    assert recipe.sweep.shapes == {"x": ((-1, 3, 20, 24),)}


@pytest.mark.slow
def test_a_compressed_model_is_measured_beside_its_baseline(tmp_path):
    source = save_mlp(tmp_path / "mlp.onnx")
    write_qdq(source, tmp_path / "int8.onnx")
    np.savez(tmp_path / "held-out.npz", x=samples(50, seed=3))
    path = api.draft(
        tmp_path / "int8.onnx",
        out=tmp_path / "out",
        data=str(tmp_path / "held-out.npz"),
        options=SourceOptions(tolerance=0.2),
        spec=api.DraftSpec(baseline=str(source)),
    )
    recipe = read_recipe(path)
    assert {name: v.steps for name, v in recipe.variants.items()} == {"int8": ()}
    assert recipe.sweep.baseline == str(source)
    assert recipe.sweep.precisions_of == {"mlp": ("f32", "default")}
    assert recipe.data.calibration is None
    assert recipe.data.evaluation.limit == 50


@pytest.mark.slow
def test_a_folder_with_the_results_of_another_model_is_refused(model, tmp_path):
    api.draft(model, out=tmp_path / "out")
    other = write_onnx(tmp_path / "other.onnx", seed=1)
    with pytest.raises(InputError):
        api.draft(other, out=tmp_path / "out")


@pytest.mark.slow
def test_the_users_own_code_runs_but_no_metric_without_trust(tmp_path, monkeypatch):
    """Only the model that the command names may be code, not what a recipe adds to it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_net_of_draft.py").write_text(TORCH)
    (tmp_path / "own_metric_of_draft.py").write_text("def judge(outputs, labels):\n    return 1\n")
    np.savez(tmp_path / "x.npz", input=np.ones((6, 3, 12, 12), np.float32))
    named, data = "own_net_of_draft:make", str(tmp_path / "x.npz")
    metric = "own_metric_of_draft:judge"
    with pytest.raises(InputError, match=metric):
        api.draft(named, data=api.OwnData(data, metric=metric))
    path = api.draft(named, data=data)
    assert f"ovtool run {path} --trust" in path.read_text()
    path.write_text(
        path.read_text().replace("    part: 2/2", f"    part: 2/2\n    metric: {metric}")
    )
    with pytest.raises(InputError, match=metric):
        run_recipe(path, own_models=[named])
    with pytest.raises(InputError, match=named):
        api.run(path)
    assert "own_metric_of_draft" not in sys.modules
    trusted = SourceOptions(trust=True)
    path.unlink()
    recipe = read_recipe(api.draft(named, data=api.OwnData(data, metric=metric), options=trusted))
    assert recipe.data.evaluation.metric == metric


@pytest.fixture
def generator(tmp_path, monkeypatch):
    """A text generator of 64 positions, and a text whose tokens need no tokenizer."""
    tokens = np.random.default_rng(1).integers(0, 30, (1, 300))
    monkeypatch.setattr(text_data, "tokenize", lambda *_: {"input_ids": tokens})
    source = write_openvino_folder(tmp_path / "generator")
    (source / "config.json").write_text('{"n_positions": 64}')
    (tmp_path / "text.txt").write_text("a text")
    return source


@pytest.mark.slow
def test_a_text_generator_has_lengths_and_weights_in_fewer_bits(generator, tmp_path):
    path = api.draft(generator, out=tmp_path / "out", data=str(tmp_path / "text.txt"))
    recipe = read_recipe(path)
    assert list(recipe.variants) == ["generator", "int8-weights", "int4-weights"]
    assert recipe.data.calibration is None
    assert recipe.data.evaluation.source == str(tmp_path / "text.txt")
    sweep = recipe.sweep
    assert sweep.batches is None
    assert sweep.shapes == {}
    assert sweep.prompt_lengths[0] + sweep.output_lengths[0] == 64
    assert sweep.max_seconds == 20
    longer = DraftSpec(max_seconds=3)
    again = api.draft(generator, out=tmp_path / "again", spec=longer)  # without data
    assert read_recipe(again).sweep.max_seconds == 3
    goal = ChoiceSpec(prompt_length=20, output_length=8)
    chosen = read_recipe(api.draft(generator, out=tmp_path / "chosen", choose=goal))
    assert (chosen.sweep.prompt_lengths, chosen.sweep.output_lengths) == ((20,), (8,))
    assert chosen.choose == goal


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{"batches": [4]}, {"hints": ["latency"]}])
def test_batches_and_hints_of_a_text_generator_are_refused(generator, tmp_path, fields):
    with pytest.raises(InputError, match="text generator"):
        api.draft(generator, out=tmp_path / "out", spec=DraftSpec(**fields))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_data_of_a_text_generator_is_text(generator, tmp_path, images):
    with pytest.raises(InputError):
        api.draft(generator, out=tmp_path / "out", data=str(images))
