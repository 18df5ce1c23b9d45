"""``ovtool report``."""

import itertools
from pathlib import Path

import pytest

from ovtool import api
from ovtool.cli.commands import report
from ovtool.report.write import ReportFiles
from tests.helpers import sweeps

pytestmark = pytest.mark.usefixtures("local_renderer")


@pytest.mark.slow
def test_every_file_of_a_report_is_written(ovtool, swept, tmp_path):
    written = ovtool("report", swept, "--out", tmp_path / "r", "--json").document
    assert (written.pop("schema"), written.pop("mlflow")) == (1, None)
    for path in (*written.pop("charts"), *written.values()):
        assert Path(path).stat().st_size > 0


def test_a_report_is_printed_as_paths(ovtool, swept, tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ("page", "csv", "parquet", "markdown")]
    files = ReportFiles(*paths, (tmp_path / "charts" / "a.svg",))
    monkeypatch.setattr(api, "report", lambda *_, **__: files)
    ran = ovtool("report", swept)
    assert all(str(path) in ran.out for path in (*paths, tmp_path / "charts"))
    assert len(ran.err.splitlines()) == 1


@pytest.mark.slow
def test_watching_ends_with_a_page_that_does_not_reload(tmp_path, monkeypatch, capsys):
    folder = sweeps.whole(tmp_path / "s", batches=(1,))
    calls = itertools.count()

    def watch_sweeps(_sweeps):
        yield None
        assert 'http-equiv="refresh" content="5"' in (folder / "index.html").read_text()[:2000]
        yield None
        raise KeyboardInterrupt

    monkeypatch.setattr("ovtool.api.watch_sweeps", watch_sweeps)
    monkeypatch.setattr(report.signal, "signal", lambda *_: next(calls))
    report.command(sweeps=[str(folder)], watch=True)
    assert 'http-equiv="refresh"' not in (folder / "index.html").read_text()[:2000]
    captured = capsys.readouterr()
    assert "index.html" in captured.out
    assert len(captured.err.splitlines()) == 3


def test_watching_excludes_json(refused, swept):
    refusal = refused("report", swept, "--watch", "--json")
    assert "--json" in refusal.error
    assert "--watch" in refusal.error
