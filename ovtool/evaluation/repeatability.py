"""Whether a compiled model gives the same outputs again, in the same and in another process."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core.notes import Note, make_note
from ovtool.datasets.samples import FirstSamples
from ovtool.evaluation.device_difference import (
    SAMPLES,
    output_error,
    output_name,
    percent,
    read_outputs,
)
from ovtool.evaluation.divergence import compute_relative_error

if TYPE_CHECKING:
    from ovtool.benchmark.session import Job, Runner, Session
    from ovtool.datasets.samples import Samples
    from ovtool.evaluation.outputs import Rows

RUINED = 0.5
"""Difference of every sample, relative to the largest output, that no rounding explains."""
ROUNDING = 1e-3
"""Largest difference of equal runs, relative to the largest output: devices that add in the order
in which threads finish round differently each time."""


def check_repeatable(
    session: Session, job: Job, samples: Samples, runner: Runner, subject: str
) -> Note | None:
    """Return a warning if two runs, or two processes, differ by more than rounding.

    The first samples run twice in the session, and once in a new one, with the same compiled
    settings; ``subject`` is the variant, device and precision.

    Raises:
        TrialFailedError: The device failed.
    """
    few = FirstSamples(samples, SAMPLES)
    first, second = read_outputs(session, few), read_outputs(session, few)
    findings = _describe(second, first, job, "two runs in one process")
    with contextlib.closing(runner.open(job, warm_up=False)) as other:
        findings += _describe(read_outputs(other, few), first, job, "runs in two processes")
    if not findings:
        return None
    evidence = f"{subject}: {'; '.join(findings)}; {len(few)} samples"
    return make_note("outputs-not-repeatable", evidence)


def check_sessions(
    session: Session, samples: Samples, first: list[Rows] | None
) -> tuple[list[Rows], str | None]:
    """Return the outputs of the first samples, and how they differ between runs; None if equal.

    ``first`` are those of an earlier session with the same model, device and precision, in another
    batch or load, which rounds differently: only :data:`RUINED` counts. Without them, the samples
    run twice in the session.

    Raises:
        TrialFailedError: The device failed.
    """
    few = FirstSamples(samples, SAMPLES)
    outputs = read_outputs(session, few)
    if first is None:
        again = read_outputs(session, few)
        pairs = list(zip(again, outputs, strict=True))
        errors = [output_error(a, b) for a, b in pairs if np.asarray(b[0]).dtype.kind in "fiu"]
        limit, runs = ROUNDING, "two runs in one process"
    else:
        pairs = list(zip(outputs, first, strict=True))
        errors = [_least_error(a, b) for a, b in pairs]
        limit, runs = RUINED, "the same samples in another batch or load"
    worst = max(errors, default=0.0)
    if worst <= limit:
        return outputs, None
    return outputs, f"{runs} differ by {percent(worst)} of the largest value; {len(few)} samples"


def _least_error(rows: Rows, exact: Rows) -> float:
    """Return the error of the sample with the least; 0 for integers, which rounding may change."""
    errors = [
        compute_relative_error(a, b) if b.dtype.kind == "f" else 0.0
        for a, b in zip(map(np.asarray, rows), map(np.asarray, exact), strict=True)
    ]
    return min(errors, default=0.0)


def _describe(again: list[Rows], first: list[Rows], job: Job, runs: str) -> list[str]:
    """Return the worst output and its difference, as text; empty within rounding."""
    errors = [output_error(a, b) for a, b in zip(again, first, strict=True)]
    worst = max(range(len(errors)), key=errors.__getitem__)
    if errors[worst] <= ROUNDING:
        return []
    name = output_name(job, worst)
    return [f"{runs} differ by {percent(errors[worst])} of the largest value of output {name}"]
