"""Sweeps of compressed sources, and with a requested baseline."""

from types import SimpleNamespace

import numpy as np
import pytest

from ovtool import api
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.sweep_spec import SweepSpec
from ovtool.core.variant import Step
from ovtool.datasets.fingerprint import fingerprint
from ovtool.models.options import SourceOptions
from ovtool.results.table import load_results
from tests.helpers.graphs import convolutional, save
from tests.helpers.owned import QUICK
from tests.helpers.quantized_models import run, samples, save_mlp, write_qdq


@pytest.fixture(scope="module")
def quantized(tmp_path_factory):
    """A perceptron, the same in INT8 from ONNX Runtime, samples, and the outputs of both."""
    folder = tmp_path_factory.mktemp("quantized")
    source = save_mlp(folder / "mlp.onnx")
    int8 = write_qdq(source, folder / "qdq.onnx")
    values = samples(100, seed=3)
    np.savez(folder / "held-out.npz", x=values)
    variant = api.convert(int8, out=folder / "int8", options=SourceOptions(tolerance=0.2))
    return SimpleNamespace(
        source=str(source), variant=variant, data=str(folder / "held-out.npz"),
        in_float=run(source, values), in_int8=run(int8, values),
    )  # fmt: skip


def sweep(quantized, out, metric=None, **axes):
    spec = SweepSpec(**QUICK, hints=["latency"], precisions=["f32"], **axes)
    api.sweep([quantized.variant], out=out, data=quantized.data, metric=metric, spec=spec)
    return load_results([out])


def read_rows(table):
    return table.rows.to_dict("records")


@pytest.mark.slow
def test_a_compressed_source_is_no_baseline_of_its_own(quantized, tmp_path):
    assert quantized.variant.record.source.compression == "int8"
    table = sweep(quantized, tmp_path / "s")
    (row,) = read_rows(table)
    assert row["status"] == "ok"
    assert row["throughput_fps"] > 0
    for column in ("agreement_top1", "output_cosine", "speedup_f32_x", "speedup_default_x"):
        assert np.isnan(row[column])
    assert table.quality_metric is None
    (measurement,) = SweepFolder(tmp_path / "s").measurements()
    (note,) = (note for note in measurement.notes if note.id == "no-baseline")
    assert "int8" in note.evidence


@pytest.mark.slow
def test_a_compressed_source_is_compared_with_the_given_baseline(quantized, tmp_path):
    sweep(quantized, tmp_path / "s")
    # The rows are not reused.
    table = sweep(quantized, tmp_path / "s", metric="agreement", baseline=quantized.source)
    rows = {row["variant"]: row for row in read_rows(table)}
    assert set(rows) == {"mlp", "int8"}
    assert rows["mlp"]["agreement_top1"] == rows["mlp"]["speedup_f32_x"] == 1
    expected = (quantized.in_float.argmax(1) == quantized.in_int8.argmax(1)).mean()
    assert expected < 1
    assert rows["int8"]["agreement_top1"] == pytest.approx(expected, abs=0.021)
    assert rows["int8"]["speedup_f32_x"] > 0
    a, b = quantized.in_float, quantized.in_int8
    cosine = ((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean()
    assert rows["int8"]["output_cosine"] == pytest.approx(cosine, abs=2e-3)
    assert rows["int8"]["parameters"] == rows["mlp"]["parameters"]


@pytest.mark.slow
def test_a_baseline_that_is_compressed_is_noted(quantized, tmp_path):
    notes = []
    progress = SimpleNamespace(
        start=lambda *_: None, advance=lambda *_: None, close=lambda: None, note=notes.append
    )
    folder = str(quantized.variant.folder)
    spec = SweepSpec(**QUICK, hints=["latency"], baseline=folder)
    out = tmp_path / "s"
    api.sweep([folder], out=out, data=quantized.data, spec=spec, progress=progress)
    (row,) = read_rows(load_results([out]))
    assert row["output_cosine"] == pytest.approx(1), "the user asked for it"
    assert any(note.startswith("int8: ") for note in notes)


@pytest.mark.slow
def test_samples_that_calibrated_a_variant_are_a_warning_of_its_choice(tmp_path):
    rows = np.random.default_rng(0).standard_normal((8, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=rows, label=np.zeros(8, np.int64))
    base = save(tmp_path / "net", convolutional())
    hashes = fingerprint(api.DataSpec(str(tmp_path / "data.npz"), limit=3).load(base)).samples
    used = Step(method="int8", settings={}, samples={"calibration": hashes}, seconds=0)
    save(tmp_path / "int8", convolutional(), steps=(used,), name="int8")
    spec = SweepSpec(**QUICK, hints=["latency"], precisions=["f32"])
    data = str(tmp_path / "data.npz")
    api.sweep([tmp_path / "int8"], out=tmp_path / "s", data=data, spec=spec)
    choice = api.choose([tmp_path / "s"])
    (note,) = (note for note in choice.warnings if note.id == "samples-shared")
    assert "3 of 8 " in note.evidence
    assert note in load_results([tmp_path / "s"]).details_of(choice.winner).notes
