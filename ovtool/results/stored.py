"""The rows of one sweep, ready for the table: read from its journal, and kept beside it.

A journal has every raw window, some 10 KB a trial, and reading 100,000 trials of it takes minutes.
So a sweep that ends keeps its rows in ``rows.arrow`` (Arrow's IPC format), with what the table
derives from single measurements: speed-ups by round, notes, properties.  The file stands for the
journal only while journal, plan and columns are those it was made from; else the journal is read.
``results.parquet`` is for people and holds the columns alone.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ovtool.core import files
from ovtool.core.columns import BY_NAME, COLUMNS
from ovtool.core.metrics import QualityMetric
from ovtool.core.shapes import shapes_text
from ovtool.core.sweep_folder import JOURNAL, PLAN, ROWS, Environment, SweepFolder, Unavailable
from ovtool.core.variant import Record
from ovtool.results.reading import Sweep, read
from ovtool.results.rows import Config
from ovtool.results.speedup import speedup

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import pyarrow as pa

    from ovtool.core.measurement import Measurement
    from ovtool.core.sweep_folder import PlannedVariant

NAMES = tuple(name for column in COLUMNS for name in column.names)
QUALITY = tuple(
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
SPEEDUPS = {"f32": "speedup_f32_x", "default": "speedup_default_x"}
_EXTRA = (
    "_label",
    "_group",
    "_baseline",
    "_finished",
    "_method_f32",
    "_method_default",
    "_behind",
)
_FORMAT = 2
"""Raised whenever a row is derived from the same measurement in another way."""
_KEY = b"ovtool"
_ENDS = 65536
"""Bytes at either end of a journal that are looked at, beside its length: it only ever grows."""


class About(Record):
    """What a table needs of a sweep beside its rows."""

    name: str
    quality_metric: QualityMetric | None
    unavailable: tuple[Unavailable, ...]
    baselines: tuple[str, ...]
    """Ids of the variants that others are compared with."""
    variants: tuple[str, ...]
    """Ids, as planned."""
    shapes: tuple[str, ...]
    data_shapes: tuple[str, ...]
    planned: int
    left: int
    """Trials that are not measured yet."""
    outdated: int
    notes: tuple[tuple[str, str, str], ...]
    """Id, message and remedy of each note; the rows have the evidence."""


@dataclass(frozen=True, slots=True)
class SweepRows:
    """The rows of a sweep: the table's columns, and further ones that begin with ``_``."""

    about: About
    environment: Environment
    rows: pa.Table


def rows_of(path: str | Path) -> SweepRows:
    """Return the rows of a sweep folder.

    Raises:
        InputError: It is no sweep, or a file of it is damaged.
    """
    folder = SweepFolder.open(path)
    kept = _kept(folder)
    if kept is not None:
        return kept
    sweep = read(path)
    about, rows = _made(sweep)
    return SweepRows(about, sweep.environment, rows)


def keep(path: Path) -> None:
    """Write the rows of a sweep beside its journal.

    Raises:
        InputError: It is no sweep, or the disk is full or read-only.
    """
    import pyarrow as pa
    from pyarrow import ipc

    mark = _mark(path)  # before the journal is read: what comes later makes it outdated
    about, rows = _made(read(path))
    told = json.dumps({"mark": mark, "about": about.model_dump(mode="json")})
    rows = rows.replace_schema_metadata({_KEY: told.encode()})

    def write(target: Path) -> None:
        options = ipc.IpcWriteOptions(compression="lz4")
        with (
            pa.OSFile(str(target), "wb") as sink,
            ipc.new_file(sink, rows.schema, options=options) as writer,
        ):
            writer.write_table(rows)

    files.write_file(path / ROWS, write)


def _kept(folder: SweepFolder) -> SweepRows | None:
    """Return the rows kept beside a journal; None where they are not those of the journal."""
    import pyarrow as pa
    from pyarrow import ipc

    path = folder.path / ROWS
    if not path.is_file():
        return None
    try:
        with pa.OSFile(str(path), "rb") as source, ipc.open_file(source) as reader:
            told = json.loads(reader.schema.metadata[_KEY])
            if told["mark"] != _mark(folder.path):
                return None
            about = About.model_validate_json(json.dumps(told["about"]))
            rows = reader.read_all()
    except (OSError, KeyError, TypeError, ValueError, ValidationError, pa.ArrowException):
        return None  # damaged, or of another version: the journal has it all
    return SweepRows(about, folder.environment, rows)


def _mark(path: Path) -> list[object]:
    """Return what tells whether the rows are still those of a journal."""
    columns = hashlib.sha256("\n".join(NAMES).encode()).hexdigest()
    plan = hashlib.sha256((path / PLAN).read_bytes()).hexdigest()
    journal = path / JOURNAL
    if not journal.exists():
        return [_FORMAT, columns, plan, 0, ""]
    with journal.open("rb") as stream:
        ends = stream.read(_ENDS)
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - _ENDS))
        ends += stream.read(_ENDS)
    return [_FORMAT, columns, plan, size, hashlib.sha256(ends).hexdigest()]


