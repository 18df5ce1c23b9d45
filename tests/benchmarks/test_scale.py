"""Time and memory of a report over 100,000 rows of 50 sweep folders; ``make bench`` runs it."""

import json
import statistics
import subprocess
import sys

import pytest

from tests.benchmarks import scripted

FOLDERS, ROWS = 50, 2000
REPEATS = 7
"""The first run compiles Python files and has cold caches."""
REPORT_S = 7.0
"""Budget of a report on two idle cores, as in docs/how-to/report.md."""
TABLE_S = 5.0
"""Budget of loading the table, with imports."""
PEAK_MIB = 2048
"""Budget of the peak memory of a process."""
MEASURED = """
import json, resource, sys, time
started = time.perf_counter()
from ovtool import api
from ovtool.results.table import load_results
folders, out = sys.argv[2:], sys.argv[1]
marks = {}
def mark(name, start):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    marks[name] = [time.perf_counter() - start, peak]
if out == "-":
    table = load_results(folders)
    marks["rows"] = len(table.rows)
    mark("total", started)
else:
    from pathlib import Path
    written = api.report(folders, out=out)
    mark("total", started)
    marks["page_mib"] = Path(written.page).stat().st_size / 2**20
    marks["drawing_mib"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps(marks))
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The sweep folders; writing them takes minutes."""
    return scripted.folders(tmp_path_factory.mktemp("scale"), FOLDERS, ROWS)


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory):
    """Keeps Python's compiled files, as an installation does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("compiled")))
        yield


def measured(folders, out="-"):
    """Run in a new process, including imports."""
    command = [sys.executable, "-c", MEASURED, str(out), *map(str, folders)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_table_of_100000_rows_is_loaded_in_time(swept):
    journals = sum((f / "journal.jsonl").stat().st_size for f in swept) / 2**20
    result = measured(swept)
    seconds, peak = result["total"]
    print(
        f"scale, table: {result['rows']} rows of {len(swept)} folders ({journals:.0f} MiB of"
        f" journals) in {seconds:.2f} s, peak {peak:.0f} MiB"
    )
    (swept[0] / "results.parquet").rename(swept[0] / "aside")
    slow = measured(swept[:1])
    (swept[0] / "aside").rename(swept[0] / "results.parquet")
    fast = measured(swept[:1])
    print(
        f"scale, one folder of {ROWS} rows: {slow['total'][0]:.2f} s from its journal,"
        f" {fast['total'][0]:.2f} s from its rows"
    )
    assert result["rows"] == FOLDERS * ROWS
    assert seconds <= TABLE_S
    assert peak <= PEAK_MIB
    assert fast["total"][0] < slow["total"][0]


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_report_of_100000_rows_is_written_in_time(swept, tmp_path):
    runs = [measured(swept, tmp_path / "report") for _ in range(REPEATS)]
    seconds = sorted(run["total"][0] for run in runs)
    median_s = statistics.median(seconds)
    peak, drawing = max(r["total"][1] for r in runs), max(r["drawing_mib"] for r in runs)
    print(
        f"scale, report: median {median_s:.2f} s of {REPEATS} (least"
        f" {seconds[0]:.2f}, most {seconds[-1]:.2f}), peak {peak:.0f} MiB, and {drawing:.0f} MiB of"
        f" a drawing process, page {runs[0]['page_mib']:.1f} MiB"
    )
    assert median_s <= REPORT_S
    assert max(peak, drawing) <= PEAK_MIB
