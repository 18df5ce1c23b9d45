"""The results table: one row per measurement of one or many sweeps, and what belongs to it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core.columns import COLUMNS, DETAILS, common_metric
from ovtool.core.notes import Note, make_note
from ovtool.core.variant import RECORD
from ovtool.results.frame import NAMES, QUALITY, column_types, fill_quality, sort_positions
from ovtool.results.notes import (
    MeasurementNotes,
    drift_notes,
    group_notes,
    progress_notes,
    rows_text,
    speedup_notes,
)
from ovtool.results.rows import Rows
from ovtool.results.speedup import add_speedups
from ovtool.results.sweep_rows import DETAIL_COLUMNS, empty_rows, load_sweep_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from ovtool.core.columns import QualityMetric
    from ovtool.core.shapes import Named
    from ovtool.core.sweep_folder import Environment
    from ovtool.results.rows import Row
    from ovtool.results.sweep_data import SweepInfo

_KEY = ["environment", "trial"]


@dataclass(frozen=True, slots=True)
class UnavailableDevice:
    """A device that a sweep requested and that was not available."""

    sweep: str
    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class RowDetails:
    """What belongs to a row and is not a column: how to run the trial again, and its notes."""

    properties: Mapping[str, str] = field(default_factory=dict)
    """OpenVINO properties that the model was compiled with."""
    notes: tuple[Note, ...] = ()
    folder: str | None = None
    """Folder of the variant on the machine of the sweep; None if the variant is not in the plan."""
    shapes: Named = ()
    """(input name, dimensions) that replace the shapes of the model."""
    open_shapes: bool = False
    """Whether the model was compiled with open dimensions."""
    baseline: str | None = None
    """Id of the uncompressed variant."""
    rounds: tuple[float, ...] = ()
    """Throughput of each round in samples/s, in order."""


@dataclass(frozen=True, eq=False)
class ResultsTable:
    """Rows of sweeps and what belongs to them."""

    rows: pd.DataFrame
    """The columns of ``columns.COLUMNS`` in their order."""
    environments: tuple[Environment, ...] = ()
    """Machines and software of the rows, each once, in the order of the sweeps."""
    unavailable: tuple[UnavailableDevice, ...] = ()
    notes: tuple[Note, ...] = ()
    """Of the measurements, and on how figures were computed."""
    quality_metric: QualityMetric | None = None
    """The column of quality; None if quality was not evaluated."""
    quality_reason: str = ""
    """Why this metric decides; empty if quality was not evaluated."""
    details: Mapping[tuple[str, str], RowDetails] = field(default_factory=dict)
    """Details of each row by (environment, trial)."""

    @cached_property
    def records(self) -> Rows:
        """The rows as mappings."""
        return Rows.from_frame(self.rows)

    def details_of(self, row: Row) -> RowDetails:
        """Return the details of a row."""
        return self.details.get((row["environment"], row["trial"]), RowDetails())

    def noted(self, rows: Rows, note_id: str) -> NDArray[np.bool_]:
        """Return a mask of the rows with a note; without decoding details if no row has it."""
        import numpy as np

        if isinstance(self.details, _Details) and not self.details.has_note(note_id):
            return np.zeros(len(rows), bool)
        return np.array(
            [any(n.id == note_id for n in self.details_of(r).notes) for r in rows], bool
        )

    def with_rows(self, rows: pd.DataFrame) -> ResultsTable:
        """Return a table with other rows, such as some of these."""
        return replace(self, rows=rows)


def load_results(folders: Sequence[str | Path]) -> ResultsTable:
    """Read sweeps into one table.

    A trial measured twice in the same environment is one row: the last one of a journal, the latest
    one of several sweeps.  Rows of different environments are never averaged.  Failed trials are
    rows too.

    Raises:
        InputError: A folder is not a sweep, or a file in it is damaged.
    """
    import numpy as np
    import pyarrow as pa

    sweeps = [load_sweep_rows(folder) for folder in folders]
    infos = [sweep.info for sweep in sweeps]
    starts = np.cumsum([0, *(sweep.rows.num_rows for sweep in sweeps)])
    rows = pa.concat_tables([sweep.rows for sweep in sweeps] or [empty_rows()])
    details: pa.StructArray = rows[DETAILS].combine_chunks()
    lines = _journal_lines(details, starts)
    joined = _to_frame(rows, details).iloc[np.argsort(lines)]
    notes: list[Note] = []
    frame = _drop_repeated(joined, notes)
    if len(sweeps) > 1:
        fill_quality(frame)
        add_speedups(frame)
    notes += speedup_notes(frame)
    notes += progress_notes(infos)
    notes += drift_notes(infos)
    notes += group_notes(_measurement_notes(infos, details, starts, lines), frame)
    metric = _quality_metric(infos, notes)
    environments = {sweep.environment.id: sweep.environment for sweep in sweeps}
    for name in ("machine", "host", "labels_text"):
        column = "host_labels" if name == "labels_text" else name
        known = {id_: getattr(e, name) or None for id_, e in environments.items()}
        frame[column] = frame["environment"].map(known)
    ordered = frame[list(NAMES)].iloc[sort_positions(frame, infos)]
    unavailable = (
        UnavailableDevice(info.name, device.device, device.reason)
        for info in infos
        for device in info.unavailable
    )
    return ResultsTable(
        rows=ordered.reset_index(drop=True).astype(column_types()),
        environments=tuple(environments.values()),
        unavailable=tuple(dict.fromkeys(unavailable)),
        notes=tuple(notes),
        quality_metric=metric,
        quality_reason=_quality_reason(infos),
        details=_Details(frame[_KEY], details, starts, [info.notes for info in infos], folders),
    )


class _Details(Mapping[tuple[str, str], RowDetails]):
    """Details of rows by (environment, trial), decoded on access.

    The index of ``keys`` is the position in ``details``; ``starts`` is that of the first row of
    each sweep; ``notes`` are the note texts of each sweep, and ``sweeps`` their folders.
    """

    def __init__(
        self,
        keys: pd.DataFrame,
        details: pa.StructArray,
        starts: NDArray[np.int64],
        notes: Sequence[Sequence[tuple[str, str, str]]],
        sweeps: Sequence[str | Path],
    ) -> None:
        self._keys, self._details, self._starts, self._notes = keys, details, starts, notes
        self._sweeps = sweeps
        self._folders: dict[tuple[str | None, int], str | None] = {}

    def _folder(self, name: str | None, sweep: int) -> str | None:
        """Return the folder of a variant of a sweep."""
        key = name, sweep
        if key not in self._folders:
            self._folders[key] = None if name is None else _locate(name, self._sweeps[sweep])
        return self._folders[key]

    def has_note(self, note_id: str) -> bool:
        """Return whether a sweep has a note with this id."""
        return any(texts[0] == note_id for notes in self._notes for texts in notes)

    @cached_property
    def _index(self) -> pd.MultiIndex:
        import pandas as pd

        return pd.MultiIndex.from_frame(self._keys)

    def __getitem__(self, key: tuple[str, str]) -> RowDetails:
        position = self._keys.index.to_numpy()[self._index.get_loc(key)]
        fields = self._details[position].as_py()
        sweep = int(self._starts.searchsorted(position, side="right")) - 1
        texts = self._notes[sweep]
        notes = []
        for note in fields["notes"]:
            identifier, message, remedy = texts[note["note"]]
            notes.append(Note(identifier, message, note["evidence"], remedy))
        return RowDetails(
            properties=dict(fields["properties"]),
            notes=tuple(notes),
            folder=self._folder(fields["folder"], sweep),
            shapes=tuple((shape["input"], tuple(shape["sizes"])) for shape in fields["shapes"]),
            open_shapes=fields["open_shapes"],
            baseline=fields["baseline"],
            rounds=tuple(fields["rounds"] or ()),
        )

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return zip(*(self._keys[name] for name in _KEY), strict=True)

    def __len__(self) -> int:
        return len(self._keys)


def _locate(name: str, sweep: str | Path) -> str:
    """Return the folder of a variant, which may be relative to where the sweep was started.

    A report may be written elsewhere, so all folders above the sweep are tried too.
    """
    with contextlib.suppress(OSError, ValueError):  # a name that is not a path on this machine
        if not Path(name).exists():
            folders = (above / name for above in Path(sweep).resolve().parents)
            return next((str(f) for f in folders if (f / RECORD).is_file()), name)
    return name


def _journal_lines(details: pa.StructArray, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the position of each row in the journals, which are numbered through."""
    import numpy as np
    import pyarrow.compute as pc

    lines = pc.struct_field(details, "line").to_numpy(zero_copy_only=False)
    return np.asarray(lines + np.repeat(starts[:-1], np.diff(starts)), dtype=np.int64)


