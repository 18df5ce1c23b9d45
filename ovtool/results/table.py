"""The table: one row a measurement, of one or many sweeps, with what is derived from several."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ovtool.core.columns import COLUMNS
from ovtool.core.errors import InputError
from ovtool.core.notes import Note, make_note
from ovtool.core.statistics import Interval, ratio_unpaired
from ovtool.results import remarks
from ovtool.results.behind import Behind
from ovtool.results.rows import CONFIG
from ovtool.results.stored import NAMES, QUALITY, SPEEDUPS, SweepRows, elsewhere, rows_of, schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from ovtool.core.metrics import QualityMetric
    from ovtool.core.sweep_folder import Environment

_ATTRIBUTE = "background"
_CONFIG, _KEY = list(CONFIG), ["environment", "trial"]


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


class _Behind(Mapping[tuple[str, str], Behind]):
    """What is behind rows by (environment, trial), read where it is asked for."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame[[*_KEY, "_behind"]]

    @cached_property
    def _rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64], list[dict[str, int]]]:
        """Numbers of (environment, trial), sorted; their rows; and the numbers of both by name."""
        import numpy as np
        import pandas as pd

        coded = [pd.factorize(self._frame[name]) for name in _KEY]
        (environments, _), (trials, different) = coded
        keys = environments.astype(np.int64) * len(different) + trials
        order = np.argsort(keys)
        names = [dict(zip(found, range(len(found)), strict=True)) for _, found in coded]
        return keys[order], order, names

    def __getitem__(self, key: tuple[str, str]) -> Behind:
        keys, rows, (environments, trials) = self._rows
        number = environments[key[0]] * len(trials) + trials[key[1]]
        place = int(keys.searchsorted(number))
        if place == len(keys) or keys[place] != number:
            raise KeyError(key)
        told = json.loads(self._frame["_behind"].iloc[rows[place]])
        told["notes"] = tuple(Note(**note) for note in told["notes"])
        told["shapes"] = tuple((name, tuple(sizes)) for name, sizes in told["shapes"])
        return Behind(**told)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return zip(*(self._frame[name] for name in _KEY), strict=True)

    def __len__(self) -> int:
        return len(self._frame)


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
    sweeps = [rows_of(folder) for folder in folders]
    notes: list[Note] = []
    everything, told = _joined(sweeps)
    frame = _latest(everything, notes)
    if len(sweeps) > 1:
        _share_quality(frame)
        _add_speedups(frame)
    notes += remarks.of_speedups(frame)
    notes += remarks.unfinished(sweeps)
    notes += remarks.grouped(told, frame)
    metric = _quality_metric(sweeps, notes)
    environments = {sweep.environment.id: sweep.environment for sweep in sweeps}
    machines = {identifier: one.machine for identifier, one in environments.items()}
    frame["machine"] = frame["environment"].map(machines)
    behind = _Behind(frame)
    ordered = frame[list(NAMES)].iloc[_order(frame, sweeps)]
    table = ordered.reset_index(drop=True).astype(_types())
    table.attrs[_ATTRIBUTE] = Background(
        environments=tuple(environments.values()),
        not_there=tuple(dict.fromkeys(_not_there(sweeps))),
        notes=tuple(notes),
        quality_metric=metric,
        behind=behind,
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
    copy = table.copy(deep=False)
    copy.attrs = {}
    return copy


def _joined(sweeps: Sequence[SweepRows]) -> tuple[pd.DataFrame, remarks.Remarks]:
    """Return the rows of all sweeps below one another, numbered from 0, and their notes."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = pa.concat_tables([sweep.rows for sweep in sweeps] or [schema().empty_table()])
    lists = rows["_notes"].combine_chunks()
    flat, parents = pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy()
    numbers: dict[tuple[str, str, str], int] = {}
    mine = [[numbers.setdefault(n, len(numbers)) for n in s.about.notes] for s in sweeps]
    starts = np.cumsum([0, *(len(one) for one in mine)])
    sweep_of = np.repeat(np.arange(len(sweeps)), [s.rows.num_rows for s in sweeps])
    own = pc.struct_field(flat, "note").to_numpy(zero_copy_only=False)
    every = np.array([number for one in mine for number in one], dtype=np.int64)
    found = every[starts[sweep_of[parents]] + own] if len(own) else every[:0]
    told = remarks.Remarks(tuple(numbers), found, parents, pc.struct_field(flat, "evidence"))
    return rows.drop_columns(["_notes"]).to_pandas(), told


def _latest(frame: pd.DataFrame, notes: list[Note]) -> pd.DataFrame:
    """Return each (environment, trial) once."""
    twice = frame.duplicated(_KEY, keep=False)
    if not twice.any():
        return frame
    figures = [n for c in COLUMNS if c.kind == "figure" for n in c.names if n not in QUALITY]
    content = [*_KEY, "_finished", "status", "verdict", "reason", *figures]
    different = frame[twice].drop_duplicates(content)
    repeated = list(different.loc[different.duplicated(_KEY), "_label"])
    if repeated:
        notes.append(make_note("measured-twice", remarks.rows_text(repeated)))
    latest = frame[twice].sort_values("_finished", ascending=False, kind="stable")
    kept = latest.drop_duplicates(_KEY).index
    return frame[~twice | frame.index.isin(kept)].copy()


def _share_quality(frame: pd.DataFrame) -> None:
    """Fill the quality of a configuration into the rows of other sweeps that share it."""
    evaluated = frame[list(QUALITY)].notna().any(axis=1)
    if evaluated.all() or not evaluated.any():
        return
    known = frame.loc[evaluated, [*_CONFIG, *QUALITY]].drop_duplicates(_CONFIG, keep="last")
    found = frame.loc[~evaluated, _CONFIG].merge(known, how="left", on=_CONFIG)
    frame.loc[~evaluated, list(QUALITY)] = found[list(QUALITY)].to_numpy()


def _add_speedups(frame: pd.DataFrame) -> None:
    """Fill speed-ups over baselines that another sweep of the same environment measured."""
    fine = frame[frame["status"] == "ok"]
    throughput = [f"throughput_fps{end}" for end in ("", "_ci_low", "_ci_high")]
    key = ["environment", "_group", "_baseline"]
    for precision, name in SPEEDUPS.items():
        lacking = fine.loc[
            fine[name].isna() & fine["_baseline"].notna(), [*key, "ran_on", *throughput]
        ]
        baselines = fine.loc[
            fine["precision"] == precision,
            ["environment", "_group", "variant_id", "ran_on", *throughput],
        ].rename(columns={"variant_id": "_baseline"})
        pairs = lacking.reset_index().merge(baselines, on=key, suffixes=("", "_of_baseline"))
        found: dict[int, Interval] = {}
        for pair in pairs.to_dict("records"):
            ratio = ratio_unpaired(
                Interval(*(pair[column] for column in throughput)),
                Interval(*(pair[f"{column}_of_baseline"] for column in throughput)),
            )
            apart = elsewhere(_text(pair["ran_on"]), _text(pair["ran_on_of_baseline"]))
            if math.isfinite(ratio.value) and not apart:
                found[pair["index"]] = ratio
        places, ratios = list(found), list(found.values())
        frame.loc[places, name] = [ratio.value for ratio in ratios]
        frame.loc[places, f"{name}_ci_low"] = [ratio.low for ratio in ratios]
        frame.loc[places, f"{name}_ci_high"] = [ratio.high for ratio in ratios]
        frame.loc[places, f"_method_{precision}"] = "unpaired"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _quality_metric(sweeps: Sequence[SweepRows], notes: list[Note]) -> QualityMetric | None:
    """Return the metric of all sweeps; agreement, which all can have, when they differ."""
    metrics = {s.about.quality_metric for s in sweeps if s.about.quality_metric is not None}
    if len(metrics) > 1:
        notes.append(make_note("quality-metrics-differ", ", ".join(sorted(metrics))))
        return "agreement_top1"
    return next(iter(metrics), None)


def _not_there(sweeps: Sequence[SweepRows]) -> Iterator[NotThere]:
    for about in (sweep.about for sweep in sweeps):
        for device in about.unavailable:
            yield NotThere(about.name, device.device, device.reason)


def _order(frame: pd.DataFrame, sweeps: Sequence[SweepRows]) -> NDArray[np.int64]:
    """Return the places of the rows: environments and variants as planned, the baseline first."""
    import numpy as np
    import pandas as pd

    def planned(column: str, known: Sequence[str]) -> NDArray[Any]:
        """Places in a list; what is not in it comes last."""
        places = {value: place for place, value in enumerate(dict.fromkeys(known))}
        codes, values = pd.factorize(frame[column].fillna(""))
        return np.array([places.get(value, len(places)) for value in values], dtype=int)[codes]

    def alphabetical(column: str) -> NDArray[Any]:
        codes, _ = pd.factorize(frame[column], sort=True)
        return np.asarray(codes)

    def listed(name: str) -> list[str]:
        return [value for sweep in sweeps for value in getattr(sweep.about, name)]

    keys = (
        planned("environment", list(frame["environment"].unique())),
        planned("variant_id", [*listed("baselines"), *listed("variants")]),
        planned("precision", ["f32", "default"]),
        alphabetical("precision"),
        alphabetical("device"),
        planned("shape", listed("shapes")),
        planned("data_shape", listed("data_shapes")),
        alphabetical("load"),
        frame["batch"].to_numpy(),
        alphabetical("trial"),
    )
    return np.asarray(np.lexsort(keys[::-1]), dtype=np.int64)


def _types() -> dict[str, str]:
    types = {n: "str" if column.text else "float64" for column in COLUMNS for n in column.names}
    return types | {"batch": "int64"}
