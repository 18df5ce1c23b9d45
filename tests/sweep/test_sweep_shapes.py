"""Sweeps of a text model over shapes and data shapes, and with samples of one length."""

import numpy as np
import pandas as pd
import pytest

from ovtool import api
from ovtool.core.errors import InputError
from ovtool.core.sweep_folder import RESULTS, SweepFolder
from ovtool.core.sweep_spec import SweepSpec
from tests.helpers.graphs import ROWS, convolutional, embedding, save
from tests.helpers.owned import QUICK

pytestmark = pytest.mark.usefixtures("local_workers")

LENGTH = 20


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return save(tmp_path_factory.mktemp("text") / "text", embedding())


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    """Twelve sentences of twenty tokens, some of them masked."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "held-out.npz"
    mask = np.arange(LENGTH)[None] < rng.integers(4, LENGTH, 12)[:, None]
    np.savez(path, ids=rng.integers(0, ROWS, (12, LENGTH)), mask=mask.astype(np.int64))
    return str(path)


def both(*shapes):
    """Return the same shapes for both inputs."""
    return {"ids": list(shapes), "mask": list(shapes)}


def sweep(variants, out, data=None, metric=None, **axes):
    done = api.sweep(
        variants,
        out=out,
        spec=SweepSpec(**QUICK, hints=("latency",), precisions=("f32",), **axes),
        data=data,
        metric=metric,
    )
    return done, pd.read_parquet(done.folder / RESULTS)


@pytest.mark.slow
def test_every_length_is_a_row_with_its_inputs(text, tmp_path):
    done, table = sweep([text], tmp_path / "s", shapes=both("?x16", "?x64"), batches=(1, 2))
    assert (done.measured, done.failed) == (4, 0)
    assert table["shape"].tolist() == ["ids=?x16 mask=?x16"] * 2 + ["ids=?x64 mask=?x64"] * 2
    assert table["data_shape"].isna().all()
    assert table["batch"].tolist() == [1, 2, 1, 2]
    for measurement in SweepFolder(done.folder).measurements():
        evidence = {note.id: note.evidence for note in measurement.notes}["random-inputs"]
        assert evidence.startswith(f"ids: 0..{ROWS - 1} ")
        assert "mask: " in evidence


@pytest.mark.slow
def test_a_model_with_open_dimensions_infers_several_lengths(text, tmp_path):
    done, table = sweep([text], tmp_path / "s", data_shapes=both("1x16", "4x64"))
    assert (done.measured, done.failed) == (2, 0)
    assert table["shape"].isna().all()
    assert table["data_shape"].tolist() == ["ids=1x16 mask=1x16", "ids=4x64 mask=4x64"]
    assert table["batch"].tolist() == [1, 4]
    for row in table.to_dict("records"):
        seconds = row["batch"] / row["throughput_fps"]
        assert seconds >= row["latency_min_ms"] / 1000  # samples, not requests


@pytest.mark.slow
@pytest.mark.parametrize("option", ["shapes", "data_shapes"])
def test_samples_of_another_length_give_failed_rows(text, held_out, tmp_path, option):
    fp16 = api.compress(text, "fp16", out=tmp_path / "fp16")
    sets = both(f"2x{LENGTH}", "2x32")
    done, table = sweep(
        [text, fp16], tmp_path / "s", data=held_out, metric="agreement", **{option: sets}
    )
    assert (done.measured, done.failed) == (2, 2)
    ok, failed = (table[table["status"] == status] for status in ("ok", "failed"))
    assert (ok["quality_samples"] == 12).all()
    assert (ok["agreement_top1"] == 1).all()
    assert failed["quality_samples"].isna().all()
    for reason in failed["reason"]:
        assert "input ids: " in reason
        assert "2x20" in reason
        assert "2x32" in reason
    notes = {n.id for m in SweepFolder(done.folder).measurements() for n in m.notes}
    assert "random-inputs" not in notes


@pytest.mark.slow
def test_quality_is_evaluated_in_the_shape_of_the_samples(text, held_out):
    quality = api.evaluate(
        text, held_out, baseline=text, precision="f32", batch=5, metric="agreement"
    )
    assert quality.figures["agreement_top1"] == 1
    assert quality.figures["quality_samples"] == 12


def test_an_open_length_is_refused_before_anything_is_made(text, held_out, tmp_path):
    with pytest.raises(InputError, match="input ids") as caught:
        sweep([text], tmp_path / "s")
    assert "--shape ids=?x128 --shape mask=?x128" in str(caught.value)
    assert "--data-shape" in str(caught.value)
    with pytest.raises(InputError, match="input ids") as caught:
        sweep([text], tmp_path / "s", data=held_out)
    assert f"--shape ids=?x{LENGTH} --shape mask=?x{LENGTH}" in caught.value.hint
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
def test_an_open_length_fails_alone_beside_other_variants(text, tmp_path):
    fixed = save(tmp_path / "fixed", convolutional())
    done, table = sweep([text, fixed], tmp_path / "s")
    assert (done.measured, done.failed) == (1, 1)
    (row,) = table[table["status"] == "failed"].to_dict("records")
    assert row["variant"] == "text"
    assert "--shape ids=?x128 --shape mask=?x128" in row["reason"]
