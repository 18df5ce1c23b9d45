"""Figures of a text generator: times of its tokens, by window, with confidence intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.core import statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ovtool.benchmark.session import TextRequest
    from ovtool.benchmark.windows import SelectedWindows
    from ovtool.core.statistics import Interval


@dataclass(frozen=True, slots=True)
class TextFigures:
    """The figures of the windows together, with intervals, and of each window."""

    figures: dict[str, float]
    by_window: dict[str, list[float]]


def _ttft_ms(request: TextRequest) -> Iterable[float]:
    return (request.ttft_ms,)


def _tpot_ms(request: TextRequest) -> Iterable[float]:
    return () if request.tpot_ms is None else (request.tpot_ms,)


def _gaps_ms(request: TextRequest) -> Iterable[float]:
    return request.gaps_ms


_QUANTILES: dict[str, tuple[Callable[[TextRequest], Iterable[float]], float]] = {
    "ttft_ms": (_ttft_ms, 0.5),
    "ttft_p99_ms": (_ttft_ms, 0.99),
    "tpot_ms": (_tpot_ms, 0.5),
    "itl_p50_ms": (_gaps_ms, 0.5),
    "itl_p99_ms": (_gaps_ms, 0.99),
}
"""Times of a request by column, and the quantile over all requests."""


def compute(selected: SelectedWindows) -> TextFigures:
    """Return the figures of windows with the requests of a text generator.

    Intervals are over rounds: requests in flight together are correlated, and so are the tokens of
    a request.
    """
    figures: dict[str, float] = {}
    put(figures, "tokens_s", tokens_s(selected))
    pairs = zip(selected.tokens, selected.windows, strict=True)
    by_window = {"tokens_s": [tokens / window.seconds for tokens, window in pairs]}
    for name in _QUANTILES:
        times = times_ms(selected, name)
        if any(times):
            put(figures, name, quantile(selected, name))
            q = _QUANTILES[name][1]
            by_window[name] = [statistics.quantile(each, q) for each in times if each]
    return TextFigures(figures, by_window)


def tokens_s(selected: SelectedWindows) -> Interval:
    """Return the tokens of the windows over their wall time."""
    seconds = [window.seconds for window in selected.windows]
    return statistics.bootstrap_rate(selected.tokens, seconds, selected.blocks)


def quantile(selected: SelectedWindows, name: str) -> Interval:
    """Return a time of the requests with its interval, by the name of its column."""
    times = times_ms(selected, name)
    return statistics.bootstrap_quantile(times, _QUANTILES[name][1], selected.blocks)


def times_ms(selected: SelectedWindows, name: str) -> list[list[float]]:
    """Return the times of the requests, by window."""
    of = _QUANTILES[name][0]
    return [[ms for request in window for ms in of(request)] for window in selected.texts]


def put(figures: dict[str, float], name: str, interval: Interval) -> None:
    """Add a figure, with its interval if it is known."""
    figures[name] = interval.value
    if interval.known:
        figures[f"{name}_ci_low"], figures[f"{name}_ci_high"] = interval.low, interval.high
