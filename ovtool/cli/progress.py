"""What is drawn on stderr while something runs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ovtool.cli.console import get_console, write_line
from ovtool.core import units

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.progress import Progress as Bars

    from ovtool.benchmark.engine import MeasurementProgress
    from ovtool.core.measurement import Measurement
    from ovtool.core.sweep_folder import Plan


class TerminalProgress:
    """Draws what the library reports: a moving bar on a terminal, lines elsewhere."""

    def __init__(self) -> None:
        self._console = get_console(stderr=True)
        self._bars: Bars | None = None
        self._task: Any = None

    def start(self, task: str, total: int | None = None) -> None:
        """Begin a task."""
        if not self._console.is_terminal:
            self.note(task)
            return
        self.close()
        self._bars = self._new(known=total is not None)
        self._bars.start()
        self._task = self._bars.add_task(task, total=total)

    def advance(self, steps: int = 1) -> None:
        """Count steps of the task."""
        if self._bars is not None and self._task is not None:
            self._bars.advance(self._task, steps)

    def note(self, text: str) -> None:
        """Print a line that stays."""
        write_line(self._console, text)

    def close(self) -> None:
        """Take the bar away, so that nothing draws while something is measured."""
        if self._bars is not None:
            self._bars.stop()
            self._bars, self._task = None, None

    def _new(self, *, known: bool) -> Bars:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        counted = [BarColumn(bar_width=20), MofNCompleteColumn()] if known else []
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            *counted,
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )


@contextmanager
def show_progress() -> Iterator[TerminalProgress]:
    """Yield a progress that is taken away at the end, whatever happens."""
    shown = TerminalProgress()
    try:
        yield shown
    finally:
        shown.close()


@contextmanager
def show_sweep(busy: TerminalProgress) -> Iterator[SweepView]:
    """Yield a view of a sweep that is taken away at the end, whatever happens."""
    view = SweepView(busy)
    try:
        yield view
    finally:
        view.close()


class SweepView:
    """A line for each finished trial, and below them the trials in work with the time left.

    It draws only when it is told something, which is never during a measurement.
    """

    def __init__(self, busy: TerminalProgress) -> None:
        self._console = get_console(stderr=True)
        self._busy = busy
        self._live: Live | None = None
        self._current: dict[str, MeasurementProgress] = {}
        self._total = self._done = self._reused = 0
        self._began = time.monotonic()

    def planned(self, plan: Plan, finished: int) -> None:
        """Say what will be measured, and what is there already."""
        self._busy.close()
        self._total, self._reused, self._began = len(plan.trials), finished, time.monotonic()
        for missing in plan.unavailable:
            self._say(f"{missing.device} left out: {missing.reason}")
        reused = f", {finished} finished before and reused" if finished else ""
        self._say(f"{self._total} trial{'s' if self._total != 1 else ''}{reused}")
        if self._console.is_terminal and finished < self._total:
            from rich.live import Live

            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()

    def progressed(self, step: MeasurementProgress) -> None:
        """Draw the trials in work."""
        self._current[step.trial.id] = step
        if self._live is not None:
            self._live.update(self._drawn(), refresh=True)

    def finished(self, measurement: Measurement) -> None:
        """Print the line of a finished trial."""
        self._done += 1
        self._current.pop(measurement.trial.id, None)
        self._say(f"{self._done + self._reused}/{self._total} {outcome(measurement)}")
        if self._live is not None:
            self._live.update(self._drawn(), refresh=True)

    def close(self) -> None:
        """Take the live part away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _say(self, text: str) -> None:
        write_line(self._console, text)

    def _drawn(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        rows = Table.grid(padding=(0, 2))
        for step in self._current.values():
            rows.add_row(Text(step.trial.label), step.stage, _so_far(step))
        elapsed = time.monotonic() - self._began
        left = self._total - self._reused - self._done
        ahead = units.duration(elapsed / self._done * left) + " left" if self._done else ""
        finished = f"{self._done + self._reused} of {self._total} trials"
        bar = f"{finished}  {units.duration(elapsed)}  {ahead}"
        return Group(rows, Text(bar, style="bold"))


def outcome(measurement: Measurement) -> str:
    """Return a measurement as one line."""
    label, found = measurement.label, measurement.figures
    if measurement.status == "failed":
        return f"{label}: failed: {measurement.reason}"
    if measurement.status == "estimated":
        return f"{label}: {units.text(found['latency_estimate_ms'])} ms, nothing was run"
    rate = units.interval_text(
        found["throughput_fps"],
        found.get("throughput_fps_ci_low"),
        found.get("throughput_fps_ci_high"),
    )
    latency = units.text(found["latency_p50_ms"])
    return f"{label}: p50 {latency} ms, {rate} samples/s, {measurement.verdict}"


def _so_far(step: MeasurementProgress) -> str:
    if step.throughput_fps is None:
        return ""
    half = step.half_width_pct
    sure = f" ±{half:.1f} %" if half is not None and math.isfinite(half) else ""
    return f"{units.text(step.throughput_fps)} samples/s{sure}"
