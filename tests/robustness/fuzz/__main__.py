"""Run the targets by hand, for a time or for a number of cases."""

from __future__ import annotations

import argparse
import gc
import time
from pathlib import Path

from tests.robustness.fuzz.run import Failure, fuzz, save
from tests.robustness.fuzz.targets import TARGETS


def main() -> None:
    """Print a row for each target and a line for each kind of failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--cases", type=int, default=1_000_000, help="of each target")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the mutations")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--out", type=Path, default=Path("fuzz-failures"), help="failing files")
    parser.add_argument("targets", nargs="*", default=list(TARGETS), help=", ".join(TARGETS))
    options = parser.parse_args()
    from tests.robustness.forkserver import _import_everything

    _import_everything()
    gc.freeze()
    print(f"seed {options.seed}")
    total, bad = 0, 0
    for name in options.targets:
        kinds: dict[str, Failure] = {}
        cases = range(options.first, options.first + options.cases)
        tried, failed = 0, 0
        for each in fuzz(name, options.seed, cases, options.seconds / len(options.targets)):
            if isinstance(each, int):
                tried = each
                continue
            failed += 1
            if each.key not in kinds:
                kinds[each.key] = each
                print(f"BAD {each.key}: case {each.case}, {save(each, options.out)}", flush=True)
        print(f"{name:20} {tried:7} {failed:5}", flush=True)
        total, bad = total + tried, bad + failed
    print(f"{'total':20} {total:7} {bad:5}")
    raise SystemExit(bad > 0)


if __name__ == "__main__":
    main()
