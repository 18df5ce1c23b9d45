"""Commands on hostile models: ``python -m tests.robustness.hostile --count 250``.

A command must end by itself, with a line, in time and without leftovers.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.robustness import attack, inputs, one_op
from tests.robustness.attack import Outcome
from tests.robustness.forkserver import ForkServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LIMITS = {"OVTOOL_STEP_TIMEOUT": "10", "OVTOOL_MEMORY_LIMIT": "4 GiB"}
SLOW_S = 60.0
"""Time after which a command counts as hung; a step is ended after 10 s."""


def run(server: ForkServer, arguments: list[str], folder: Path, name: str) -> Outcome:
    """Run a command on a hostile model."""
    started = time.monotonic()
    child = server.start(arguments, folder, supervised=True)
    status = child.wait(SLOW_S)
    seconds = time.monotonic() - started
    child.kill_all()
    if status is None:
        child.wait(10)
    problems = []
    if status is None:
        problems.append("hang")
    elif status not in attack.EXPECTED:
        problems.append(f"exit {status}")
    problems += [f"prints {word!r}" for word in attack.TRACES if word in child.err]
    problems += [f"leaves {path.name}" for path in inputs.leftovers(folder / "tmp")]
    hidden = [path for path in folder.parent.rglob(".*.*") if path.name.endswith((".tmp", ".lock"))]
    problems += [f"leaves {path.name}" for path in hidden]
    error = f"{seconds:.1f} s {child.err.strip()[-250:]}"
    return Outcome(arguments[0], name, status, tuple(dict.fromkeys(problems)), error)


def attacks(
    server: ForkServer, models: Sequence[one_op.OneOp], verbs: Sequence[str], folder: Path
) -> Iterator[Outcome]:
    """Convert and analyze each model, and sweep it beside a sound one."""
    sound = inputs.build(folder / "inputs") / "variant"
    swept = ["--no-starts", "--hint", "latency", *inputs.QUICK, "--timeout", "15"]
    for model in models:
        place = folder / model.name
        place.mkdir()
        source = str(model.write(place))
        for verb in verbs:
            models_of = [str(sound), source] if verb == "sweep" else [source]
            more = swept if verb == "sweep" else []
            arguments = [verb, *models_of, "--out", str(place / f"{verb}-out"), *more]
            yield run(server, arguments, place / verb, model.name)
        shutil.rmtree(place)


def main() -> None:
    """Run by hand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=250)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--step", type=int, default=1, help="every n-th model")
    parser.add_argument("--verb", default="convert,analyze,sweep")
    parser.add_argument("--log", default="hostile.jsonl", help="file of outcomes")
    options = parser.parse_args()
    os.environ |= LIMITS
    models = one_op.models(options.first + options.count)[options.first :: options.step]
    with tempfile.TemporaryDirectory() as folder, ForkServer(fake=False) as server:
        outcomes = attacks(server, models, options.verb.split(","), Path(folder))
        print(attack.summary(attack.record(outcomes, Path(options.log))))


if __name__ == "__main__":
    main()
