"""The smallest weight compression of a text generator within a limit of its perplexity.

Candidates without corrections come first, the smallest first, until one holds the limit. Then each
smaller candidate, the largest first, is tried with AWQ, and with AWQ and scale estimation, which
take longer and add no size, until both fail: a smaller one is taken to fail too.

A candidate is saved, read again and judged exactly on the CPU: f32, nothing quantized but the
weights. It holds the limit if the whole interval of the rise of its perplexity does; the interval
is paired by window, see :func:`ovtool.evaluation.language.compare_losses`. A candidate whose
interval lies above the limit after a part of the windows is not judged on the others.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ovtool.compression.method import MethodResult
from ovtool.compression.saved_state import load_state, save_state
from ovtool.core import files, units
from ovtool.core.errors import InputError, LimitNotMetError
from ovtool.core.statistics import Interval
from ovtool.core.third_party import read_graph, reason
from ovtool.evaluation.language_evaluator import TextGraphEvaluator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import openvino as ov

    from ovtool.compression.method import MethodContext
    from ovtool.compression.methods.weight_compression import WeightCompressionSettings

Changes = dict[str, Any]
STATE = "weights.json"
_EARLIEST = 8
"""Windows after which a candidate can be rejected; and again whenever they double."""
_ADJUST = {"group_size_fallback": "adjust"}
_INT4: tuple[Changes, ...] = tuple(
    {"mode": mode, "group_size": size} | _ADJUST
    for size in (128, 64, 32)
    for mode in ("int4_sym", "int4_asym")
)
_MIXED: tuple[Changes, ...] = tuple(
    {"mode": "int4_asym", "group_size": 64, "ratio": ratio, "backup_mode": "int8_asym"} | _ADJUST
    for ratio in (0.8, 0.6)
)
_INT8: Changes = {"mode": "int8_asym"}
LADDER: tuple[Changes, ...] = (*_INT4, *_MIXED, _INT8)
"""Settings in the order of the bits of a weight, the fewest first."""
CORRECTIONS: tuple[Changes, ...] = ({"awq": True}, {"awq": True, "scale_estimation": True})
_CHOSEN = ("mode", "group_size", "ratio", "backup_mode")
"""Settings of the ladder; those that the user sets keep their values."""


@dataclass(frozen=True, slots=True)
class WeightAttempt:
    """A candidate and its evaluation.

    ``settings`` are those that differ from the given ones; ``mib`` is the size of the saved graph;
    ``rise`` the rise of the perplexity as a share; ``windows`` the windows that it was judged on.
    """

    settings: Changes
    seconds: float
    mib: float | None = None
    windows: int = 0
    perplexity: Interval | None = None
    rise: Interval | None = None
    holds: bool = False
    error: str | None = None

    @property
    def name(self) -> str:
        """The settings in words."""
        hidden = {*_ADJUST, "backup_mode"}
        parts = [
            str(value) if key == "mode" else key if value is True else f"{key} {value}"
            for key, value in self.settings.items()
            if key not in hidden
        ]
        return ", ".join(parts)


def list_candidates(settings: WeightCompressionSettings) -> list[Changes]:
    """Return the rows of the ladder, the smallest first, with what the user set in all of them.

    8 bits are the last resort only where nothing is set.

    Raises:
        InputError: What the user set fits no row.
    """
    plain = type(settings).model_validate({})
    kept = {n: getattr(settings, n) for n in _CHOSEN if getattr(settings, n) != getattr(plain, n)}
    if not kept:
        return list(LADDER)
    rows: list[Changes] = []
    mistakes: list[str] = []
    ladder = [
        row for row in LADDER if row is not _INT8 and not ("ratio" in kept and "ratio" in row)
    ]
    for row in (each | kept for each in ladder):
        try:
            type(settings).model_validate(settings.model_dump(mode="json") | row)
        except ValueError as error:
            mistakes.append(reason(error))
            continue
        if row not in rows:
            rows.append(row)
    if not rows:
        listed = ", ".join(f"{name} {value}" for name, value in kept.items())
        raise InputError(
            f"the search has no candidate with {listed}: {mistakes[0]}",
            "remove the setting, or max_perplexity_rise",
        )
    return rows


def find_smallest(
    context: MethodContext[WeightCompressionSettings],
    compress: Callable[[MethodContext[WeightCompressionSettings]], MethodResult],
) -> MethodResult:
    """Return the smallest compression that holds ``max_perplexity_rise``, with the search's course.

    Attempts are saved in ``context.scratch``: an interrupted search does not repeat them.

    Args:
        context: The parent and the settings.
        compress: Compresses weights with the settings of a context.

    Raises:
        InputError: The model does not generate text, or its data are no text.
        LimitNotMetError: No candidate holds the limit, or none within the time limit.
    """
    evaluator = context.inputs.evaluator
    if not isinstance(evaluator, TextGraphEvaluator):
        raise InputError(
            f"max_perplexity_rise needs a text generator; {context.parent.name} is not one",
            "use max_drop of the method int8",
        )
    return _Search(context, compress, evaluator).run()


class _Search:
    def __init__(
        self,
        context: MethodContext[WeightCompressionSettings],
        compress: Callable[[MethodContext[WeightCompressionSettings]], MethodResult],
        evaluator: TextGraphEvaluator,
    ) -> None:
        self.context, self.compress, self.evaluator = context, compress, evaluator
        self.limit = context.settings.max_perplexity_rise or 0.0
        self.spent_s = 0.0
        self.reference: list[float] | None = None
        self.attempts: list[WeightAttempt] = []
        self.best: WeightAttempt | None = None
        self.best_xml: Path | None = None
        """The saved graph of the best candidate; None if an interrupted search wrote it."""
        self.written: WeightAttempt | None = None
        """The candidate that was saved last."""
        self._resume()

    def run(self) -> MethodResult:
        rows = list_candidates(self.context.settings)
        if self.reference is None:
            started = time.monotonic()
            self.context.progress.start("evaluating the model without compression")
            self.reference = self.evaluator.losses(self.context.model)
            self._save(started)
        place = next((i for i, row in enumerate(rows) if self._try(row)), None)
        if place is None:
            raise self._limit_not_met()
        for row in reversed(rows[:place]):
            if row["mode"] == _INT8["mode"] or not any(
                self._try(row | correction)
                for correction in CORRECTIONS
                if any(getattr(self.context.settings, n) != v for n, v in correction.items())
            ):
                break
        return self._result()

    def _try(self, changes: Changes) -> bool:
        """Whether a candidate holds the limit; the smallest one that does is kept."""
        known = next((each for each in self.attempts if each.settings == changes), None)
        if known is None:
            if self._out_of_time:
                return False
            known = self._evaluate(changes)
        if known.holds and known is not self.best:
            self._keep(known)
        return known.holds

    def _evaluate(self, changes: Changes) -> WeightAttempt:
        started, progress = time.monotonic(), self.context.progress
        attempt = WeightAttempt(changes, 0.0)
        progress.start(f"trying: {attempt.name}")
        try:
            path = self._write(changes)
            size = path.stat().st_size + path.with_suffix(".bin").stat().st_size
            progress.start(f"evaluating: {attempt.name}")
            attempt = self._judge(replace(attempt, mib=size / units.MIB), _read(path))
        except InputError as failure:
            attempt = replace(attempt, error=failure.full_text)
        attempt = replace(attempt, seconds=round(time.monotonic() - started, 3))
        self.attempts.append(attempt)
        self.written = attempt
        self._save(started)
        progress.note(self._line(attempt))
        return attempt

    def _judge(self, attempt: WeightAttempt, model: ov.Model) -> WeightAttempt:
        reference = self.reference or []
        losses: list[float] = []
        check_at = _EARLIEST
        rise = Interval(0.0, 0.0, 0.0)
        for loss in self.evaluator.iterate_losses(model):
            losses.append(loss)
            done = len(losses) == len(reference)
            if not done and len(losses) < check_at:
                continue
            check_at *= 2
            rise = self.evaluator.compare(losses, reference[: len(losses)])
            if rise.low > self.limit:
                break
        return replace(
            attempt,
            windows=len(losses),
            perplexity=self.evaluator.perplexity(losses),
            rise=rise,
            holds=len(losses) == len(reference) and rise.high <= self.limit,
        )

    def _write(self, changes: Changes) -> Path:
        """Save the graph of a candidate; return its path."""
        import openvino as ov

        settings = self.context.settings
        reset = {} if changes["mode"] != _INT8["mode"] else _plain(settings)
        document = settings.model_dump(mode="json") | reset | changes
        document |= {"max_perplexity_rise": None, "time_limit_s": None}
        own = type(settings).model_validate(document)
        model = read_graph(self.context.parent.xml, mapped=os.name != "nt")
        result = self.compress(replace(self.context, model=model, settings=own))
        self.context.scratch.mkdir(parents=True, exist_ok=True)
        path = self.context.scratch / "candidate.xml"
        ov.save_model(result.model, path, compress_to_fp16=False)
        return path

    def _keep(self, attempt: WeightAttempt) -> None:
        """Keep the smallest candidate so far, with its graph if this run wrote it."""
        self.best = attempt
        self.best_xml = None
        if self.written is attempt:
            self.best_xml = self.context.scratch / "best.xml"
            for suffix in (".bin", ".xml"):
                path = self.context.scratch / f"candidate{suffix}"
                path.replace(self.best_xml.with_suffix(suffix))

    @property
    def _out_of_time(self) -> bool:
        limit = self.context.settings.time_limit_s
        return limit is not None and self.spent_s >= limit

    def _line(self, attempt: WeightAttempt) -> str:
        if attempt.perplexity is None or attempt.rise is None:
            return f"{attempt.name}: failed, {attempt.error}"
        limit, rise = units.text(100 * self.limit), attempt.rise
        verdict = f"above the limit {limit}%" if rise.value > self.limit else "uncertain"
        if verdict == "uncertain":
            verdict = f"not certain to be within {limit}%: a longer text tells"
        if attempt.holds:
            verdict = f"within {limit}%"
        whole = len(self.reference or ())
        part = f" on {attempt.windows} of {whole} windows" if attempt.windows < whole else ""
        perplexity = units.interval_text(*asdict(attempt.perplexity).values())
        ends = (100 * v for v in (rise.value, rise.low, rise.high))
        return (
            f"{attempt.name}: {units.text(attempt.mib)} MiB, perplexity {perplexity},"
            f" rise {units.interval_text(*ends)}%{part}, {verdict}"
        )

    def _limit_not_met(self) -> LimitNotMetError:
        judged = [a for a in self.attempts if a.rise is not None]
        best = min(judged, key=lambda a: a.rise.value if a.rise else 0.0, default=None)
        if best is None and self.attempts:
            raise InputError(f"the weights cannot be compressed: {self.attempts[0].error}")
        evidence = f"; best: {self._line(best)}" if best is not None else ""
        seconds = self.context.settings.time_limit_s
        when = f" in {units.duration(seconds)}" if seconds is not None and self._out_of_time else ""
        return LimitNotMetError(
            f"no weight compression of {self.context.parent.name} holds max_perplexity_rise"
            f" {units.text(100 * self.limit)}%{when}{evidence}",
            "raise max_perplexity_rise or time_limit_s, or give a longer text",
        )

    def _result(self) -> MethodResult:
        if self.best is None:
            raise self._limit_not_met()
        reference = self.evaluator.perplexity(self.reference or [])
        self.context.progress.note(f"smallest within the limit: {self.best.name}")
        details = {
            "metric": self.evaluator.metric,
            "reference": asdict(reference),
            "chosen": self.best.settings,
            "attempts": [asdict(attempt) for attempt in self.attempts],
        }
        # Not mapped: the scratch folder is removed, or replaced, before the graph is.
        path = self.best_xml or self._write(self.best.settings)
        return MethodResult(_read(path), units.finite(details))

    def _save(self, started: float) -> None:
        self.spent_s += time.monotonic() - started
        state = {
            "metric": self.evaluator.description,
            "spent_s": self.spent_s,
            "reference": self.reference,
            "attempts": [asdict(attempt) for attempt in self.attempts],
        }
        save_state(self.context.scratch / STATE, state)
        files.mark_kept(self.context.scratch, units.count_text(len(self.attempts), "candidate"))

    def _resume(self) -> None:
        state = load_state(self.context.scratch / STATE, self.context.progress)
        if state is None or state["metric"] != self.evaluator.description:
            return
        self.spent_s, self.reference = state["spent_s"], state["reference"]
        self.attempts = [_attempt(each) for each in state["attempts"]]
        self.context.progress.note(f"resumed after {len(self.attempts)} candidates")


def _plain(settings: WeightCompressionSettings) -> Changes:
    """Return the defaults of the settings that 8-bit modes do not support."""
    names = (*_CHOSEN[1:], "all_layers", "sensitivity_metric", "awq", "scale_estimation", "gptq",
             "lora_correction")  # fmt: skip
    plain = type(settings).model_validate({})
    return {name: getattr(plain, name) for name in names}


def _attempt(document: dict[str, Any]) -> WeightAttempt:
    intervals = {
        name: None if document[name] is None else Interval(**document[name])
        for name in ("perplexity", "rise")
    }
    return WeightAttempt(**(document | intervals))


def _read(path: Path) -> ov.Model:
    return read_graph(path, mapped=False)
