"""What a table's notes say: of the measurements, of speed-ups, of sweeps that are not finished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.core.measurement import Note
from ovtool.results.speedup import CPU_TIME_DOUBT
from ovtool.results.stored import SPEEDUPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from ovtool.results.stored import SweepRows

_SHOWN = 3
"""Examples that a note names."""


@dataclass(frozen=True, slots=True)
class Remarks:
    """The measurements' own notes: for each, its number, its row and its evidence."""

    notes: tuple[tuple[str, str, str], ...]
    numbers: NDArray[np.int64]
    rows: NDArray[np.int64]
    evidence: pa.Array


def of_speedups(frame: pd.DataFrame) -> Iterator[Note]:
    """Yield how speed-ups were taken where that matters, and which are lacking."""

    def taken(method: str) -> list[str]:
        by = [frame[f"_method_{precision}"] == method for precision in SPEEDUPS]
        return list(dict.fromkeys(frame.loc[by[0] | by[1], "_label"]))

    if by_cpu_time := taken("cpu_time"):
        yield Note(
            "speedup-by-cpu-time",
            f"speed-ups of {rows_text(by_cpu_time)} were taken from CPU time instead of wall time, "
            "since others or a quota took the CPU: threads that wait for one another may move"
            f" them, for which their intervals are {100 * CPU_TIME_DOUBT:g} % wider",
            examples(by_cpu_time),
        )
    if unpaired := taken("unpaired"):
        yield Note(
            "speedup-unpaired",
            f"speed-ups of {rows_text(unpaired)} come from figures measured apart: drift between"
            " the two is not in their intervals",
            examples(unpaired),
            "measure both in one sweep, in at least three rounds",
        )
    yield from _without_speedup(frame)


def _without_speedup(frame: pd.DataFrame) -> Iterator[Note]:
    """Say for which variants there is nothing to be faster than, and what would change that."""
    fine = frame[(frame["status"] == "ok") & frame["rate_rps"].isna()]
    for precision, name in SPEEDUPS.items():
        missing = fine.loc[fine[name].isna(), "variant"].unique()
        if len(missing):
            what = "its default precision" if precision == "default" else precision
            yield Note(
                f"no-speedup-{precision}",
                f"some speed-ups over the uncompressed model in {what} are not known: it was not"
                " measured at the same load",
                ", ".join(missing),
                f"sweep the uncompressed variant of the same source too, --precision {precision}",
            )


def unfinished(sweeps: Sequence[SweepRows]) -> Iterator[Note]:
    """Yield what sweeps have planned and not measured, or measured by earlier plans."""
    for about in (sweep.about for sweep in sweeps):
        if about.outdated:
            yield Note(
                "earlier-plan",
                f"{about.outdated} trials of earlier plans of {about.name} are not shown",
                remedy="sweep with the same axes and variants to see them",
            )
        if about.left:
            yield Note(
                "sweep-unfinished",
                f"{about.left} of {about.planned} trials of {about.name} are not measured yet",
                remedy="the same sweep command goes on where it stopped",
            )


def grouped(remarks: Remarks, frame: pd.DataFrame) -> Iterator[Note]:
    """Yield the measurements' own notes, each once, with the trials that it is about.

    Notes whose evidence differs stay apart, unless it differs from trial to trial: then there are
    examples of it.
    """
    import numpy as np

    kept = np.flatnonzero(np.isin(remarks.rows, frame.index))
    kinds = np.asarray(remarks.evidence.dictionary_encode().indices)
    apart = []
    for group in _grouped_places(kept, remarks.numbers[kept]):
        different = _grouped_places(group, kinds[group])
        apart += different if len(different) <= _SHOWN else [group]
    labels = frame["_label"]
    for group in sorted(apart, key=lambda places: int(places[0])):
        identifier, message, remedy = remarks.notes[remarks.numbers[group[0]]]
        shown = group[:_SHOWN].tolist()
        names = [str(labels.loc[remarks.rows[place]]) for place in shown]
        evidence = [remarks.evidence[place].as_py() for place in shown]
        more = f" and {len(group) - len(shown)} more" if len(group) > len(shown) else ""
        if (kinds[group] == kinds[group[0]]).all():
            told = "; ".join([*filter(None, evidence[:1]), *names])
        else:
            told = "; ".join(f"{n}: {e}" for n, e in zip(names, evidence, strict=True))
        yield Note(identifier, message, f"{told}{more}", remedy)


def _grouped_places(places: NDArray[np.int64], keys: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return places with equal keys together, each group in its order."""
    import numpy as np

    if not len(places):
        return []
    _, counts = np.unique(keys, return_counts=True)
    return np.split(places[np.argsort(keys, kind="stable")], np.cumsum(counts)[:-1])


def rows_text(labels: Sequence[str]) -> str:
    """Say how many rows there are."""
    return f"{len(labels)} {'row' if len(labels) == 1 else 'rows'}"


def examples(labels: Sequence[str]) -> str:
    """Name some rows, and how many more."""
    more = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
    return "; ".join(labels[:_SHOWN]) + more
