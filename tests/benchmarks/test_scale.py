"""Seconds and memory of a report over 100,000 rows of 50 sweep folders; ``make bench`` runs it."""

import json
import statistics
import subprocess
import sys

import pytest

from tests.benchmarks import scripted

FOLDERS, ROWS = 50, 2000
REPEATS = 7
"""The first compiles Python's files, and has neither the system's cache nor a page's library."""
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
    found = load_results(folders)
    marks["rows"] = len(found.rows)
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
    """The folders; writing them takes minutes."""
    return scripted.folders(tmp_path_factory.mktemp("scale"), FOLDERS, ROWS)


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory):
    """Keeps Python's compiled files, as an installation does, whatever the environment says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("compiled")))
        yield


def measured(folders, out="-"):
    """Run in a process of its own, imports and all."""
    command = [sys.executable, "-c", MEASURED, str(out), *map(str, folders)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_the_table(swept):
    journals = sum((f / "journal.jsonl").stat().st_size for f in swept) / 2**20
    found = measured(swept)
    seconds, peak = found["total"]
    print(
        f"scale, table: {found['rows']} rows of {len(swept)} folders ({journals:.0f} MiB of"
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
    assert found["rows"] == FOLDERS * ROWS


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_the_report(swept, tmp_path):
    runs = [measured(swept, tmp_path / "report") for _ in range(REPEATS)]
    seconds = sorted(run["total"][0] for run in runs)
    peak, drawing = max(r["total"][1] for r in runs), max(r["drawing_mib"] for r in runs)
    print(
        f"scale, report: median {statistics.median(seconds):.2f} s of {REPEATS} (least"
        f" {seconds[0]:.2f}, most {seconds[-1]:.2f}), peak {peak:.0f} MiB, and {drawing:.0f} MiB of"
        f" a process that draws, page {runs[0]['page_mib']:.1f} MiB"
    )
