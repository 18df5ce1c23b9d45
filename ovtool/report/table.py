"""The table: one row a measurement, of one or many sweeps, with what is derived from several."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.columns import BY_NAME, COLUMNS
from ovtool.errors import InputError
from ovtool.report.behind import Behind
from ovtool.report.rows import Config
from ovtool.report.speedup import Method, speedup
from ovtool.results import Measurement, Note
from ovtool.shapes import shapes_text
from ovtool.store import Environment, Plan, SweepFolder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from ovtool.metrics import QualityMetric

NAMES = tuple(name for column in COLUMNS for name in column.names)
_QUALITY = tuple(
    name
    for column in (
        "accuracy_top1",
        "accuracy_top5",
        "accuracy_characters",
        "agreement_top1",
        "output_cosine",
        "output_max_abs_difference",
        "quality_samples",
    )
    for name in BY_NAME[column].names
)
_SPEEDUPS = {"f32": "speedup_f32_x", "default": "speedup_default_x"}
_ATTRIBUTE = "background"


@dataclass(frozen=True, slots=True)
class NotThere:
    """A device that a sweep asked for and its machine did not have."""

    sweep: str
    device: str
    reason: str


@dataclass(frozen=True)
class Background:
    """What belongs to a table and is no column of it.

    Args:
        environments: Machines and software of the rows, each once, in the order of the sweeps.
        not_there: Devices that were asked for and left out.
        notes: Remarks of the measurements, and on how figures were derived.
        quality_metric: The column that stands for quality; None when it was not evaluated.
        behind: What is behind each row, by (environment, trial).
    """

    environments: tuple[Environment, ...] = ()
    not_there: tuple[NotThere, ...] = ()
    notes: tuple[Note, ...] = ()
    quality_metric: QualityMetric | None = None
    behind: Mapping[tuple[str, str], Behind] = field(default_factory=dict)

    def of(self, row: Mapping[str, Any]) -> Behind:
        """Return what is behind a row."""
        return self.behind.get((row["environment"], row["trial"]), Behind())

    def __deepcopy__(self, memo: dict[int, Any]) -> Background:
        """Return itself: pandas copies ``attrs`` deeply at every step, and this never changes."""
        return self


@dataclass(frozen=True, slots=True)
class _Sweep:
    name: str
    plan: Plan
    environment: Environment
    measurements: tuple[Measurement, ...]
    outdated: int
    """Trials of earlier plans of the folder: of a variant that was made again, or other batches."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A measurement and the sweep that it is of."""

    sweep: _Sweep
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class _Key:
    environment: str
    trial: str

    @classmethod
    def of(cls, measurement: Measurement) -> _Key:
        return cls(measurement.environment, measurement.trial.id)


def load(folders: Sequence[str | Path]) -> pd.DataFrame:
    """Read sweeps into one table with the columns of ``columns.COLUMNS``, in their order.

    A trial measured twice in the same environment is one row: the last of a journal, the latest
    of several sweeps.  Rows of different environments stand side by side and are never averaged.
    Failed trials are rows too.  What is no column is found with :func:`background`.

    Args:
        folders: Sweep folders.

    Raises:
        InputError: A folder is no sweep, or a file of it is damaged.
    """
    import pandas as pd

    sweeps = [_read(Path(folder)) for folder in folders]
    notes: list[Note] = []
    found = _latest(sweeps, notes)
    rows = [_row(one) for one in found]
    _share_quality(rows)
    _add_speedups(rows, found, notes)
    notes += _unfinished(sweeps)
    notes += _grouped(found)
    metric = _quality_metric(sweeps, notes)
    environments = {sweep.environment.id: sweep.environment for sweep in sweeps}
    for row in rows:
        known = environments.get(row["environment"])
        row["machine"] = None if known is None else known.machine
    order = _order(sweeps)
    rows.sort(key=order)
    table = pd.DataFrame(rows, columns=list(NAMES)).astype(_types())
    table.attrs[_ATTRIBUTE] = Background(
        environments=tuple(environments.values()),
        not_there=tuple(dict.fromkeys(_not_there(sweeps))),
        notes=tuple(notes),
        quality_metric=metric,
        behind={
            (one.measurement.environment, one.measurement.trial.id): _behind(one) for one in found
        },
    )
    return table


