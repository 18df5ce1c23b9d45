"""The Python API from a model to a choice, with real processes."""

import inspect
import json
from importlib import resources

import numpy as np
import openvino as ov
import pandas as pd
import pytest

from ovtool import api
from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.sweep_folder import JOURNAL, RESULTS, SweepFolder
from ovtool.core.sweep_spec import SweepSpec
from ovtool.core.tabular import LONGEST_LINE, Tabular, TabularList
from ovtool.recipes.run import RecipeRun
from ovtool.roofline.model import Prediction
from tests.helpers.owned import QUICK

SPEC = SweepSpec(**QUICK, batches=(1, 2), hints=("latency",), precisions=("f32",))

NO_TABLE = {
    "draft", "install_npu_compiler", "npu_compiler_folder", "npu_compiler_offer", "watch_sweeps",
}  # fmt: skip
"""Functions whose results are paths, an offer, or nothing."""

RESULTS_ELSEWHERE = {"Prediction": Prediction, "RecipeRun": RecipeRun}
UNSTABLE = ("drift_pct", "throughput_uncontended_fps")
"""Figures that depend on the number of rounds and on other processes."""


class RecordingObserver:
    """Records the progress."""

    def __init__(self):
        self.plan_counts, self.stages, self.measurements = None, [], []

    def on_plan(self, plan, finished, repeated):
        self.plan_counts = (len(plan.trials), finished, repeated)

    def on_progress(self, step):
        self.stages.append(step.stage)

    def on_measurement(self, measurement):
        self.measurements.append(measurement)


@pytest.fixture(scope="module")
def compressed(owned, tmp_path_factory):
    """The ONNX file compressed by each method, without a conversion in between."""
    folder = tmp_path_factory.mktemp("compressed")
    calibration = {"int8": str(owned.unlabelled)}
    return {
        method: api.compress(owned.onnx, method, out=folder / method, data=calibration.get(method))
        for method in ("fp16", "weights", "int8")
    }


