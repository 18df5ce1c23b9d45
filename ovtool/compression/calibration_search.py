"""The search for settings of quantization that cost nothing at run time, without labels.

Candidates change how ranges and biases are calibrated, one kind of setting after another, and each
kind keeps the best of the kinds before (coordinate descent, Wright 2015, "Coordinate descent
algorithms", Mathematical Programming 151). A candidate is quantized on a part of the calibration
samples and judged by the signal-to-quantization-noise ratio of its outputs on others; the worst
output, or the worst group of its channels, counts (:mod:`ovtool.compression.output_noise`). A
candidate is better if its mean gain in dB, paired by sample, is above its standard error. The
judged graphs compute as those that ``max_drop`` judges, see
:func:`~ovtool.compression.calibration_rules.judging_properties`: in f32 for a target that does not
overflow, otherwise in the kernels of this CPU. The noise ranks candidates; it does not predict a
metric.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.compression import ptq
from ovtool.compression.calibration_rules import (
    count_depthwise,
    find_attention,
)
from ovtool.compression.nncf_adapter import CalibrationFeed
from ovtool.compression.output_noise import OutputNoise, compare_noise, limit_db
from ovtool.compression.ptq import TIME_LIMITS_S, Int8Settings
from ovtool.compression.saved_state import load_state, save_state
from ovtool.core import files, units
from ovtool.core.errors import InputError
from ovtool.datasets.samples import DerivedSamples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import openvino as ov

    from ovtool.compression.method import MethodContext
    from ovtool.compression.ptq import QuantizationSettings
    from ovtool.datasets.samples import Sample, Samples

STATE = "settings.json"
BY_RULES = "settings by rules"
"""Name of the candidate without changes."""
MIN_GAIN_DB = 0.1
"""Smaller mean gains are rounding: the candidate before stays."""
_MAX_JUDGED = 32
_DIGITS = 4  # of a ratio in dB
_MIN_TO_HOLD_BACK = 16  # with fewer, candidates are judged on the samples that calibrate them
_CALIBRATED = {"medium": 100, "high": 300}
"""Maximum number of samples that calibrate a candidate. Few misjudge the full bias correction:
MobileNetV2 has 19.0, 19.8 and 20.5 dB with it on 32, 64 and 100 samples, 19.9 dB without."""
_SMOOTHING = (0.5, 0.25, 0.75, -1.0)
_FEWER = 4
"""Divisor of the number of calibration samples, to try whether outliers in the rest harm."""
_PRESETS = ("mixed", "performance")
_MIN_PRODUCTS = 2  # a single matrix product is a classifier

Changes = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SettingsAttempt:
    """A candidate of the search and its noise.

    ``changed`` are the settings that differ from the start; ``sqnr_db`` is the mean of
    ``samples_db``, the ratios of each judged request; ``output`` is the position of the worst
    output, from 0.
    """

    changed: Changes
    seconds: float
    sqnr_db: float | None = None
    output: int | None = None
    error: str | None = None
    samples_db: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """The changed settings, in words."""
        listed = ", ".join(f"{key} {units.text(value)}" for key, value in self.changed.items())
        return listed or BY_RULES

    def to_json(self) -> dict[str, Any]:
        """Return the attempt as JSON types, with None for infinite values."""
        document: dict[str, Any] = units.finite(asdict(self))
        return document


class CalibrationSearch:
    """Searches settings for one application of a method; attempts are saved in its scratch folder.

    An interrupted search resumes. Its order does not depend on time; its end may: after
    ``time_limit_s`` no further candidate is tried.
    """

    def __init__(
        self,
        context: MethodContext[Any],
        samples: Samples,
        settings: QuantizationSettings,
        *,
        time_limit_s: float | None = None,
    ) -> None:
        self.context, self.settings = context, settings
        effort = settings.effort if settings.effort in TIME_LIMITS_S else "medium"
        self.time_limit_s = time_limit_s or TIME_LIMITS_S[effort]
        self.judging, self.calibrating, self.held_back = hold_back(samples)
        self.feed = CalibrationFeed(
            self.calibrating,
            context.parent.record.inputs,
            min(_CALIBRATED[effort], settings.subset_size),
            context.progress,
        )
        self.steps = list_steps(context.model, context.settings, effort, self.feed.count)
        self.attempts: list[SettingsAttempt] = []
        self.chosen: Changes = {}
        self.spent_s = self.earlier_s = 0.0
        """Seconds of the search: in all, and in runs that were interrupted."""
        self.finished = False
        self._resume()

    def rank(self) -> list[SettingsAttempt]:
        """Return the chosen attempt, then the others, the least noise first, without failed ones.

        Raises:
            InputError: The settings at the start cannot be quantized.
        """
        if not self.finished:
            self._started_s = time.monotonic()
            self.context.progress.start("computing outputs without quantization")
            noise = OutputNoise(self.context.model, self.judging, self.context, _MAX_JUDGED)
            if noise.known:
                self._search(noise)
        known = [attempt for attempt in self.attempts if attempt.sqnr_db is not None]
        return sorted(known, key=lambda a: (a.changed != self.chosen, -(a.sqnr_db or 0.0)))

    def _search(self, noise: OutputNoise) -> None:
        start = self._try({}, noise)
        if start.error is not None:
            raise InputError(start.error)
        for step in self.steps:
            tried: list[SettingsAttempt] = []
            for changes in step:
                self._count_time()
                if self.spent_s >= self.time_limit_s:
                    self._choose(start, tried)
                    return
                tried.append(self._try({**start.changed, **changes}, noise))
            start = self._choose(start, tried)
        self.finished = True
        self._save()

    def _choose(self, start: SettingsAttempt, tried: Sequence[SettingsAttempt]) -> SettingsAttempt:
        best = choose_attempt(start, tried)
        self.chosen = best.changed
        return best

    def _count_time(self) -> None:
        self.spent_s = self.earlier_s + time.monotonic() - self._started_s

    def _try(self, changed: Changes, noise: OutputNoise) -> SettingsAttempt:
        """Return the attempt with these changes; reuse a recorded one."""
        changed = {key: value for key, value in changed.items()
                   if value != getattr(self.settings, key)}  # fmt: skip
        known = next((a for a in self.attempts if a.changed == changed), None)
        if known is not None:
            return known
        started = time.monotonic()
        attempt = SettingsAttempt(changed, 0.0)
        self.context.progress.start(f"trying: {attempt.name}")
        try:
            model = ptq.quantize(self.context.model, self.with_changes(changed), self.feed)
            measured = noise.measure(model)
            ratios = tuple(round(ratio, _DIGITS) for ratio in measured.requests_db)
            mean = sum(limit_db(ratio) for ratio in ratios) / len(ratios)
            attempt = replace(attempt, sqnr_db=mean, output=measured.output, samples_db=ratios)
        except InputError as failure:
            attempt = replace(attempt, error=str(failure))
        attempt = replace(attempt, seconds=round(time.monotonic() - started, 3))
        self.attempts.append(attempt)
        self._save()
        figure = f"{units.text(attempt.sqnr_db)} dB"
        if attempt.error is not None:
            figure = f"failed, {attempt.error}"
        self.context.progress.note(f"{attempt.name}: {figure}")
        return attempt

    def with_changes(self, changed: Changes) -> QuantizationSettings:
        """Return the settings with changes."""
        return type(self.settings).model_validate(self.settings.model_dump(mode="json") | changed)

    def details(self) -> dict[str, Any]:
        """Return the facts of the search for the record."""
        return {
            "calibrated_on": self.feed.count,
            "judged_on": min(len(self.judging), _MAX_JUDGED),
            "held_back": self.held_back,
            "finished": self.finished,
            "seconds": round(self.spent_s, 3),
            "attempts": [attempt.to_json() for attempt in self.attempts],
        }

    def _save(self) -> None:
        self._count_time()
        state = {
            "spent_s": self.spent_s,
            "finished": self.finished,
            "chosen": self.chosen,
            "attempts": [asdict(attempt) for attempt in self.attempts],
        }
        save_state(self.context.scratch / STATE, state)
        files.mark_kept(self.context.scratch, units.count_text(len(self.attempts), "setting"))

    def _resume(self) -> None:
        state = load_state(self.context.scratch / STATE, self.context.progress)
        if state is None:
            return
        self.spent_s = self.earlier_s = state["spent_s"]
        self.finished, self.chosen = state["finished"], state["chosen"]
        self.attempts = [
            SettingsAttempt(**(attempt | {"samples_db": tuple(attempt["samples_db"])}))
            for attempt in state["attempts"]
        ]
        self.context.progress.note(f"resumed after {len(self.attempts)} settings")


def choose_attempt(start: SettingsAttempt, tried: Sequence[SettingsAttempt]) -> SettingsAttempt:
    """Return the attempt with the least noise of those that are better than the start, or that.

    An attempt is better if its mean gain, see :func:`~.output_noise.compare_noise`, is above its
    standard error (the rule of Breiman et al. 1984, "Classification and Regression Trees", section
    3.4.3) and above :data:`MIN_GAIN_DB`. A single sample has no standard error.
    """
    better = []
    for attempt in tried:
        if attempt.sqnr_db is None:
            continue
        gain = compare_noise(start.samples_db, attempt.samples_db)
        if gain.mean_db > MIN_GAIN_DB and not gain.mean_db <= gain.error_db:
            better.append((gain.mean_db, attempt))
    return max(better, key=lambda pair: pair[0])[1] if better else start


def list_steps(
    model: ov.Model,
    settings: QuantizationSettings,
    effort: str,
    calibrating: int = 1,
) -> list[list[Changes]]:
    """Return the candidates by step: changes of the best settings of the steps before.

    ``settings`` are those of the user, which are kept. ``effort`` is medium or high.
    ``calibrating`` is the number of samples that calibrate a candidate. Steps that gain most come
    first. The overflow fix is not among them: the rule leaves nothing to gain.
    """
    high = effort == "high"
    steps: list[list[Changes]] = []
    kinds = [operation.get_type_name() for operation in model.get_ordered_ops()]
    attention = kinds.count("MatMul") >= _MIN_PRODUCTS  # or may be
    if settings.model_type == "auto" and attention:
        steps.append([{"model_type": "transformer"}, {"model_type": "none"}])
    steps.append(_smoothing_candidates(model, settings, effort, kinds.count("MatMul")))
    if settings.fast_bias_correction and settings.bias_correction:
        none: list[Changes] = [{"bias_correction": False}] if high else []
        steps.append([{"fast_bias_correction": False}, *none])
    if isinstance(settings, Int8Settings):
        # What ranges gain shows where biases are right: a wrong range shifts the means too.
        steps.append(_range_candidates(settings, effort))
        if settings.activation_scales == "auto" and count_depthwise(model):
            steps.append([{"activation_scales": s} for s in ("per_tensor", "per_channel")])
    if isinstance(settings, Int8Settings) and settings.preset == "auto":
        # NNCF's own preset is mixed for transformers, performance for others.
        presets = ["mixed"] if settings.model_type == "none" or not attention else _PRESETS
        steps.append([{"preset": preset} for preset in presets])
    if high:
        steps.append([{"subset_size": max(1, min(calibrating, settings.subset_size) // _FEWER)}])
    return [step for step in steps if step]


def _smoothing_candidates(
    model: ov.Model, settings: QuantizationSettings, effort: str, products: int
) -> list[Changes]:
    """Return other shares of SmoothQuant than the one that is tried first, and none.

    Xiao et al. 2023, "SmoothQuant", section 4: 0.5 balances activations and weights, more suits
    activations with more outliers.
    """
    possible = settings.model_type == "transformer" or (
        settings.model_type == "auto" and find_attention(model) is not None
    )
    if products < _MIN_PRODUCTS or not possible or settings.smoothing_changed:
        return []
    shares = _SMOOTHING if effort == "high" else _SMOOTHING[:1]
    return [{"model_type": "transformer", "smooth_matmul": share} for share in shares]


def _range_candidates(settings: Int8Settings, effort: str) -> list[Changes]:
    """Return estimators of the ranges of activations; NNCF rejects some with scales per channel."""
    ranges: list[str] = [settings.activations_range]
    if settings.activations_range == "auto":
        ranges = ["minmax", "histogram"]
        if effort == "high":
            ranges += ["mean_no_outliers_minmax", "mean_quantile", "median_minmax"]
    return [{"activations_range": kind} for kind in ranges]


class _Selected(DerivedSamples):
    """The samples at some positions of a dataset."""

    def __init__(self, samples: Samples, positions: frozenset[int]) -> None:
        self.samples, self._positions = samples, positions

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[Sample]:
        return (s for index, s in enumerate(self.samples) if index in self._positions)


def hold_back(samples: Samples) -> tuple[Samples, Samples, bool]:
    """Return the samples to judge on, those to calibrate on, and whether they are others.

    A quarter is held back, evenly spread, at most as many as are judged.
    """
    total = len(samples)
    if total < _MIN_TO_HOLD_BACK:
        return samples, samples, False
    count = min(total // 4, _MAX_JUDGED)
    positions = frozenset(int(p) for p in (np.arange(count) + 0.5) * total / count)
    rest = frozenset(range(total)) - positions
    return _Selected(samples, positions), _Selected(samples, rest), True