def background(table: pd.DataFrame) -> Background:
    """Return what belongs to a table besides its columns.

    Raises:
        InputError: The table was not made by :func:`load`, or lost it on the way.
    """
    found = table.attrs.get(_ATTRIBUTE)
    if not isinstance(found, Background):
        raise InputError(
            "the table has lost its environments and notes", "load it from its sweep folders"
        )
    return found


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table alone, as it is written to files."""
    copy = table.copy()
    copy.attrs = {}
    return copy


def _read(path: Path) -> _Sweep:
    folder = SweepFolder.open(path)
    plan = folder.plan
    planned = {trial.id for trial in plan.trials}
    everything = tuple(folder.measurements())
    return _Sweep(
        name=plan.name,
        plan=plan,
        environment=folder.environment,
        measurements=tuple(m for m in everything if m.trial.id in planned),
        outdated=len({m.trial.id for m in everything} - planned),
    )


def _latest(sweeps: Sequence[_Sweep], notes: list[Note]) -> list[_Found]:
    """Return each (environment, trial) once."""
    kept: dict[_Key, _Found] = {}
    repeated: list[str] = []
    for sweep in sweeps:
        for key, measurement in {_Key.of(m): m for m in sweep.measurements}.items():
            other = kept.setdefault(key, _Found(sweep, measurement))
            if other.measurement != measurement:
                repeated.append(measurement.label)
                if measurement.finished > other.measurement.finished:
                    kept[key] = _Found(sweep, measurement)
    if repeated:
        notes.append(
            Note(
                "measured-twice",
                f"{_rows(repeated)} measured in several sweeps: the latest is shown",
                _examples(repeated),
            )
        )
    return list(kept.values())


def _row(found: _Found) -> dict[str, Any]:
    one, trial = found.measurement, found.measurement.trial
    planned = found.sweep.plan.variants.get(trial.variant)
    row: dict[str, Any] = dict.fromkeys(NAMES)
    if planned is not None:
        row["model_mib"] = planned.model_mib
        row.update(planned.weights)
    row.update({name: value for name, value in one.figures.items() if math.isfinite(value)})
    row.update(
        variant=trial.variant_name,
        device=one.device,
        emulated="yes" if one.emulated else None,
        batch=trial.batch,
        shape=shapes_text(trial.shapes) or None,
        data_shape=shapes_text(trial.data_shapes) or None,
        load=trial.load,
        precision=trial.precision,
        executed_precision=one.executed_precision,
        ran_on=one.ran_on,
        hint=trial.hint,
        status=one.status,
        verdict=one.verdict,
        reason=one.reason or None,
        environment=one.environment,
        sweep=found.sweep.name,
        trial=trial.id,
        variant_id=trial.variant,
    )
    return row


def _behind(found: _Found) -> Behind:
    one, trial = found.measurement, found.measurement.trial
    planned = found.sweep.plan.variants.get(trial.variant)
    return Behind(
        properties=one.properties,
        notes=one.notes,
        folder=planned.folder if planned else None,
        shapes=trial.shapes,
        open_shapes=bool(trial.data_shapes),
        baseline=planned.baseline if planned else None,
    )


def _share_quality(rows: Sequence[dict[str, Any]]) -> None:
    """Fill the quality of a configuration into all rows that share it."""

    def evaluated(row: dict[str, Any]) -> bool:
        return any(row[name] is not None for name in _QUALITY)

    known = {Config.of(row): row for row in rows if evaluated(row)}
    for row in rows:
        source = known.get(Config.of(row), row)
        if not evaluated(row):
            row.update({name: source[name] for name in _QUALITY})


def _add_speedups(
    rows: Sequence[dict[str, Any]], found: Sequence[_Found], notes: list[Note]
) -> None:
    """Fill the speed-ups over the variant's baseline in the same group and environment."""

    def key(one: Measurement, variant: str, precision: str) -> tuple[str, ...]:
        return one.environment, one.trial.group, variant, precision

    fine = [f for f in found if f.measurement.status == "ok"]
    baselines = {
        key(f.measurement, f.measurement.trial.variant, f.measurement.trial.precision): f
        for f in fine
    }
    taken: dict[Method, dict[str, None]] = {"rounds": {}, "cpu_time": {}, "unpaired": {}}
    for row, mine in zip(rows, found, strict=True):
        planned = mine.sweep.plan.variants.get(mine.measurement.trial.variant)
        variant = planned.baseline if planned else None
        if variant is None or mine.measurement.status != "ok" or mine.measurement.trial.open_loop:
            continue  # the throughput of requests that arrive on their own is not the model's
        for precision, name in _SPEEDUPS.items():
            baseline = baselines.get(key(mine.measurement, variant, precision))
            if baseline is None or _elsewhere(mine.measurement, baseline.measurement):
                continue
            result = speedup(mine.measurement, baseline.measurement)
            if not math.isfinite(result.ratio.value):
                continue
            row[name] = result.ratio.value
            row[f"{name}_ci_low"] = result.ratio.low
            row[f"{name}_ci_high"] = result.ratio.high
            taken[result.method][mine.measurement.label] = None
    notes += _speedup_notes(list(taken["cpu_time"]), list(taken["unpaired"]))
    notes += _without_speedup(rows)


def _elsewhere(row: Measurement, baseline: Measurement) -> bool:
    """Whether two rows of one virtual device ran on different ones, and are no comparison."""
    return None not in (row.ran_on, baseline.ran_on) and row.ran_on != baseline.ran_on


