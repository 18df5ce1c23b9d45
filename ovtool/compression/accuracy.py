"""Quantizing within a limit of accuracy, as one does by hand: what is cheap first, then more.

Tried are, in this order: the settings as they are given; with ``model_type`` transformer; with the
full bias correction; with both; then the best of these with layers left in float, in sets that are
to take away a half of all quantization noise, three quarters and so on, each as cheap as can be
(:func:`~ovtool.compression.sensitivity.cheapest`).  The first that holds is taken.

A candidate *holds* when its metric is at most ``max_drop`` below that of the graph it was made
from, both on the same validation samples, so that the difficulty of the samples is in neither.
This goes by the values themselves.  The interval of the candidate's metric is kept as evidence:
where the least metric that is allowed lies within it, the samples are too few to tell, which is
noted as ``certain: false``.  That interval is of the metric, not of the difference, so it is wider
than a paired one would be.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ovtool.compression import ptq, sensitivity
from ovtool.compression.sensitivity import LayerCost
from ovtool.core import files, units
from ovtool.core.errors import InputError, LimitNotMetError
from ovtool.core.statistics import Interval

if TYPE_CHECKING:
    from collections.abc import Iterator

    import openvino as ov

    from ovtool.compression.calibration_feed import Feed
    from ovtool.compression.method import Judge, Work
    from ovtool.compression.ptq import Quantizing
    from ovtool.datasets.samples import Samples

STATE = "tried.json"
_ROUNDING = 1e-9  # 0.98 - 0.97 is a little more than 0.01
_HALVINGS = 12  # of the noise: 36 dB


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate and how it was judged.

    Args:
        what: In words.
        settings: Those that differ from what was asked for.
        metric: Its value; None where the candidate could not be made.
        ci_low: Of the metric's interval.
        ci_high: Of the metric's interval.
        drop: Against the graph it was made from, positive for a loss.
        seconds: To make and judge it.
        holds: Whether the drop is within the limit.
        certain: Whether the least metric allowed lies outside the interval.
        error: Why it could not be made.
    """

    what: str
    settings: dict[str, Any]
    metric: float | None
    ci_low: float | None
    ci_high: float | None
    drop: float | None
    seconds: float
    holds: bool
    certain: bool
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The model that holds the limit, and how it was found, as JSON types."""

    model: ov.Model
    details: dict[str, Any]


def within_limit(work: Work[Any], samples: Samples, feed: Feed) -> Found:
    """Return the first quantization of a graph that holds ``max_drop``.

    What was tried is kept in ``work.scratch``: an interrupted search does not try it again, and
    the seconds of before count.

    Raises:
        InputError: There is nothing to judge by, or the model cannot be quantized at all.
        LimitNotMetError: Nothing holds, or not in the time.
    """
    judge = work.material.judge
    if judge is None:
        raise InputError("max_drop needs samples to judge by", "give some with --validation-data")
    return _Search(work, judge, samples, feed).run()


class _Search:
    def __init__(self, work: Work[Any], judge: Judge, samples: Samples, feed: Feed) -> None:
        self.work, self.judge, self.samples, self.feed = work, judge, samples, feed
        self.settings: Quantizing = work.settings
        self.spent_s = 0.0
        self.plain: Interval | None = None
        self.tried: list[Tried] = []
        self.costs: list[LayerCost] | None = None
        self._resume()

    def run(self) -> Found:
        if self.plain is None:
            self._told("judging the model without quantization")
            started = time.monotonic()
            self.plain = self.judge(self.work.model)
            self._spent(started)
        for changed in _escalation(self.settings):
            model = self._try(_words(changed), changed, self.plain)
            if model is not None:
                return self._found(model)
        best = self._best()
        if best is None:
            raise InputError(f"the model cannot be quantized: {self.tried[0].error}")
        for names in self._sets(best):
            changed = {**best.settings, "ignored_names": [*self.settings.ignored_names, *names]}
            count = f"{len(names)} {'layer' if len(names) == 1 else 'layers'} in float"
            before = f"{best.what}, " if best.settings else ""
            model = self._try(f"{before}{count}", changed, self.plain)
            if model is not None:
                return self._found(model)
        raise self._not_met("")

    def _try(self, what: str, changed: dict[str, Any], plain: Interval) -> ov.Model | None:
        """Return the candidate's model if it holds, from its record where it was judged before."""
        settings = type(self.settings).model_validate(
            self.settings.model_dump(mode="json") | changed
        )
        known = next((one for one in self.tried if one.settings == changed), None)
        if known is not None:
            return self._made(settings) if known.holds else None
        if self.tried:
            self._in_time()
        started = time.monotonic()
        model, metric, error = None, None, None
        self._told(f"trying: {what}")
        try:
            model = self._made(settings)
            self._told(f"judging: {what}")
            metric = self.judge(model)
        except InputError as refusal:
            if not self.tried:
                raise  # it is the data, or the model takes no quantization
            error = str(refusal)
        one = self._judged(what, changed, plain, metric, error, time.monotonic() - started)
        self.tried.append(one)
        self._spent(started)
        self.work.progress.note(self._line(one))
        return model if one.holds else None

    def _made(self, settings: Quantizing) -> ov.Model:
        return ptq.quantize(self.work.model, settings, self.feed)

    def _judged(
        self,
        what: str,
        changed: dict[str, Any],
        plain: Interval,
        metric: Interval | None,
        error: str | None,
        seconds: float,
    ) -> Tried:
        seconds = round(seconds, 3)
        if metric is None:
            return Tried(what, changed, None, None, None, None, seconds, False, True, error)
        limit = self.settings.max_drop or 0.0
        drop = plain.value - metric.value
        low, high = (metric.low, metric.high) if metric.known else (None, None)
        certain = metric.excludes(plain.value - limit)
        holds = drop <= limit + _ROUNDING
        return Tried(what, changed, metric.value, low, high, drop, seconds, holds, certain)

    def _line(self, one: Tried) -> str:
        if one.drop is None:
            return f"{one.what}: could not be made, {one.error}"
        verdict = "holds" if one.holds else f"more than {units.text(self.settings.max_drop)}"
        doubt = "" if one.certain else " (too few samples to be certain)"
        shown = units.interval_text(one.metric, one.ci_low, one.ci_high)
        return f"{one.what}: {self.judge.metric} {shown}, drop {one.drop:.4f}, {verdict}{doubt}"

    def _best(self) -> Tried | None:
        judged = [one for one in self.tried if one.drop is not None]
        return min(judged, key=lambda one: one.drop or 0.0, default=None)

    def _sets(self, best: Tried) -> Iterator[tuple[str, ...]]:
        """Yield sets of layers to leave in float, each to take away half of the noise left."""
        costs = self._costs(best)
        quantized = {name for cost in costs for name in cost.layers}
        there = {o.get_friendly_name() for o in self.work.model.get_ordered_ops()}
        before: tuple[str, ...] = ()
        for halvings in range(1, _HALVINGS + 1):
            names = sensitivity.cheapest(costs, 1 - 0.5**halvings)
            left = tuple(name for name in names if name in there)  # NNCF adds layers that smooth
            if set(names) == quantized:
                return  # nothing would be quantized
            if left and left != before:
                before = left
                yield left

    def _costs(self, best: Tried) -> list[LayerCost]:
        if self.costs is None:
            self._in_time()
            started = time.monotonic()
            limit = self.settings.time_limit_s
            found = sensitivity.measure(
                self.work.model,
                self.samples,
                self.work.parent.record.inputs,
                type(self.settings).model_validate(
                    self.settings.model_dump(mode="json") | best.settings
                ),
                time_limit_s=None if limit is None else limit - self.spent_s,
                progress=self.work.progress,
            )
            if found.not_reached:
                raise self._not_met(" in the time, which ended while layers were compared")
            self.costs = list(found.layers)
            self._spent(started)
        return self.costs

    def _in_time(self) -> None:
        limit = self.settings.time_limit_s
        if limit is not None and self.spent_s >= limit:
            raise self._not_met(f" in {units.duration(limit)}")

    def _not_met(self, when: str) -> LimitNotMetError:
        best = self._best()
        limit = units.text(self.settings.max_drop)
        told = f": best is {self._line(best)}" if best else ""
        return LimitNotMetError(
            f"no quantization of {self.work.parent.name} holds max_drop {limit}{when}{told}",
            "allow more with max_drop or time_limit_s, or calibrate on more samples like those "
            "it is judged by",
        )

    def _found(self, model: ov.Model) -> Found:
        chosen = next(one for one in self.tried if one.holds)
        details = {
            "metric": self.judge.metric,
            "in_float": None if self.plain is None else asdict(self.plain),
            "chosen": chosen.settings,
            "tried": [asdict(one) for one in self.tried],
            "sensitivity": [cost.to_json() for cost in self.costs or ()],
        }
        return Found(model, units.finite(details))

    def _told(self, task: str) -> None:
        self.work.progress.start(task)

    def _spent(self, started: float) -> None:
        """Count the time since then, and write what is known."""
        self.spent_s += time.monotonic() - started
        state = {
            "metric": self.judge.metric,
            "spent_s": self.spent_s,
            "in_float": None if self.plain is None else asdict(self.plain),
            "tried": [asdict(one) for one in self.tried],
            "costs": None if self.costs is None else [asdict(cost) for cost in self.costs],
        }
        files.write_text(self.work.scratch / STATE, json.dumps(state, indent=2))

    def _resume(self) -> None:
        path = self.work.scratch / STATE
        if not path.is_file():
            return
        state = json.loads(path.read_text(encoding="utf-8"))
        if state["metric"] != self.judge.metric:
            return
        self.spent_s = state["spent_s"]
        self.plain = Interval(**state["in_float"])
        self.tried = [Tried(**one) for one in state["tried"]]
        if state["costs"] is not None:
            self.costs = [
                LayerCost(**(cost | {"layers": tuple(cost["layers"])})) for cost in state["costs"]
            ]
        self.work.progress.note(f"going on after {len(self.tried)} candidates tried before")


def _escalation(settings: Quantizing) -> Iterator[dict[str, Any]]:
    """Yield what to change, the cheapest first; what is set already is no candidate again."""
    yield {}
    transformer = {} if settings.model_type == "transformer" else {"model_type": "transformer"}
    full = {"fast_bias_correction": False} if settings.fast_bias_correction else {}
    if not settings.bias_correction:
        full = {"fast_bias_correction": False, "bias_correction": True}
    if transformer:
        yield transformer
    if full:
        yield full
    if transformer and full:
        yield {**transformer, **full}


def _words(changed: dict[str, Any]) -> str:
    words = ["model_type transformer"] if "model_type" in changed else []
    if "fast_bias_correction" in changed:
        words.append("full bias correction")
    return " and ".join(words) or "settings as given"