def _to_frame(rows: pa.Table, details: pa.StructArray) -> pd.DataFrame:
    """Return the public columns, and the detail columns with ``_`` in front of their names."""
    import pyarrow.compute as pc

    rows = rows.drop_columns([DETAILS])
    for name in DETAIL_COLUMNS:
        rows = rows.append_column(f"_{name}", pc.struct_field(details, name))
    frame: pd.DataFrame = rows.to_pandas(ignore_metadata=True)
    return frame


def _measurement_notes(
    sweeps: Sequence[SweepInfo],
    details: pa.StructArray,
    starts: NDArray[np.int64],
    lines: NDArray[np.int64],
) -> MeasurementNotes:
    """Return the notes of all measurements in the order of the journals."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    lists = pc.struct_field(details, "notes")
    rows = pc.list_parent_indices(lists).to_numpy()
    order = np.argsort(lines[rows], kind="stable")
    rows, flat = rows[order], pc.list_flatten(lists).take(pa.array(order))
    texts: dict[tuple[str, str, str], int] = {}
    numbers = [texts.setdefault(t, len(texts)) for sweep in sweeps for t in sweep.notes]
    first = np.cumsum([0, *(len(sweep.notes) for sweep in sweeps)])
    sweep_of = np.searchsorted(starts, rows, side="right") - 1
    own = pc.struct_field(flat, "note").to_numpy(zero_copy_only=False).astype(np.int64)
    return MeasurementNotes(
        texts=tuple(texts),
        numbers=np.array(numbers, dtype=np.int64)[first[sweep_of] + own],
        rows=rows,
        evidence=pc.struct_field(flat, "evidence"),
    )


def _drop_repeated(frame: pd.DataFrame, notes: list[Note]) -> pd.DataFrame:
    """Return the latest row of each (environment, trial)."""
    repeated = frame.duplicated(_KEY, keep=False)
    if not repeated.any():
        return frame
    figures = [n for c in COLUMNS if c.kind == "figure" for n in c.names if n not in QUALITY]
    content = [*_KEY, "_finished", "status", "verdict", "reason", *figures]
    different = frame[repeated].drop_duplicates(content)
    labels = list(different.loc[different.duplicated(_KEY), "_label"])
    if labels:
        notes.append(make_note("measured-twice", rows_text(labels)))
    latest = frame[repeated].sort_values("_finished", ascending=False, kind="stable")
    kept = latest.drop_duplicates(_KEY).index
    return frame[~repeated | frame.index.isin(kept)]


def _quality_metric(sweeps: Sequence[SweepInfo], notes: list[Note]) -> QualityMetric | None:
    """Return the metric of all sweeps; where they differ, what each with a baseline has."""
    metrics = {sweep.quality_metric for sweep in sweeps if sweep.quality_metric is not None}
    if len(metrics) < 2:
        return next(iter(metrics), None)
    column = common_metric(metrics)
    evidence = ", ".join(sorted(metrics))
    notes.append(make_note("quality-metrics-differ", evidence, column=column))
    return column


def _quality_reason(sweeps: Sequence[SweepInfo]) -> str:
    """Return why the metrics decide, each with its sweep where they differ."""
    reasons = [(sweep.name, sweep.quality_reason) for sweep in sweeps if sweep.quality_reason]
    if len({reason for _, reason in reasons}) < 2:
        return next((reason for _, reason in reasons), "")
    return "; ".join(dict.fromkeys(f"{name}: {reason}" for name, reason in reasons))
