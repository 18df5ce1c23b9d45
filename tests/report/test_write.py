"""The files of a report."""

import sys

import pandas as pd
import pytest

from ovtool.core.columns import COLUMNS
from ovtool.core.errors import InputError
from ovtool.report import write
from ovtool.report.write import report
from ovtool.selection.choice_spec import ChoiceSpec
from tests.helpers import sweeps

pytestmark = pytest.mark.usefixtures("local_renderer")


def test_all_files_are_written_and_other_files_are_kept(written):
    _table, files = written
    assert files.page.name == "index.html"
    assert (files.page.parent / "notes.txt").read_text() == "kept"
    names = {path.name for path in files.charts}
    assert {"latency-throughput.svg", "quality.png", "size.svg", "speedup-f32.png"} <= names
    for path in files.charts:
        start = path.read_bytes()[:8]
        assert start.startswith(b"\x89PNG" if path.suffix == ".png" else b"<svg"), path
    assert not list(files.page.parent.rglob("*.tmp*"))


def test_csv_and_parquet_hold_the_table(written):
    table, files = written[0].rows, written[1]
    names = [name for column in COLUMNS for name in column.names]
    csv, parquet = pd.read_csv(files.csv), pd.read_parquet(files.parquet)
    assert list(csv.columns) == list(parquet.columns) == names
    assert csv["trial"].tolist() == parquet["trial"].tolist() == table["trial"].tolist()
    pd.testing.assert_series_equal(
        parquet["throughput_fps"], table["throughput_fps"], check_exact=True
    )
    assert parquet["executed_precision"].isna().sum() == 1, "unknown is empty"


@pytest.mark.slow
def test_report_into_the_sweep_folder_keeps_the_journal(tmp_path):
    folder = sweeps.whole(tmp_path / "s", batches=(1, 2))
    before = (folder / "journal.jsonl").read_bytes()
    report([folder], out=folder)
    report([folder], out=folder)
    assert (folder / "journal.jsonl").read_bytes() == before
    assert (folder / "results.parquet").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("reason", [None, "no memory left"])
def test_report_without_measurements_has_no_recommendation(tmp_path, reason):
    rows = [] if reason is None else [sweeps.failed(sweeps.trials()[0], reason)]
    files = report([sweeps.make(tmp_path / "s", rows)], out=tmp_path / "out")
    text = files.page.read_text()
    assert 'id="no-variants"' in text
    assert 'id="no-recommendation"' in text
    assert (reason or "") in text
    assert "\n| " not in files.markdown.read_text(), "no table of variants"


@pytest.mark.slow
def test_limit_that_no_row_meets_names_the_nearest_row(tmp_path):
    folder = sweeps.whole(tmp_path / "s", batches=(1,))
    files = report([folder], out=tmp_path / "out", spec=ChoiceSpec(max_latency_ms=0.1))
    text = files.page.read_text()
    answer = text[text.index('id="no-recommendation"') : text.index("</section>")]
    assert "int8" in answer
    assert "0.1" in answer


@pytest.mark.slow
def test_objective_without_measurements_writes_nothing(tmp_path):
    folder = sweeps.whole(tmp_path / "s", batches=(1,))
    with pytest.raises(InputError, match="energy"):
        report([folder], out=tmp_path / "out", spec=ChoiceSpec(objective="energy"))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses the removal")
def test_a_folder_that_is_taken_away_gets_no_rest_of_a_report(tmp_path, monkeypatch):
    out, render_page = tmp_path / "out", write.render_page

    def take_away(*arguments):
        out.rename(tmp_path / "moved")
        return render_page(*arguments)

    monkeypatch.setattr(write, "render_page", take_away)
    folder = sweeps.whole(tmp_path / "sweep", batches=(1,))
    with pytest.raises(InputError, match=str(out)):
        report([folder], out=out)
    assert not out.exists()
    assert (tmp_path / "moved" / "results.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["index.html", "report.md", "results.csv", "results.parquet"])
def test_a_file_of_others_is_never_overwritten(tmp_path, name):
    folder = sweeps.whole(tmp_path / "s", batches=(1,))
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("precious")
    with pytest.raises(InputError, match=name):
        report([folder], out=out)
    assert [path.name for path in out.iterdir()] == [name]
    assert (out / name).read_text() == "precious"


@pytest.mark.slow
def test_no_cell_of_the_csv_is_a_formula(tmp_path):
    failed = sweeps.failed(sweeps.trials()[0], '=HYPERLINK("http://x")')
    files = report([sweeps.make(tmp_path / "s", [failed])], out=tmp_path / "out")
    assert pd.read_csv(files.csv)["reason"].tolist() == ['\'=HYPERLINK("http://x")']
    assert pd.read_parquet(files.parquet)["reason"].tolist() == ['=HYPERLINK("http://x")']