def schema() -> pa.Schema:
    """Return the types of the rows."""
    import pyarrow as pa

    types = {n: pa.string() if c.text else pa.float64() for c in COLUMNS for n in c.names}
    types |= {"batch": pa.int64()} | dict.fromkeys(_EXTRA, pa.string())
    note = pa.struct([("note", pa.int32()), ("evidence", pa.string())])
    return pa.schema([*types.items(), ("_notes", pa.list_(note))])


def _made(sweep: Sweep) -> tuple[About, pa.Table]:
    import pyarrow as pa

    rows = [_row(sweep, one) for one in sweep.measurements]
    _share_quality(rows)
    _add_speedups(rows, sweep)
    notes: dict[tuple[str, str, str], int] = {}
    for row, one in zip(rows, sweep.measurements, strict=True):
        row["_notes"] = [
            {
                "note": notes.setdefault((n.id, n.message, n.remedy), len(notes)),
                "evidence": n.evidence,
            }
            for n in one.notes
        ]
    wanted = schema()
    table = pa.table({name: [row[name] for row in rows] for name in wanted.names}, schema=wanted)
    return _about(sweep, notes), table


def _about(sweep: Sweep, notes: Iterable[tuple[str, str, str]]) -> About:
    plan = sweep.plan
    baselines = [p.baseline for p in plan.variants.values() if p.baseline]
    return About(
        name=plan.name,
        quality_metric=plan.quality_metric,
        unavailable=plan.unavailable,
        baselines=tuple(dict.fromkeys(baselines)),
        variants=tuple(plan.variants),
        shapes=tuple(dict.fromkeys(shapes_text(t.shapes) for t in plan.trials)),
        data_shapes=tuple(dict.fromkeys(shapes_text(t.data_shapes) for t in plan.trials)),
        planned=len(plan.trials),
        left=len({t.id for t in plan.trials} - {m.trial.id for m in sweep.measurements}),
        outdated=sweep.outdated,
        notes=tuple(notes),
    )


def _row(sweep: Sweep, one: Measurement) -> dict[str, Any]:
    trial = one.trial
    planned = sweep.plan.variants.get(trial.variant)
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
        sweep=sweep.name,
        trial=trial.id,
        variant_id=trial.variant,
        _label=one.label,
        _group=trial.group,
        # The throughput of requests that arrive on their own is not the model's.
        _baseline=None if planned is None or trial.open_loop else planned.baseline,
        _finished=one.finished,
        _method_f32=None,
        _method_default=None,
        _behind=_behind(one, planned),
    )
    return row


def _behind(one: Measurement, planned: PlannedVariant | None) -> str:
    """Return what is behind a row as JSON: the fields of :class:`ovtool.results.table.Behind`."""
    told: dict[str, Any] = {
        "properties": dict(one.properties),
        "notes": [asdict(note) for note in one.notes],
        "shapes": one.trial.shapes,
        "open_shapes": bool(one.trial.data_shapes),
    }
    if planned is not None:
        told |= {"folder": planned.folder, "baseline": planned.baseline}
    return json.dumps(told)


def _share_quality(rows: Sequence[dict[str, Any]]) -> None:
    """Fill the quality of a configuration into all rows that share it."""

    def evaluated(row: dict[str, Any]) -> bool:
        return any(row[name] is not None for name in QUALITY)

    known = {Config.of(row): row for row in rows if evaluated(row)}
    for row in rows:
        source = known.get(Config.of(row), row)
        if not evaluated(row):
            row.update({name: source[name] for name in QUALITY})


def _add_speedups(rows: Sequence[dict[str, Any]], sweep: Sweep) -> None:
    """Fill the speed-ups over the variant's baseline in the same group and environment."""

    def key(one: Measurement, variant: str, precision: str) -> tuple[str, ...]:
        return one.environment, one.trial.group, variant, precision

    baselines = {
        key(m, m.trial.variant, m.trial.precision): m
        for m in sweep.measurements
        if m.status == "ok"
    }
    for row, mine in zip(rows, sweep.measurements, strict=True):
        if row["_baseline"] is None or mine.status != "ok":
            continue
        for precision, name in SPEEDUPS.items():
            baseline = baselines.get(key(mine, row["_baseline"], precision))
            if baseline is None or elsewhere(mine.ran_on, baseline.ran_on):
                continue
            result = speedup(mine, baseline)
            if not math.isfinite(result.ratio.value):
                continue
            row[name] = result.ratio.value
            row[f"{name}_ci_low"] = _known(result.ratio.low)
            row[f"{name}_ci_high"] = _known(result.ratio.high)
            row[f"_method_{precision}"] = result.method


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def elsewhere(ran_on: str | None, baseline: str | None) -> bool:
    """Whether two rows of one virtual device ran on different ones, and are no comparison."""
    return None not in (ran_on, baseline) and ran_on != baseline
