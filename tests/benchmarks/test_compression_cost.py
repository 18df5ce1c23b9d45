"""Time and peak memory of compression compared to bare NNCF calls; ``make bench`` runs it.

Each run is a new process, in alternation, so drift affects both.  The time excludes imports, which
are the same for both.
"""

import json
import statistics
import subprocess
import sys

import pytest

PAIRS = 5
BUDGETS = {"int8": (1.1, 1.05), "weights": (1.1, 1.05)}
"""Time and peak memory of the process as ratios. The check after ``weights`` compiles and runs
the model in a process of its own, whose memory comes on top: its peak is shown too."""
OURS = """
import json, sys, time
from pathlib import Path
import nncf, openvino
from ovtool.datasets import registry as data
from ovtool.compression.method import MethodInputs
from ovtool.compression.execution_check import Examiner
from ovtool.compression.pipeline import apply_method
from ovtool.core.variant import Variant
folder, out, method = sys.argv[1:]
parent = Variant.load(folder)
close, checking = Examiner.close, 0.0
def read_and_close(self):
    global checking
    if self._worker is not None:
        lines = Path(f"/proc/{self._worker.pid}/status").read_text().splitlines()
        checking = int(next(l for l in lines if "VmHWM" in l).split()[1]) / 1024
    close(self)
Examiner.close = read_and_close
started = time.perf_counter()
samples = None
if method == "int8":
    record = parent.record
    samples = data.load_samples("sample:photographs", record.inputs, record.preprocessing)
inputs = MethodInputs(calibration=samples)
apply_method(parent, method, {}, inputs, out=Path(out), name="o")
seconds = time.perf_counter() - started
"""
BARE = """
import json, sys, time
from pathlib import Path
import nncf, openvino as ov
from ovtool.datasets import registry as data
from ovtool.datasets.samples import batches
from ovtool.core.variant import Variant
folder, out, method = sys.argv[1:]
parent, checking = Variant.load(folder), 0.0
started = time.perf_counter()
model = ov.Core().read_model(parent.xml)
if method == "int8":
    ports = parent.record.inputs
    samples = data.load_samples("sample:photographs", ports, parent.record.preprocessing)
    feed = [b.inputs[ports[0].name] for b in batches(samples, ports, 1)]
    model = nncf.quantize(model, nncf.Dataset(feed), subset_size=len(feed))
else:
    model = nncf.compress_weights(model)
Path(out).mkdir()
ov.save_model(model, Path(out) / "model.xml", compress_to_fp16=False)
seconds = time.perf_counter() - started
"""
END = """
peak = next(l for l in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in l)
print(json.dumps([seconds, int(peak.split()[1]) / 1024, checking]))
"""


def run(code, *args):
    done = subprocess.run(
        [sys.executable, "-c", code + END, *map(str, args)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("method", ["int8", "weights"])
def test_compression_costs_little_more_than_nncf(variants, method, tmp_path):
    results = {"ours": [], "bare": []}
    for index in range(PAIRS):
        for who, code in (("ours", OURS), ("bare", BARE))[:: 1 if index % 2 else -1]:
            results[who].append(
                run(code, variants["fp32"].folder, tmp_path / f"{who}{index}", method)
            )
    ratios = [
        [ours[place] / bare[place] for ours, bare in zip(*results.values(), strict=True)]
        for place in (0, 1)
    ]
    time_x, memory_x = map(statistics.median, ratios)
    listed = [" ".join(f"{r:.2f}" for r in values) for values in ratios]
    print(
        f"cost of {method}: time {time_x:.3f} of bare NNCF's ({listed[0]}), peak memory"
        f" {memory_x:.3f} ({listed[1]}); bare {results['bare'][0][0]:.1f} s,"
        f" {results['bare'][0][1]:.0f} MiB; process of the check {results['ours'][0][2]:.0f} MiB"
    )
    assert time_x < BUDGETS[method][0]
    assert memory_x < BUDGETS[method][1]
