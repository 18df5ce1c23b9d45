"""The verbs report and summary, on sweep folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovtool.report.summary import Summary
    from ovtool.report.write import ReportFiles
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


def summary(sweeps: Sequence[str | Path]) -> Summary:
    """Return a line for each variant and precision: size, quality, latency, speed, speed-up.

    Raises:
        InputError: A folder is no sweep.
    """
    from ovtool.report import summary as summaries
    from ovtool.results import table

    return summaries.summary(table.load(sweeps))
