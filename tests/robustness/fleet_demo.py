"""The demo on a fleet of three hosts on this machine, and one report.

``python -m tests.robustness.fleet_demo`` starts a scheduler and three hosts, each a network
namespace with an address, a cache and labels of its own, and runs the network of the demo on them.
Without root or iproute2 the hosts are processes with caches of their own.  Ctrl-C stops them all.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.helpers.fleet_lab import PROGRAM, started

RECIPE = Path(__file__).with_suffix(".yaml")
PRICES = """currency: EUR
prices:
  class=small: 0.05
  class=large: 0.12
"""
"""Prices of an hour, by label; they are invented."""


def run_demo(recipe: Path, out: Path, *, namespaces: bool) -> int:
    """Run the recipe, write its report with prices, and return the exit code."""
    with (
        tempfile.TemporaryDirectory(prefix="fleet-demo-") as folder,
        started(Path(folder), namespaces=namespaces) as lab,
    ):
        fleet = ("--fleet", str(lab.hosts_file))
        for words in (
            ("fleet", "status", fleet[1]),
            ("run", str(recipe), *fleet, "--out", str(out)),
        ):
            code = call(*PROGRAM, *words)
            if code not in (0, 1):
                return code
    prices = out / "prices.yaml"
    prices.write_text(PRICES)
    folders = sorted(str(p.parent) for p in (out / "sweep").glob("*/plan.json"))
    return call(*PROGRAM, "report", *folders, "--out", str(out), "--prices", str(prices))


def call(*words: str) -> int:
    """Run a program, and return its exit code; a Ctrl-C, which it gets too, is left to it."""
    process = subprocess.Popen(words)
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            continue
        if code in (130, -signal.SIGINT):
            raise KeyboardInterrupt
        return code


def main() -> None:
    """Run the demo of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", nargs="?", type=Path, default=RECIPE)
    parser.add_argument("--out", type=Path, default=Path("reports/demo-fleet"))
    parser.add_argument("--processes", action="store_true", help="no network namespaces")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = run_demo(given.recipe, given.out, namespaces=not given.processes)
    except KeyboardInterrupt:
        print("The demo was stopped, and its hosts with it.", file=sys.stderr)
        code = 130
    raise SystemExit(code)


if __name__ == "__main__":
    main()
