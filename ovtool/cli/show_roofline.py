"""How a calibration, and a model set against one, are printed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ovtool.cli import console as terminal
from ovtool.core import units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.profiling.breakdown import Slice
    from ovtool.roofline.calibration import Calibration, Overhead, Peak, Rate
    from ovtool.roofline.predict import Compared

_GIGA = 1e9


def calibration(made: Calibration, *, json: bool) -> None:
    """Print what was measured of a device."""
    if json:
        terminal.answer_json(made.model_dump(mode="json"))
        return
    say = terminal.console()
    terminal.say(say, f"{made.device}: {made.full_name}; environment {made.environment}")
    rows = [(f"matrix product in {p.precision}, {p.hint} hint", _peak(p)) for p in made.peaks]
    if (ends := made.bandwidth()) is not None:
        rows += [(f"moving {_mib(one)}", f"{_rate(one)} GB/s") for one in dict.fromkeys(ends)]
    rows += [
        ("overhead of a layer", _microseconds(made.layer)),
        ("overhead of an inference", _microseconds(made.inference)),
    ]
    terminal.table(("what", "reached"), rows)
    terminal.table(
        ("kind of layer", "in", "measured", "least", "most", "unit"),
        _kinds(made.rates),
        right=("measured", "least", "most"),
    )
    terminal.say(say, f"calibrated {made.summary}")
    for reason in made.left_out:
        terminal.say(terminal.console(stderr=True), f"left out: {reason}")
    disturbed = sum(rate.verdict != "stable" for rate in made.rates)
    if disturbed:
        terminal.say(
            terminal.console(stderr=True),
            f"warning: {disturbed} of {len(made.rates)} measurements are not stable; calibrate"
            " again on a quiet machine",
        )


def _peak(peak: Peak) -> str:
    value, low, high = (
        None if v is None else v / _GIGA for v in (peak.flops_per_s, peak.ci_low, peak.ci_high)
    )
    streams = "" if peak.streams is None else f" ({peak.streams} stream{'s' * (peak.streams > 1)})"
    return f"{units.interval_text(value, low, high)} GFLOP/s{streams}"


def _rate(rate: Rate) -> str:
    value, low, high = (
        None if v is None else v / _GIGA for v in (rate.value, rate.ci_low, rate.ci_high)
    )
    return units.interval_text(value, low, high)


def _mib(rate: Rate) -> str:
    return f"{units.text(units.mib(rate.sizes[0]))} MiB of activations"


def _microseconds(overhead: Overhead) -> str:
    value, low, high = (
        None if v is None else 1e6 * v
        for v in (overhead.value_s, overhead.ci_low_s, overhead.ci_high_s)
    )
    return f"{units.interval_text(value, low, high)} us"


def _kinds(rates: Sequence[Rate]) -> list[tuple[str, ...]]:
    """Return a row for each kind and precision: how far what it reached spreads over sizes."""
    from ovtool.roofline.model import COMPUTING

    groups: dict[tuple[str, str], list[float]] = {}
    for rate in rates:
        groups.setdefault((rate.kind, rate.precision), []).append(rate.value / _GIGA)
    return [
        (
            kind,
            precision,
            str(len(values)),
            units.text(min(values)),
            units.text(max(values)),
            "GFLOP/s" if kind in COMPUTING else "GB/s",
        )
        for (kind, precision), values in groups.items()
    ]


def layers(rows: Sequence[Slice], told: Compared, top: int) -> None:
    """Print the slowest layers against their limits."""
    from ovtool.cli.show_profile import named_layers

    cells = []
    for row in rows[:top]:
        limits = told.layers[row.name]
        cells.append(
            [
                f"{row.time_ms:.3f}",
                _ms(limits.predicted_ms),
                _ms(limits.limit_ms),
                units.UNKNOWN if limits.limit_pct is None else f"{limits.limit_pct:.0f}",
                limits.bound or units.UNKNOWN,
                row.type,
                units.text(row.precision),
            ]
        )
    headings = ("ms", "predicted", "limit", "%", "bound by", "type", "in", "layer")
    named_layers(headings, cells, rows, right=("ms", "predicted", "limit", "%"))


def compared(told: Compared, latency_ms: float) -> None:
    """Print what was expected of the whole."""
    say = terminal.console()
    if told.latency_ms is None or told.limit_ms is None:
        named = ", ".join(told.unknown[:3]) + (" ..." if len(told.unknown) > 3 else "")
        terminal.say(
            say,
            f"predicted: unknown; not calibrated for {len(told.unknown)} of its layers: {named}",
        )
    else:
        off = 100 * (told.latency_ms / latency_ms - 1)
        low, high = (
            math.nan if end is None else end
            for end in (told.latency_ms_ci_low, told.latency_ms_ci_high)
        )
        terminal.say(
            say,
            f"predicted: {units.interval_text(told.latency_ms, low, high)} ms a request, measured"
            f" {units.text(latency_ms)} ms ({off:+.0f} %); limit {units.text(told.limit_ms)} ms,"
            f" {100 * told.limit_ms / latency_ms:.0f} % of what was measured",
        )
    whole = sum(told.by_bound_ms.values())
    if whole:
        shares = {name: ms / whole for name, ms in told.by_bound_ms.items()}
        ordered = dict(sorted(shares.items(), key=lambda one: -one[1]))
        terminal.say(say, f"bound by (share of predicted time): {units.percentages(ordered)}")
    terminal.say(
        say,
        "limit: by the device's peak and bandwidth; %: the limit as a share of the measured time;"
        f" calibrated {told.calibrated}",
    )


def _ms(value: float | None) -> str:
    return units.UNKNOWN if value is None else f"{value:.3f}"
