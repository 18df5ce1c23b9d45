"""Quantization within an accuracy limit: settings that cost no time first, then float layers.

The candidates are, in this order: the settings as given, with what rules decide; the settings with
the least noise in a search without labels (:mod:`ovtool.compression.calibration_search`), which
come first with effort medium or high; then the best of these with layers left in float, as few as
hold the limit. The result is the first candidate with a metric at most ``max_drop`` below that of
the uncompressed graph, on the same validation samples. Settings by rules need an interval that
confirms it, or come after those with the least noise. For a target whose INT8 kernels do not
overflow, the candidates compute in f32, as their graphs state it; otherwise in the kernels of this
CPU. The interval of the drop is evidence: where it contains ``max_drop``, the samples are too few.
The interval is paired by sample, see :mod:`ovtool.core.paired`; for metrics without a figure for
each sample, such as those of boxes, it is that of the quantized graph's metric, which is wider.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ovtool.compression import layer_sensitivity, ptq
from ovtool.compression.calibration_rules import judging_properties
from ovtool.compression.calibration_search import BY_RULES, CalibrationSearch, SettingsAttempt
from ovtool.compression.layer_sensitivity import LayerCost
from ovtool.compression.method import MethodResult
from ovtool.compression.saved_state import load_state, save_state
from ovtool.core import files, units
from ovtool.core.columns import quality_loss
from ovtool.core.errors import InputError, LimitNotMetError
from ovtool.core.paired import SampleScores, compare_scores
from ovtool.core.statistics import Interval

if TYPE_CHECKING:
    from collections.abc import Iterator

    import openvino as ov

    from ovtool.compression.method import MethodContext, QualityEvaluator
    from ovtool.compression.nncf_adapter import CalibrationFeed
    from ovtool.compression.ptq import QuantizationSettings
    from ovtool.datasets.samples import Samples

STATE = "attempts.json"
_ROUNDING = 1e-9  # 0.98 - 0.97 is slightly above 0.01
_JUDGED = 3  # settings of the search that are judged on validation samples


@dataclass(frozen=True, slots=True)
class Attempt:
    """A candidate and its evaluation.

    ``settings`` are those that differ from the given ones; ``drop`` is positive for a loss;
    ``drop_low`` and ``drop_high`` are its paired interval, None if the metric has no figure for
    each sample; ``lost`` and ``won`` are numbers of samples, None if it is no share of samples.
    ``certain``: the limit lies outside the interval; None without an interval.
    """

    candidate: str
    settings: dict[str, Any]
    seconds: float
    metric: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    drop: float | None = None
    drop_low: float | None = None
    drop_high: float | None = None
    lost: int | None = None
    won: int | None = None
    holds: bool = False
    certain: bool | None = True
    error: str | None = None


def quantize_within_limit(
    context: MethodContext[Any],
    settings: QuantizationSettings,
    samples: Samples,
    feed: CalibrationFeed,
) -> MethodResult:
    """Return the first quantization of a graph that holds ``max_drop``, with the search's course.

    ``settings`` are those of the context with what rules decide. Attempts are saved in
    ``context.scratch``: an interrupted search does not repeat them, and their duration counts.

    Raises:
        InputError: Validation samples are missing, or the model cannot be quantized.
        LimitNotMetError: No candidate holds the limit, or none within the time limit.
    """
    evaluator = context.inputs.evaluator
    if evaluator is None:
        raise InputError("max_drop needs validation samples", "add --validation-data")
    return _Search(context, settings, evaluator, samples, feed).run()


class _Search:
    def __init__(
        self,
        context: MethodContext[Any],
        settings: QuantizationSettings,
        evaluator: QualityEvaluator,
        samples: Samples,
        feed: CalibrationFeed,
    ) -> None:
        self.context, self.evaluator, self.samples, self.feed = context, evaluator, samples, feed
        self.settings = settings
        self.spent_s = 0.0
        self.in_float: Interval | None = None
        self.float_scores: SampleScores | None = None
        self.attempts: list[Attempt] = []
        self.costs: list[LayerCost] | None = None
        self.ranking: dict[str, Any] | None = None
        self._resume()

    def run(self) -> MethodResult:
        progress = self.context.progress
        if self.in_float is None:
            progress.start("evaluating the model without quantization")
            started = time.monotonic()
            self.in_float = self.evaluator(self.context.model)
            self.float_scores = self.evaluator.sample_scores
            self._save(started)
        for candidate, changed, confirmed in self._candidates():
            model = self._try(candidate, changed)
            if model is not None and not (confirmed and self._attempt(changed).certain is False):
                return self._result(model, changed)
        best = self._best()
        if best is None:
            raise InputError(f"the model cannot be quantized: {self.attempts[0].error}")
        return self._result(*self._with_layers_in_float(best))

    def _candidates(self) -> Iterator[tuple[str, dict[str, Any], bool]]:
        """Yield candidates without further layers in float.

        Each is a name, what it changes, and whether it needs to hold the limit with certainty.
        Settings by rules take no time to find, and come first. If only chance may have made them
        hold, those with the least noise, which cost nothing at run time either, come before them.
        With effort medium or high, these come first.
        """
        if self.settings.effort == "none":
            yield "settings as given", {}, False
            return
        if self.settings.effort not in ptq.TIME_LIMITS_S:
            yield BY_RULES, {}, True
        for attempt in self._ranked():
            yield attempt.name, attempt.changed, False
        yield BY_RULES, {}, False

    def _attempt(self, changed: dict[str, Any]) -> Attempt:
        return next(attempt for attempt in self.attempts if attempt.settings == changed)

    def _ranked(self) -> list[SettingsAttempt]:
        """Return the settings with the least noise; none if time is over and a candidate holds."""
        if self._out_of_time and any(attempt.holds for attempt in self.attempts):
            return []
        self._check_time()
        started = time.monotonic()
        limit = self.settings.time_limit_s
        search = CalibrationSearch(
            self.context,
            self.samples,
            self.settings,
            time_limit_s=None if limit is None else limit - self.spent_s,
        )
        ranked = search.rank()
        self.ranking = search.details()
        self.spent_s += search.earlier_s
        self._save(started)
        return ranked[:_JUDGED]

    def _with_layers_in_float(self, best: Attempt) -> tuple[ov.Model, dict[str, Any]]:
        """Return the model with the fewest layers in float that holds the limit, and its settings.

        Layers are taken in the order of noise by cost. Their number doubles until the limit holds;
        then bisection finds the smallest, if more layers in float never lose more of the metric.
        """
        sets = self._layer_sets(best)
        holds: tuple[ov.Model, dict[str, Any]] | None = None
        fails, count = 0, 1
        while count <= len(sets) and holds is None:
            holds = self._try_layers(best, sets[count - 1])
            if holds is None:
                fails, count = count, min(2 * count, max(len(sets), count + 1))
        if holds is None:
            raise self._limit_not_met("")
        while count - fails > 1 and not self._out_of_time:
            middle = (fails + count) // 2
            fewer = self._try_layers(best, sets[middle - 1])
            if fewer is None:
                fails = middle
            else:
                holds, count = fewer, middle
        return holds

    def _try_layers(
        self, best: Attempt, names: tuple[str, ...]
    ) -> tuple[ov.Model, dict[str, Any]] | None:
        changed = {**best.settings, "ignored_names": [*self.settings.ignored_names, *names]}
        prefix = f"{best.candidate}, " if best.settings else ""
        in_float = f"{units.count_text(len(names), 'layer')} in float"
        model = self._try(f"{prefix}{in_float}", changed)
        return None if model is None else (model, changed)

    def _with(self, changed: dict[str, Any]) -> QuantizationSettings:
        return type(self.settings).model_validate(self.settings.model_dump(mode="json") | changed)

    def _try(self, candidate: str, changed: dict[str, Any]) -> ov.Model | None:
        """Return the candidate's model if it holds the limit; reuse a recorded evaluation."""
        settings, progress = self._with(changed), self.context.progress
        known = next((attempt for attempt in self.attempts if attempt.settings == changed), None)
        if known is not None:
            return self._quantize(settings) if known.holds else None
        if any(attempt.holds for attempt in self.attempts) and self._out_of_time:
            return None
        if self.attempts:
            self._check_time()
        started = time.monotonic()
        model, metric, error = None, None, None
        progress.start(f"trying: {candidate}")
        try:
            model = self._quantize(settings)
            progress.start(f"evaluating: {candidate}")
            metric = self.evaluator(model)
        except InputError as failure:
            if not self.attempts:
                raise  # the data is wrong, or the model cannot be quantized
            error = str(failure)
        seconds = round(time.monotonic() - started, 3)
        attempt = Attempt(candidate, changed, seconds, error=error)
        if metric is not None:
            attempt = self._evaluated(attempt, metric)
        self.attempts.append(attempt)
        self._save(started)
        progress.note(self._line(attempt))
        return model if attempt.holds else None

    def _quantize(self, settings: QuantizationSettings) -> ov.Model:
        return ptq.quantize(self.context.model, settings, self.feed)

    def _evaluated(self, attempt: Attempt, metric: Interval) -> Attempt:
        in_float = self.in_float or metric
        limit = self.settings.max_drop or 0.0
        drop = quality_loss(self.evaluator.metric, in_float.value, metric.value)
        sign = quality_loss(self.evaluator.metric, 1.0, 0.0)  # -1 if lower is better
        evaluated = replace(
            attempt,
            metric=metric.value,
            ci_low=metric.low if metric.known else None,
            ci_high=metric.high if metric.known else None,
            drop=drop,
            holds=drop <= limit + _ROUNDING,
            certain=metric.excludes(in_float.value - sign * limit) if metric.known else None,
        )
        before, after = self.float_scores, self.evaluator.sample_scores
        if before is not None and after is not None:
            paired = compare_scores(before, after)
            evaluated = replace(evaluated, lost=paired.lost, won=paired.won)
            interval = paired.drop
        elif self.evaluator.compares:  # with outputs that have no error of their own
            interval = Interval(drop, in_float.value - metric.high, in_float.value - metric.low)
        else:
            return evaluated
        if not interval.known:
            return evaluated
        certain = interval.excludes(limit)
        return replace(evaluated, drop_low=interval.low, drop_high=interval.high, certain=certain)

    def _line(self, attempt: Attempt) -> str:
        if attempt.drop is None:
            return f"{attempt.candidate}: failed, {attempt.error}"
        limit = units.text(self.settings.max_drop)
        verdict = "within the limit" if attempt.holds else f"above the limit {limit}"
        doubts = {True: "", False: " (too few samples to be certain)", None: " (no interval)"}
        doubt = doubts[attempt.certain]
        metric = units.interval_text(attempt.metric, attempt.ci_low, attempt.ci_high)
        drop = f"drop {attempt.drop:.4f}"
        if attempt.drop_low is not None:
            drop += f" [{attempt.drop_low:.4f}, {attempt.drop_high:.4f}] paired"
        if attempt.lost is not None:
            drop += f", {attempt.lost} lost, {attempt.won} won"
        name = self.evaluator.metric
        return f"{attempt.candidate}: {name} {metric}, {drop}, {verdict}{doubt}"

    def _best(self) -> Attempt | None:
        evaluated = [attempt for attempt in self.attempts if attempt.drop is not None]
        return min(evaluated, key=lambda attempt: attempt.drop or 0.0, default=None)

    def _layer_sets(self, best: Attempt) -> list[tuple[str, ...]]:
        """Return growing sets of layers to leave in float; the last one leaves one quantized."""
        own_layers = {o.get_friendly_name() for o in self.context.model.get_ordered_ops()}
        ordered = layer_sensitivity.order_for_float(self._layer_costs(best))[:-1]
        sets: list[tuple[str, ...]] = []
        names: tuple[str, ...] = ()
        for cost in ordered:
            own = tuple(n for n in cost.layers if n in own_layers)  # SmoothQuant adds layers
            if own:
                names += own
                sets.append(names)
        return sets

    def _layer_costs(self, best: Attempt) -> list[LayerCost]:
        if self.costs is None:
            self._check_time()
            started = time.monotonic()
            limit = self.settings.time_limit_s
            sensitivity = layer_sensitivity.measure_sensitivity(
                self.context.model,
                self.samples,
                self.context.parent.record.inputs,
                self._with(best.settings),
                time_limit_s=None if limit is None else limit - self.spent_s,
                progress=self.context.progress,
                properties=judging_properties(self.settings),
            )
            if sensitivity.not_reached:
                raise self._limit_not_met(" within the time limit, which ended the layer analysis")
            self.costs = list(sensitivity.layers)
            self._save(started)
        return self.costs

    @property
    def _out_of_time(self) -> bool:
        limit = self.settings.time_limit_s
        return limit is not None and self.spent_s >= limit

    def _check_time(self) -> None:
        if self._out_of_time:
            raise self._limit_not_met(f" in {units.duration(self.settings.time_limit_s or 0.0)}")

    def _limit_not_met(self, when: str) -> LimitNotMetError:
        best = self._best()
        limit = units.text(self.settings.max_drop)
        evidence = f"; best: {self._line(best)}" if best else ""
        return LimitNotMetError(
            f"no quantization of {self.context.parent.name} holds max_drop {limit}{when}{evidence}",
            "raise max_drop or time_limit_s, or calibrate on more samples like those of validation",
        )

    def _result(self, model: ov.Model, chosen: dict[str, Any]) -> MethodResult:
        details = {
            "metric": self.evaluator.metric,
            "judged_in_int8_kernels": self.evaluator.int8_kernels,
            "in_float": None if self.in_float is None else asdict(self.in_float),
            "chosen": chosen,
            "attempts": [asdict(attempt) for attempt in self.attempts],
            "settings_search": self.ranking,
            "sensitivity": [cost.to_json() for cost in self.costs or ()],
        }
        return MethodResult(model, units.finite(details))

    def _save(self, started: float) -> None:
        """Add the time since ``started`` and write the state of the search."""
        self.spent_s += time.monotonic() - started
        state = {
            "metric": self.evaluator.description,
            "spent_s": self.spent_s,
            "in_float": None if self.in_float is None else asdict(self.in_float),
            "float_scores": None if self.float_scores is None else asdict(self.float_scores),
            "attempts": [asdict(attempt) for attempt in self.attempts],
            "ranking": self.ranking,
            "costs": None if self.costs is None else [asdict(cost) for cost in self.costs],
        }
        save_state(self.context.scratch / STATE, state)
        files.mark_kept(self.context.scratch, units.count_text(len(self.attempts), "candidate"))

    def _resume(self) -> None:
        state = load_state(self.context.scratch / STATE, self.context.progress)
        if state is None or state["metric"] != self.evaluator.description:
            return
        self.spent_s = state["spent_s"]
        self.in_float = Interval(**state["in_float"])
        scores = state["float_scores"]
        if scores is not None:
            weights = scores["weights"]
            self.float_scores = SampleScores(
                tuple(scores["values"]), None if weights is None else tuple(weights)
            )
        self.attempts = [Attempt(**attempt) for attempt in state["attempts"]]
        self.ranking = state["ranking"]
        if state["costs"] is not None:
            self.costs = [
                LayerCost(**(cost | {"layers": tuple(cost["layers"])})) for cost in state["costs"]
            ]
        self.context.progress.note(f"resumed after {len(self.attempts)} candidates")