def _speedup_notes(by_cpu_time: list[str], unpaired: list[str]) -> Iterator[Note]:
    if by_cpu_time:
        yield Note(
            "speedup-by-cpu-time",
            f"speed-ups of {_rows(by_cpu_time)} were taken from CPU time instead of wall time, "
            "since others or a quota took the CPU: threads that wait for one another may move them"
            " by some per cent",
            _examples(by_cpu_time),
        )
    if unpaired:
        yield Note(
            "speedup-unpaired",
            f"speed-ups of {_rows(unpaired)} come from figures measured apart: drift between the "
            "two is not in their intervals",
            _examples(unpaired),
            "measure both in one sweep, in at least three rounds",
        )


def _without_speedup(rows: Sequence[dict[str, Any]]) -> Iterator[Note]:
    """Say for which variants there is nothing to be faster than, and what would change that."""
    fine = [row for row in rows if row["status"] == "ok" and row["rate_rps"] is None]
    for precision, name in _SPEEDUPS.items():
        missing = dict.fromkeys(row["variant"] for row in fine if row[name] is None)
        if missing:
            what = "its default precision" if precision == "default" else precision
            yield Note(
                f"no-speedup-{precision}",
                f"some speed-ups over the uncompressed model in {what} are not known: it was not"
                " measured at the same load",
                ", ".join(missing),
                f"sweep the uncompressed variant of the same source too, --precision {precision}",
            )


def _unfinished(sweeps: Sequence[_Sweep]) -> Iterator[Note]:
    for sweep in sweeps:
        if sweep.outdated:
            yield Note(
                "earlier-plan",
                f"{sweep.outdated} trials of earlier plans of {sweep.name} are not shown",
                remedy="sweep with the same axes and variants to see them",
            )
        done = {m.trial.id for m in sweep.measurements}
        left = sum(trial.id not in done for trial in sweep.plan.trials)
        if left:
            yield Note(
                "sweep-unfinished",
                f"{left} of {len(sweep.plan.trials)} trials of {sweep.name} are not measured yet",
                remedy="the same sweep command goes on where it stopped",
            )


def _grouped(found: Sequence[_Found]) -> Iterator[Note]:
    """Yield the measurements' own notes, each once, with the trials that it is about."""
    about: dict[Note, list[str]] = {}
    for one in found:
        for note in one.measurement.notes:
            about.setdefault(note, []).append(one.measurement.label)
    for note, labels in about.items():
        where = _examples(labels)
        evidence = f"{note.evidence}; {where}" if note.evidence else where
        yield Note(note.id, note.message, evidence, note.remedy)


def _quality_metric(sweeps: Sequence[_Sweep], notes: list[Note]) -> QualityMetric | None:
    """Return the metric of all sweeps; agreement, which all can have, when they differ."""
    metrics = {s.plan.quality_metric for s in sweeps if s.plan.quality_metric is not None}
    if len(metrics) > 1:
        notes.append(
            Note(
                "quality-metrics-differ",
                "the sweeps measured quality in different ways: only agreement with the "
                "uncompressed variant is compared",
            )
        )
        return "agreement_top1"
    return next(iter(metrics), None)


def _not_there(sweeps: Sequence[_Sweep]) -> Iterator[NotThere]:
    for sweep in sweeps:
        for device in sweep.plan.unavailable:
            yield NotThere(sweep.name, device.device, device.reason)


def _order(sweeps: Sequence[_Sweep]) -> Any:
    """Return the sort key: environments and variants as planned, the baseline first."""
    environments = list(dict.fromkeys(m.environment for s in sweeps for m in s.measurements))
    planned = [variant for s in sweeps for variant in s.plan.variants]
    baselines = [p.baseline for s in sweeps for p in s.plan.variants.values() if p.baseline]
    variants = list(dict.fromkeys(baselines + planned))
    precisions = ["f32", "default"]
    trials = [trial for s in sweeps for trial in s.plan.trials]
    shapes = list(dict.fromkeys(shapes_text(trial.shapes) for trial in trials))
    data_shapes = list(dict.fromkeys(shapes_text(trial.data_shapes) for trial in trials))

    def place(value: str, known: list[str]) -> int:
        return known.index(value) if value in known else len(known)

    def key(row: dict[str, Any]) -> tuple[object, ...]:
        return (
            place(row["environment"], environments),
            place(row["variant_id"], variants),
            place(row["precision"], precisions),
            row["precision"],
            row["device"],
            place(row["shape"] or "", shapes),
            place(row["data_shape"] or "", data_shapes),
            row["load"],
            row["batch"],
            row["trial"],
        )

    return key


def _types() -> dict[str, str]:
    types = {n: "str" if column.text else "float64" for column in COLUMNS for n in column.names}
    return types | {"batch": "int64"}


def _rows(labels: Sequence[str]) -> str:
    return f"{len(labels)} {'row' if len(labels) == 1 else 'rows'}"


def _examples(labels: Sequence[str], shown: int = 3) -> str:
    more = f" and {len(labels) - shown} more" if len(labels) > shown else ""
    return "; ".join(labels[:shown]) + more
