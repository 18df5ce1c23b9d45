"""Compare two sweeps: improvements and regressions, each with its certainty.

Each matched trial has the ratio B / A of its figures.  On either side, the variance is that within
the run (the interval of the sweep) plus that between runs (:mod:`.noise`), plus that between the
rounds of a throughput that did not stabilize.  Disturbed runs decide on one side only
(:mod:`.figures`).  A difference is significant if its p-value, adjusted by Holm's method for all
figures, is below :data:`.figures.LEVEL`.  A figure is the same if the 95% interval lies within a
margin (two one-sided tests, Schuirmann 1987).  Everything else is unknown.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.comparison.comparison import Comparison, Failure, Side
from ovtool.comparison.figures import (
    LEVEL,
    OUTCOMES,
    Change,
    FigureComparison,
    Outcome,
    compare_figure,
    compared_columns,
    interval_of,
    is_disturbed,
)
from ovtool.comparison.markdown import to_markdown
from ovtool.comparison.matching import MatchedTrial, Matching, match_trials
from ovtool.comparison.noise import ALLOWANCE_PCT, Noise, RepeatedFigure, measure_noise
from ovtool.comparison.quality import compare_quality, compare_sizes
from ovtool.core import files, statistics
from ovtool.core.errors import InputError, NothingMeasuredError
from ovtool.results.environments import compare_facts
from ovtool.results.sweep_data import SweepData, read_sweep

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ovtool.core.measurement import Measurement

WITHIN_PCT = 10.0


def compare(
    a: str | Path,
    b: str | Path,
    *,
    reruns: Sequence[str | Path] = (),
    noise_pct: float = ALLOWANCE_PCT,
    within_pct: float = WITHIN_PCT,
    out: str | Path | None = None,
) -> Comparison:
    """Compare sweep B with sweep A: releases, drivers, machines or commits.

    :meth:`.comparison.Comparison.check` fails on regressions, and on request on unknown figures.

    Args:
        a: Folder of the baseline sweep.
        b: Folder of the sweep to compare with the baseline.
        reruns: Folders of repetitions of A.  The figures of A become the mean of all runs, and the
            variation between runs is measured instead of assumed.
        noise_pct: Assumed standard deviation between runs of a throughput, in percent.
        within_pct: Smaller changes count as no change.
        out: Markdown file to write.

    Raises:
        InputError: A folder is not a sweep or given twice, the sweeps have no trial in common, a
            percentage is out of range, or ``out`` cannot be written.
        NothingMeasuredError: No trial was measured in both sweeps.
    """
    noise = Noise(noise_pct)
    sweeps = [read_sweep(path) for path in (a, b, *reruns)]
    paths = [sweep.path.resolve() for sweep in sweeps]
    for path in paths:
        if paths.count(path) > 1:
            raise InputError(f"sweep given twice: {path}", "repeat the sweep into another folder")
    sweep_a, sweep_b, *rerun_sweeps = sweeps
    comparison = compare_sweeps(
        sweep_a, sweep_b, reruns=rerun_sweeps, noise=noise, within_pct=within_pct
    )
    if out is not None:
        files.write_text(Path(out), to_markdown(comparison))
    return comparison


def compare_sweeps(
    a: SweepData,
    b: SweepData,
    *,
    reruns: Sequence[SweepData] = (),
    noise: Noise | None = None,
    within_pct: float = WITHIN_PCT,
) -> Comparison:
    """Compare loaded sweeps; see :func:`compare`."""
    if not (math.isfinite(within_pct) and 0 < within_pct < 100):
        raise InputError(
            f"margin for no change out of range: {within_pct:g}%",
            "use more than 0 and below 100%",
        )
    matching = match_trials(a, b, reruns)
    pairs = _measured_pairs(a, b, matching)
    noise = noise or Noise()
    if reruns:
        spreads = measure_noise(list(_repeated_figures(pairs)))
        noise = replace(noise, measured=spreads, reruns=len(reruns))
    figures = [
        compare_figure(p, column, noise) for p in pairs for column in compared_columns(p.a.trial)
    ]
    adjusted = statistics.holm([figure.p for figure in figures])
    changes = [
        replace(figure.change, p=p, outcome=_outcome(figure, p, within_pct))
        for figure, p in zip(figures, adjusted, strict=True)
    ]
    return Comparison(
        a=_side(a, b),
        b=_side(b, a),
        differences=compare_facts(
            _facts(a, {p.label_of_variant: p.a for p in pairs}),
            _facts(b, {p.label_of_variant: p.b for p in pairs}),
        ),
        noise=noise,
        within_pct=within_pct,
        detectable_pct=_detectable_loss_pct(figures),
        changes=_sort_changes(changes),
        quality=compare_quality(a, b, matching.pairs),
        sizes=compare_sizes(a, b, matching.pairs),
        only_a=tuple(m.label for m in matching.only_a),
        only_b=tuple(m.label for m in matching.only_b),
        failures=tuple(
            Failure(p.label, p.a.reason, p.b.reason) for p in matching.pairs if not p.measured
        ),
        notes=matching.notes,
    )


def _measured_pairs(a: SweepData, b: SweepData, matching: Matching) -> list[MatchedTrial]:
    """Return the trials that were measured in both sweeps."""
    if not matching.pairs:
        raise InputError(
            f"no trial in common: {a.path} ({_summary(a)}), {b.path} ({_summary(b)})",
            "compare sweeps of the same variants, devices, batches and loads",
        )
    measured = [pair for pair in matching.pairs if pair.measured]
    if not measured:
        first = matching.pairs[0]
        raise NothingMeasuredError(
            f"none of {len(matching.pairs)} common trials was measured in both sweeps",
            f"{first.label}: {first.a.reason or first.b.reason}",
        )
    return measured


def _summary(sweep: SweepData) -> str:
    if not sweep.measurements:
        return "nothing measured"
    names = ", ".join(dict.fromkeys(m.trial.variant_name for m in sweep.measurements))
    return f"{names} on {', '.join(dict.fromkeys(m.device for m in sweep.measurements))}"


def _side(sweep: SweepData, other: SweepData) -> Side:
    """Return a side; sweeps with the same name are named by their folders."""
    folder = str(sweep.path)
    name = folder if sweep.name == other.name else sweep.name
    return Side(name, folder, sweep.environment.machine)


def _facts(sweep: SweepData, compared: Mapping[str, Measurement]) -> dict[str, Any]:
    """Return what the figures of a sweep depend on, besides its models."""
    planned = {name: sweep.plan.variants.get(m.trial.variant) for name, m in compared.items()}
    return {
        **sweep.environment.facts,
        "sweep settings": sweep.plan.settings,
        "samples": sweep.plan.evaluated_on or "random inputs",
        "preprocessing": {
            name: "not recorded"
            if variant is None or variant.preprocessing is None
            else variant.preprocessing.text
            for name, variant in planned.items()
        },
    }


def _repeated_figures(pairs: Sequence[MatchedTrial]) -> Iterator[RepeatedFigure]:
    for pair in pairs:
        for column in compared_columns(pair.a.trial):
            runs = [run for run in (pair.a, *pair.measured_reruns) if not is_disturbed(run)]
            values = [interval_of(run, column).value for run in runs]
            logs = tuple(math.log(value) for value in values if value > 0)
            yield RepeatedFigure(pair.a.device, column, pair.a.trial.group, logs)


def _outcome(figure: FigureComparison, p: float, within_pct: float) -> Outcome:
    change = figure.change
    if math.isnan(p):
        return "unknown"
    if p < LEVEL:
        return "worse" if change.loss_pct > 0 else "better"
    margin = 1 + within_pct / 100
    within = 1 / margin < change.ratio.low and change.ratio.high < margin
    return "same" if within and not figure.one_sided else "unknown"


def _detectable_loss_pct(figures: Sequence[FigureComparison]) -> float:
    """Return the median of the smallest detectable losses, in percent."""
    known = [figure for figure in figures if not math.isnan(figure.error)]
    if not known:
        return math.nan
    level = LEVEL / len(known)
    losses = sorted(1 - math.exp(-statistics.critical(level, f.degrees) * f.error) for f in known)
    return 100 * losses[len(losses) // 2]


def _sort_changes(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Return trials by their worst figure, the figures of a trial together."""
    worst: dict[str, tuple[int, float]] = {}
    for change in changes:
        loss = 0.0 if math.isnan(change.loss_pct) else change.loss_pct
        key = (OUTCOMES.index(change.outcome), -abs(loss))
        worst[change.label] = min(worst.get(change.label, key), key)
    return tuple(sorted(changes, key=lambda change: (worst[change.label], change.label)))