@pytest.fixture(scope="module")
def swept(owned, compressed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept") / "sweep"
    source = compressed["int8"].folder.with_name("int8-source")
    observer = RecordingObserver()
    done = api.sweep(
        [source, compressed["int8"]],
        out=folder,
        spec=SPEC,
        data=str(owned.labelled),
        observer=observer,
    )
    return source, done, observer


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fp16", "weights", "int8"])
def test_an_onnx_file_is_compressed_directly(owned, compressed, method):
    variant = compressed[method]
    source = variant.folder.with_name(f"{method}-source")
    assert variant.name == method
    assert [step.method for step in variant.record.steps] == [method]
    assert variant.record.parent == json.loads((source / "variant.json").read_text())["sha256"][:12]
    assert variant.record.bin_bytes < (source / "model.bin").stat().st_size
    assert variant.record.source.reference == str(owned.onnx)
    types = {
        constant.get_element_type().get_type_name()
        for constant in ov.Core().read_model(variant.xml).get_ops()
        if constant.get_type_name() == "Constant"
    }
    assert types & {"fp16": {"f16"}, "weights": {"u8", "i8"}, "int8": {"u8", "i8"}}[method]


@pytest.mark.slow
def test_a_sweep_measures_speed_and_quality(owned, swept):
    _, done, observer = swept
    assert (done.measured, done.failed, done.reused) == (4, 0, 0)
    assert observer.plan_counts == (4, 0, 0)
    assert len(observer.measurements) == 4
    assert observer.stages
    table = pd.read_parquet(done.folder / RESULTS)
    assert sorted(table["batch"]) == [1, 1, 2, 2]
    assert set(table["variant"]) == {"classifier", "int8"}
    assert (table["throughput_fps"] > 0).all()
    assert (table["latency_p50_ms"] <= table["latency_p99_ms"]).all()
    quality = table.dropna(subset="quality_samples")
    assert (quality["quality_samples"] == 40).all()
    source = table[table["variant"] == "classifier"]
    int8 = table[table["variant"] == "int8"]
    assert len(set(source["parameters"])) == 1
    assert set(int8["parameters"]) == set(source["parameters"])
    assert (int8["distinct_weights"] <= source["distinct_weights"].iloc[0]).all()
    assert (table["coded_mib"] <= table["model_mib"]).all()
    assert table["nonzero_pct"].between(1, 100).all()
    assert source["accuracy_top1"].dropna().unique() == [0.75]  # 3 of 4 labels are correct


@pytest.mark.slow
@pytest.mark.parametrize("against", ["labels", "baseline"])
def test_evaluate_agrees_with_the_sweep(owned, compressed, swept, against):
    source, done, _ = swept
    measured = {
        m.trial.variant_name: m.figures
        for m in SweepFolder(done.folder).measurements()
        if "quality_samples" in m.figures
    }
    quality = api.evaluate(
        compressed["int8"],
        str(owned.labelled),
        baseline=source if against == "baseline" else None,
        precision="f32",
    )
    figures = {n: v for n, v in measured["int8"].items() if n in quality.figures}
    assert quality.figures == pytest.approx(figures)
    assert "accuracy_top1" in quality.figures
    assert ("agreement_top1" in quality.figures) == (against == "baseline")
    assert "i8" in quality.executed_precision


@pytest.mark.slow
def test_a_torch_function_gives_the_same_columns(owned, swept, tmp_path):
    unlabelled = np.load(owned.unlabelled)["x"]
    held_out = tmp_path / "held-out.npz"
    fp32 = api.convert(owned.torch, out=tmp_path / "fp32")
    (port,) = fp32.record.inputs
    np.savez(held_out, **{port.name: unlabelled, "label": np.zeros(len(unlabelled), np.int64)})
    weights = api.compress(owned.torch, "weights", out=tmp_path / "weights")
    done = api.sweep([fp32, weights], out=tmp_path / "s", spec=SPEC, data=str(held_out))
    assert done.measured == 4
    of_onnx = pd.read_parquet(swept[1].folder / RESULTS)
    of_torch = pd.read_parquet(done.folder / RESULTS)
    assert list(of_torch.columns) == list(of_onnx.columns)
    assert len(of_torch) == len(of_onnx)
    same = of_torch.notna().any() == of_onnx.notna().any()
    same = same[[name for name in same.index if not name.startswith(UNSTABLE)]]
    assert same.all()


@pytest.mark.slow
def test_a_sweep_is_reported_and_a_row_chosen(swept, tmp_path):
    _, done, _ = swept
    written = api.report([done.folder], out=tmp_path / "report")
    for path in (written.page, written.csv, written.parquet, written.markdown, *written.charts):
        assert path.stat().st_size > 0, path
    choice = api.choose([done.folder])
    assert choice.properties["INFERENCE_PRECISION_HINT"] == "f32"
    assert choice.properties["PERFORMANCE_HINT"] == "LATENCY"
    compiled = ov.Core().compile_model(
        swept[0] / "model.xml", choice.winner["device"], dict(choice.properties)
    )
    assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
    summary = api.summarize([done.folder])
    assert len(summary.rows) == 2


@pytest.mark.slow
def test_a_repeated_sweep_measures_nothing(owned, compressed, swept):
    source, done, _ = swept
    before = (done.folder / JOURNAL).read_bytes()
    observer = RecordingObserver()
    again = api.sweep(
        [source, compressed["int8"]],
        out=done.folder,
        spec=SPEC,
        data=str(owned.labelled),
        observer=observer,
    )
    assert (again.measured, again.reused) == (0, 4)
    assert observer.plan_counts == (4, 4, 0)
    assert (done.folder / JOURNAL).read_bytes() == before


@pytest.mark.slow
def test_a_model_is_converted_once_for_a_sweep(owned, tmp_path):
    before = files.sha256(owned.onnx)
    spec = SweepSpec(**QUICK, hints=("latency",))
    for reused in (0, 1):
        done = api.sweep([owned.onnx], out=tmp_path / "s", spec=spec)
        assert done.reused == reused
    assert (tmp_path / "s" / "variants" / "classifier" / "model.xml").is_file()
    assert files.sha256(owned.onnx) == before


@pytest.mark.slow
def test_user_files_never_change(owned, tmp_path):
    def hashes():
        paths = (p for p in owned.folder.rglob("*") if p.is_file() and p.suffix != ".pyc")
        return {p: files.sha256(p) for p in sorted(paths)}

    before = hashes()
    fp32 = api.convert(owned.onnx, out=tmp_path / "fp32")
    api.compress(owned.onnx, "int8", out=tmp_path / "int8", data=str(owned.unlabelled))
    kept = files.sha256(fp32.xml, fp32.bin)
    api.compress(fp32, "weights", out=tmp_path / "w8")
    api.evaluate(fp32, str(owned.labelled))
    assert hashes() == before
    assert files.sha256(fp32.xml, fp32.bin) == kept
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.slow
def test_quality_without_labels_needs_a_baseline(owned, tmp_path):
    fp32 = api.convert(owned.onnx, out=tmp_path / "fp32")
    with pytest.raises(InputError, match=r"unlabelled\.npz"):
        api.evaluate(fp32, str(owned.unlabelled))
    fp16 = api.compress(fp32, "fp16", out=tmp_path / "fp16")
    with pytest.raises(InputError, match=r"fp16 .*unlabelled\.npz"):
        api.sweep([fp16], out=tmp_path / "s", data=str(owned.unlabelled), spec=SPEC)
    assert not (tmp_path / "s").exists()


def test_package_is_typed():
    assert resources.files("ovtool").joinpath("py.typed").is_file()


def test_every_result_is_a_table():
    functions = {n for n in api.__all__ if inspect.isfunction(getattr(api, n))}
    assert functions > NO_TABLE
    for name in functions - NO_TABLE:
        verb = inspect.unwrap(getattr(api, name))
        annotation = verb.__annotations__["return"].removeprefix("TabularList[").removesuffix("]")
        result = (vars(inspect.getmodule(verb)) | RESULTS_ELSEWHERE)[annotation]
        assert issubclass(result, Tabular), name
        assert result.__repr__ is Tabular.__repr__, name


@pytest.mark.slow
@pytest.mark.usefixtures("local_workers", "local_renderer")
def test_results_show_themselves_in_a_notebook(owned, tmp_path):
    fp32 = api.convert(owned.onnx, out=tmp_path / "fp32")
    fp16 = api.compress(fp32, "fp16", out=tmp_path / "fp16")
    swept = api.sweep([fp32, fp16], out=tmp_path / "s", spec=SPEC, data=str(owned.labelled))
    results = [
        fp32,
        fp16,
        swept,
        api.devices(),
        api.analyze(fp32),
        api.check(fp32),
        api.profile(fp32, seconds=0.05),
        api.why(fp32, fp16, rounds=3, max_seconds=0.1),
        api.evaluate(fp32, str(owned.labelled)),
        api.evaluate_each(fp32, str(owned.labelled), precisions=["default", "f32"]),
        api.report([swept.folder], out=tmp_path / "report"),
        api.choose([swept.folder]),
        api.summarize([swept.folder]),
    ]
    for result in results:
        assert isinstance(result, Tabular)
        assert not result.frame.empty
        assert len(repr(result)) <= LONGEST_LINE
        page = result._repr_html_()
        assert page.count("<table") == page.count("</table>") == 1
    assert len(swept.frame) == swept.measured
    assert set(swept.frame["variant"]) == {"fp32", "fp16"}
    assert isinstance(results[3], TabularList)
    assert "CPU" in set(results[3].frame["name"])
    assert list(results[9].frame["precision"]) == ["default", "f32"]
