"""Two sweeps side by side: what became better or worse, and how sure that is.

Each matched trial has the ratio B / A of its figures.  Its variance is, for either side, that of
the figure within its run (the interval of the sweep) and that between runs (:mod:`.noise`), and
where the speed was still moving when measuring ended, that movement too.  A difference is called
one when its p-value, adjusted by Holm's method for all that are compared, is below :data:`LEVEL`;
no difference is called that only when the whole 95 % interval lies within a margin (two one-sided
tests, Schuirmann 1987); everything else is unknown.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ovtool.comparison.figures import Change, Compared, Outcome, columns, compared, figures_of
from ovtool.comparison.matching import Matched, Matching, match
from ovtool.comparison.noise import Noise, Repeated, measured_noise
from ovtool.comparison.quality import QualityChange, SizeChange, quality, sizes
from ovtool.core import statistics
from ovtool.core.errors import InputError, LimitNotMetError, NothingMeasuredError
from ovtool.results.facts import Difference, differences
from ovtool.results.reading import Sweep, read
from ovtool.results.wording import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ovtool.core.notes import Note

OUTCOMES: tuple[Outcome, ...] = ("worse", "better", "unknown", "same")
LEVEL = 0.01
"""Chance that any of the differences is called one without being one, and so half of that for a
false regression: twenty comparisons of nothing shall pass."""
WITHIN_PCT = 10.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A trial that failed on one side or both; an empty reason is that it did not."""

    label: str
    reason_a: str
    reason_b: str

    @property
    def new(self) -> bool:
        """Whether it ran in A and not in B."""
        return bool(self.reason_b) and not self.reason_a


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two sweeps."""

    name: str
    folder: str
    machine: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sweeps side by side.

    Args:
        a: The sweep that is compared with.
        b: The sweep that is judged.
        differences: Of their environments and settings, those of the machine first.
        noise: The variation between runs that was reckoned with.
        within_pct: Changes less than this count as none.
        detectable_pct: The median of the least changes that could have been told.
        changes: Speed, trial by trial, the worst first.
        quality: By variant, device and precision.
        sizes: Of the models.
        only_a: Trials that only A has.
        only_b: Trials that only B has.
        failures: Trials that failed.
        notes: What else is to be known.
    """

    a: Side
    b: Side
    differences: tuple[Difference, ...]
    noise: Noise
    within_pct: float
    detectable_pct: float
    changes: tuple[Change, ...]
    quality: tuple[QualityChange, ...]
    sizes: tuple[SizeChange, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    failures: tuple[Failure, ...]
    notes: tuple[Note, ...]

    @property
    def same_machine(self) -> bool:
        """Whether no fact of the machine differs."""
        return not any(one.of_machine for one in self.differences)

    def regressions(self, limit_pct: float) -> tuple[str, ...]:
        """Return what became worse by at least a limit, beyond chance, or does not run any more."""
        slower = [
            f"{c.label}: {words(c.column)} {c.loss_pct:.1f} % worse"
            for c in self.changes
            if c.outcome == "worse" and c.loss_pct >= limit_pct
        ]
        poorer = [
            f"{q.label}: {words(q.column)} {q.loss_pct:.1f} % worse"
            for q in self.quality
            if q.outcome == "worse" and q.loss_pct >= limit_pct
        ]
        broken = [f"{f.label}: fails in B: {f.reason_b}" for f in self.failures if f.new]
        return (*slower, *poorer, *broken)

    def check(self, limit_pct: float) -> None:
        """Refuse what became worse by at least a limit.

        Raises:
            LimitNotMetError: Something did.
        """
        found = self.regressions(limit_pct)
        if found:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise LimitNotMetError(
                f"{len(found)} {'regression' if len(found) == 1 else 'regressions'} of at least"
                f" {limit_pct:g} %: {found[0]}{more}"
            )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        document = asdict(replace(self, noise=Noise()))
        document["noise"] = {
            "text": self.noise.text,
            "allowance_pct": self.noise.allowance_pct,
            "reruns": self.noise.reruns,
            "measured": [
                {"device": device, "column": column, "sd_pct": 100 * math.expm1(s.sd)}
                for (device, column), s in (self.noise.measured or {}).items()
            ],
        }
        document["same_machine"] = self.same_machine
        document["level"] = LEVEL
        return document


def compare(
    a: str | Path,
    b: str | Path,
    *,
    reruns: Sequence[str | Path] = (),
    noise_pct: float | None = None,
    within_pct: float = WITHIN_PCT,
) -> Comparison:
    """Compare sweep B with sweep A.

    Args:
        a: Folder of the sweep that is compared with.
        b: Folder of the sweep that is judged.
        reruns: Further sweeps of what A measured: A's figures are then the mean of all, and the
            variation between runs is measured with them instead of being allowed for.
        noise_pct: Standard deviation between runs of a throughput, in per cent; by default
            :data:`ovtool.comparison.noise.ALLOWANCE_PCT`.
        within_pct: Changes less than this count as none.

    Raises:
        InputError: A folder is no sweep, the same one is given twice, the two have no trial in
            common, or a figure given is not possible.
        NothingMeasuredError: No trial was measured in both.
    """
    noise = Noise() if noise_pct is None else Noise(noise_pct)
    one, other, *again = (read(path) for path in (a, b, *reruns))
    _different(one, other, again)
    return compare_sweeps(one, other, reruns=again, noise=noise, within_pct=within_pct)


def compare_sweeps(
    a: Sweep,
    b: Sweep,
    *,
    reruns: Sequence[Sweep] = (),
    noise: Noise | None = None,
    within_pct: float = WITHIN_PCT,
) -> Comparison:
    """Compare sweeps that were read; see :func:`compare`.

    Raises:
        InputError: The two have no trial in common, or ``within_pct`` is not possible.
        NothingMeasuredError: No trial was measured in both.
    """
    if not (math.isfinite(within_pct) and 0 < within_pct < 100):
        raise InputError(f"changes of less than {within_pct:g} % cannot count as none")
    found = match(a, b, reruns)
    fine = _measured(a, b, found)
    reckoned = noise or Noise()
    if reruns:
        spreads = measured_noise(list(_repeated(fine)))
        reckoned = replace(reckoned, measured=spreads, reruns=len(reruns))
    both = [compared(p, column, reckoned) for p in fine for column in columns(p.a.trial)]
    return _comparison(a, b, found, reckoned, within_pct, both)


def _measured(a: Sweep, b: Sweep, found: Matching) -> list[Matched]:
    """Return the trials that ran on both sides."""
    if not found.pairs:
        raise InputError(
            f"{a.path} and {b.path} have no trial in common: {_what(a)} against {_what(b)}",
            "compare sweeps of the same variants, devices, batches and loads",
        )
    fine = [p for p in found.pairs if p.a.status == p.b.status == "ok"]
    if not fine:
        first = found.pairs[0]
        raise NothingMeasuredError(
            f"none of {len(found.pairs)} common trials was measured in both sweeps",
            f"{first.label}: {first.a.reason or first.b.reason}",
        )
    return fine


def _comparison(
    a: Sweep,
    b: Sweep,
    found: Matching,
    noise: Noise,
    within_pct: float,
    both: Sequence[Compared],
) -> Comparison:
    adjusted = statistics.holm([_p(one) for one in both])
    changes = [
        replace(one.change, p=p, outcome=_outcome(one.change, p, within_pct))
        for one, p in zip(both, adjusted, strict=True)
    ]
    return Comparison(
        a=_side(a),
        b=_side(b),
        differences=differences(_facts(a), _facts(b)),
        noise=noise,
        within_pct=within_pct,
        detectable_pct=_detectable([c for c in both if not math.isnan(c.error)]),
        changes=_sorted(changes),
        quality=quality(a, b, found.pairs, LEVEL),
        sizes=sizes(a, b, found.pairs),
        only_a=tuple(m.label for m in found.only_a),
        only_b=tuple(m.label for m in found.only_b),
        failures=tuple(
            Failure(p.label, p.a.reason, p.b.reason)
            for p in found.pairs
            if not p.a.status == p.b.status == "ok"
        ),
        notes=found.notes,
    )


def _different(a: Sweep, b: Sweep, reruns: Sequence[Sweep]) -> None:
    paths = [sweep.path.resolve() for sweep in (a, b, *reruns)]
    for path in paths:
        if paths.count(path) > 1:
            raise InputError(
                f"{path} is given twice: a sweep cannot be compared with itself",
                "measure it again into another folder",
            )


def _what(sweep: Sweep) -> str:
    if not sweep.measurements:
        return "nothing measured"
    names = ", ".join(dict.fromkeys(m.trial.variant_name for m in sweep.measurements))
    return f"{names} on {', '.join(dict.fromkeys(m.device for m in sweep.measurements))}"


def _side(sweep: Sweep) -> Side:
    return Side(sweep.name, str(sweep.path), sweep.environment.machine)


def _facts(sweep: Sweep) -> dict[str, Any]:
    return {**sweep.environment.facts, "sweep settings": sweep.plan.settings}


def _repeated(pairs: Sequence[Matched]) -> Iterator[Repeated]:
    for pair in pairs:
        runs = [pair.a, *(m for m in pair.again if m.status == "ok")]
        for column in columns(pair.a.trial):
            taken = figures_of(runs, column)
            logs = tuple(math.log(i.value) for i in taken.figures if i.value > 0)
            if not taken.unknown:
                yield Repeated(pair.a.device, taken.column, pair.a.trial.group, logs)


def _p(one: Compared) -> float:
    if math.isnan(one.error):
        return math.nan
    log = math.log(one.change.ratio.value)
    if one.error == 0:
        return 1.0 if log == 0 else 0.0
    return statistics.two_sided_p(log / one.error, one.degrees)


def _outcome(change: Change, p: float, within_pct: float) -> Outcome:
    if math.isnan(p):
        return "unknown"
    if p < LEVEL:
        return "worse" if change.loss_pct > 0 else "better"
    margin = 1 + within_pct / 100
    return "same" if 1 / margin < change.ratio.low and change.ratio.high < margin else "unknown"


def _detectable(both: Sequence[Compared]) -> float:
    """Return the median of the losses that would have been told, in per cent."""
    if not both:
        return math.nan
    level = LEVEL / len(both)
    least = sorted(1 - math.exp(-statistics.critical(level, c.degrees) * c.error) for c in both)
    return 100 * least[len(least) // 2]


def _sorted(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Return trials by their worst figure, the figures of a trial together."""
    worst: dict[str, tuple[int, float]] = {}
    for one in changes:
        loss = 0.0 if math.isnan(one.loss_pct) else one.loss_pct
        key = (OUTCOMES.index(one.outcome), -abs(loss))
        worst[one.label] = min(worst.get(one.label, key), key)
    return tuple(sorted(changes, key=lambda one: (worst[one.label], one.label)))
