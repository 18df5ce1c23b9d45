"""The verbs report, choose, compare and summary, on sweep folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovtool.comparison.compare import Comparison
    from ovtool.report.summary import Summary
    from ovtool.report.write import ReportFiles
    from ovtool.selection.choice import Choice
    from ovtool.selection.limits import Limits


def report(
    sweeps: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    limits: Limits | None = None,
    objective: str = "throughput",
    percentile: int = 99,
    profiles: Sequence[str | Path] = (),
    reload_s: int | None = None,
) -> ReportFiles:
    """Write a page, tables and charts of one or many sweeps.

    Args:
        sweeps: Sweep folders, of one machine or of many.
        out: Where to write; by default the first sweep's folder.
        limits: What the recommended trial must meet.
        objective: What it should be best at.
        percentile: The latency percentile that limits and objective are about.
        profiles: Folders that :func:`ovtool.api.profile` wrote, to show where time goes.
        reload_s: After how many seconds a browser reads the page again; None: never.

    Raises:
        InputError: A folder is no sweep or no profile.
    """
    from ovtool.report.write import write
    from ovtool.selection.limits import Limits

    target = Path(out) if out is not None else Path(sweeps[0])
    return write(sweeps, target, limits or Limits(), objective, percentile, profiles, reload_s)


def changes(sweeps: Sequence[str | Path]) -> Iterator[None]:
    """Yield at once, and then whenever sweeps that may still run have changed; without end."""
    from ovtool.report import watch

    return watch.changes(lambda: watch.state(sweeps))


def choose(
    sweeps: Sequence[str | Path],
    *,
    limits: Limits | None = None,
    objective: str = "throughput",
    percentile: int = 99,
) -> Choice:
    """Recommend a device, variant, batch and load under limits.

    Args:
        sweeps: Sweep folders.
        limits: What the recommended trial must meet.
        objective: What it should be best at.
        percentile: The latency percentile that limits and objective are about.

    Raises:
        LimitNotMetError: Nothing fits; the error carries the nearest miss.
        NothingMeasuredError: There is no measured trial.
        InputError: A folder is no sweep, or the objective was measured nowhere.
    """
    from ovtool.results import table
    from ovtool.selection import choice
    from ovtool.selection.limits import Limits

    return choice.choose(table.load(sweeps), limits or Limits(), objective, percentile)


def compare(
    a: str | Path,
    b: str | Path,
    *,
    reruns: Sequence[str | Path] = (),
    noise_pct: float | None = None,
    within_pct: float | None = None,
    out: str | Path | None = None,
) -> Comparison:
    """Say what became better or worse from sweep A to sweep B: releases, drivers, machines.

    ``Comparison.check`` refuses what became worse by a limit.

    Args:
        a: Folder of the sweep that is compared with.
        b: Folder of the sweep that is judged.
        reruns: Further sweeps of what A measured, which measure the variation between runs.
        noise_pct: Standard deviation between runs of a throughput, in per cent, where it is not
            measured.
        within_pct: Changes less than this count as none.
        out: Where to write it as Markdown.

    Raises:
        InputError: A folder is no sweep, the two have no trial in common, a figure given is not
            possible, or ``out`` cannot be written.
        NothingMeasuredError: No trial was measured in both.
    """
    from ovtool.comparison import compare as comparing
    from ovtool.comparison.markdown import markdown
    from ovtool.core import files

    margin = comparing.WITHIN_PCT if within_pct is None else within_pct
    found = comparing.compare(a, b, reruns=reruns, noise_pct=noise_pct, within_pct=margin)
    if out is not None:
        files.write_text(Path(out), markdown(found))
    return found


def summary(sweeps: Sequence[str | Path]) -> Summary:
    """Return a line for each variant and precision: size, quality, latency, speed, speed-up.

    Raises:
        InputError: A folder is no sweep.
    """
    from ovtool.report import summary as summaries
    from ovtool.results import table

    return summaries.summary(table.load(sweeps))
