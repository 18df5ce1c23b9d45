"""Shared quality and the order of rows."""

import pytest

from ovtool.results.table import load_results
from tests.helpers import sweeps
from tests.helpers.shaped_sweeps import LONG, SHORT, form, table_of


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return table_of(tmp_path_factory.mktemp("s") / "s", form(128), form(1024))


@pytest.mark.slow
def test_quality_is_shared_within_configuration(tmp_path):
    table = load_results([sweeps.whole(tmp_path / "s")])
    by = table.rows.groupby(["variant", "precision"])["agreement_top1"]
    assert by.nunique().eq(1).all()
    assert table.rows["agreement_top1"].notna().all()
    assert set(table.rows[table.rows["variant"] == "int8"]["agreement_top1"]) == {0.94}
    assert table.rows["agreement_top1_ci_low"].notna().all()


@pytest.mark.slow
def test_quality_is_shared_between_sweeps_of_one_environment(tmp_path):
    trials = sweeps.trials(batches=(1, 2), loads=("latency",))
    evaluated = [
        sweeps.with_quality(sweeps.measure(t), sweeps.FP32) for t in trials if t.batch == 1
    ]
    unevaluated = [sweeps.measure(t) for t in trials if t.batch == 2]
    table = load_results(
        [sweeps.make(tmp_path / "a", evaluated), sweeps.make(tmp_path / "b", unevaluated)]
    )
    assert table.rows["agreement_top1"].notna().all()
    other = sweeps.make(tmp_path / "c", [sweeps.measure(t, env="c") for t in trials], env="c")
    table = load_results([tmp_path / "a", other])
    assert table.rows.loc[table.rows["sweep"] == "c", "agreement_top1"].isna().all()


@pytest.mark.slow
def test_quality_is_not_shared_between_shapes(table):
    by = table.rows.groupby(["variant", "shape"])["agreement_top1"]
    assert by.nunique().eq(1).all()
    assert by.first().to_dict() == {
        ("fp32", SHORT): 1.0,
        ("int8", SHORT): 0.94,
        ("fp32", LONG): 0.6,
        ("int8", LONG): 0.6,
    }


@pytest.mark.slow
def test_shape_columns_hold_compiled_shapes_only(tmp_path):
    rows = table_of(tmp_path / "s", {}, form(128) | form(64, "data_shapes")).rows
    shaped = rows["shape"].notna()
    assert set(rows[shaped]["shape"]) == {SHORT}
    assert set(rows[shaped]["data_shape"]) == {"ids=?x64 mask=?x64"}
    assert rows[~shaped]["data_shape"].isna().all()


def test_shapes_have_order_of_plan(table):
    for _, same in table.rows.groupby(["variant", "precision"]):
        assert same["shape"].tolist() == [SHORT] * 4 + [LONG] * 4
