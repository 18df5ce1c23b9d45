"""Tables and sentences of a comparison."""

from dataclasses import replace

import pytest

from ovtool.comparison import text
from ovtool.comparison.compare import compare_sweeps
from ovtool.comparison.comparison import Failure
from tests.helpers import sweeps
from tests.helpers.compared_sweeps import run


@pytest.fixture(scope="module")
def comparison(tmp_path_factory, base):
    def speed(trial):
        return 0.5 if trial.variant == sweeps.INT8.id else 1.0

    return compare_sweeps(base, run(tmp_path_factory.mktemp("slow") / "b", speed))


def test_table_has_a_row_for_each_figure_in_order(comparison):
    table = text.changes_table(comparison)
    assert [row.cells[0] for row in table.rows] == [c.label for c in comparison.changes]
    assert {len(row.cells) for row in table.rows} == {len(table.headings)}
    for row, change in zip(table.rows, comparison.changes, strict=True):
        assert row.cells[-1].split()[0] == change.outcome
        assert row.same == (change.outcome == "same" and not change.remarks)


def test_equal_remarks_share_a_number(comparison):
    first, second, third, *_ = comparison.changes
    changes = (
        replace(first, remarks=("drift", "copy")),
        replace(second, remarks=("copy",)),
        replace(third, remarks=()),
    )
    table = text.changes_table(replace(comparison, changes=changes))
    assert table.remarks == ("drift", "copy")
    assert [row.cells[-1] for row in table.rows] == [
        f"{first.outcome} (1, 2)",
        f"{second.outcome} (2)",
        third.outcome,
    ]


def test_new_failures_come_first(comparison):
    failures = (Failure("old", "boom", "boom"), Failure("new", "", "crash"))
    lines = text.failure_lines(replace(comparison, failures=failures))
    assert [line.partition(":")[0] for line in lines] == ["new", "old"]
    assert "in B: crash" in lines[0]
    assert "in A" not in lines[0]
    assert "in A: boom" in lines[1]


def test_headline_counts_outcomes_figures_and_trials(comparison):
    worse = sum(c.outcome == "worse" for c in comparison.changes)
    line = text.headline(comparison)
    assert f"{worse} worse" in line
    assert f"{len(comparison.changes)} figures" in line
    assert f"{len({c.label for c in comparison.changes})} trials" in line
    failures = (Failure("new", "", "crash"), Failure("old", "boom", "boom"))
    assert "1 trial of A" in text.headline(replace(comparison, failures=failures))


def test_equal_sizes_have_no_line(comparison):
    first, *rest = comparison.sizes
    changed = replace(first, b_mib=2 * first.a_mib)
    (line,) = text.size_lines(replace(comparison, sizes=(changed, *rest)))
    assert line.startswith(f"{first.variant}: ")
    assert "+100.0%" in line


def test_no_detectable_loss_is_no_number(comparison):
    nothing = replace(comparison, detectable_pct=float("nan"))
    *_, known = text.method_lines(comparison)
    *_, unknown = text.method_lines(nothing)
    assert "%" in known
    assert "%" not in unknown
