"""The progress of a sweep: a line for each finished trial, and live rows on a terminal."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from ovtool.core import units
from ovtool.core.terminal import draws, get_console, live_console, write_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType
    from rich.live import Live

    from ovtool.benchmark.engine import MeasurementProgress
    from ovtool.core.measurement import Measurement
    from ovtool.core.progress import Progress
    from ovtool.core.sweep_folder import SweepPlan


class SweepView:
    """A line for each finished trial, and below them the running trials with the remaining time.

    The view draws only on calls, and no call occurs during a measurement.
    """

    def __init__(self, progress: Progress) -> None:
        self._console = get_console(stderr=True)
        self._progress = progress
        self._live: Live | None = None
        self._current: dict[str, MeasurementProgress] = {}
        self._total = self._done = self._reused = 0
        self._start_s = time.monotonic()

    def on_plan(self, plan: SweepPlan, finished: int, repeated: int) -> None:
        """Print the number of trials and the devices that are left out."""
        self._progress.close()
        self._total, self._reused, self._start_s = len(plan.trials), finished, time.monotonic()
        for missing in plan.unavailable:
            self._print(f"{missing.device} left out: {missing.reason}")
        reused = f", {finished} reused" if finished else ""
        again = f", {repeated} measured again for these settings" if repeated else ""
        self._print(f"{units.count_text(self._total, 'trial')}{reused}{again}")
        if draws(self._console) and finished < self._total:
            from rich.live import Live

            self._live = Live(
                console=live_console(self._console), auto_refresh=False, transient=True
            )
            self._live.start()

    def on_progress(self, step: MeasurementProgress) -> None:
        """Draw the running trials; print the time of a trial that exceeds its maximum."""
        if step.inference_s is not None:
            rest = units.duration(step.inferences * step.inference_s)
            self._print(
                f"{step.trial.label}: an inference takes {units.text(step.inference_s)} s, so this"
                f" trial takes about {rest} ({step.inferences} inferences)"
            )
        self._current[step.trial.id] = step
        self._draw()

    def on_measurement(self, measurement: Measurement) -> None:
        """Print the line of a finished trial."""
        self._done += 1
        self._current.pop(measurement.trial.id, None)
        self._print(f"{self._done + self._reused}/{self._total} {outcome_text(measurement)}")
        self._draw()

    def close(self) -> None:
        """Remove the live rows."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _print(self, text: str) -> None:
        write_status(self._console, text)  # the console of the live rows, which move down

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(self._render(), refresh=True)

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        rows = Table.grid(padding=(0, 2))
        for step in self._current.values():
            rows.add_row(Text(step.trial.label), step.stage, _estimate_text(step))
        elapsed = time.monotonic() - self._start_s
        finished = self._done + self._reused
        rest_s = elapsed / self._done * (self._total - finished) if self._done else None
        remaining = "" if rest_s is None else f"{units.duration(rest_s)} remaining"
        bar = f"{finished} of {self._total} trials  {units.duration(elapsed)}  {remaining}"
        return Group(rows, Text(bar, style="bold"))


def outcome_text(measurement: Measurement) -> str:
    """Return a measurement as one line."""
    label, figures = measurement.label, measurement.figures
    if measurement.status == "failed":
        return f"{label}: failed: {measurement.reason}"
    if measurement.status == "estimated":
        return f"{label}: {units.text(figures['latency_estimate_ms'])} ms, no inference ran"
    if measurement.trial.generation is not None:
        tokens, ttft = (_interval(figures, name) for name in ("tokens_s", "ttft_ms"))
        each = f", TPOT {units.text(figures['tpot_ms'])} ms" if "tpot_ms" in figures else ""
        return f"{label}: TTFT {ttft} ms{each}, {tokens} tokens/s, {measurement.verdict}"
    rate = _interval(figures, "throughput_fps")
    latency = units.text(figures["latency_p50_ms"])
    return f"{label}: p50 {latency} ms, {rate} samples/s, {measurement.verdict}"


def _interval(figures: Mapping[str, float], name: str) -> str:
    low, high = figures.get(f"{name}_ci_low"), figures.get(f"{name}_ci_high")
    return units.interval_text(figures[name], low, high)


def _estimate_text(step: MeasurementProgress) -> str:
    if step.throughput_fps is None:
        return ""
    half = step.half_width_pct
    interval = f" ±{half:.1f}%" if half is not None and math.isfinite(half) else ""
    return f"{units.text(step.throughput_fps)} samples/s{interval}"
