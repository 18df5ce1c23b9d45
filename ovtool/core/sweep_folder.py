"""The sweep folder: ``plan.json``, ``journal.jsonl``, ``environment.json``, ``results.parquet``.

The journal has one line per measurement, which is on the disk before the next trial begins.  A
killed sweep resumes without losing or repeating a trial.  A line ends with a checksum of itself.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from ovtool.core import files
from ovtool.core.checksum import add_checksum, has_checksum, verify_checksum
from ovtool.core.columns import QualityMetric
from ovtool.core.errors import InputError
from ovtool.core.fields import Record, invalid_content
from ovtool.core.holding import check_held
from ovtool.core.measurement import Measurement
from ovtool.core.notes import Note
from ovtool.core.ports import Preprocessing
from ovtool.core.system_errors import reading, writing
from ovtool.core.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


PLAN, JOURNAL, ANCHORS = "plan.json", "journal.jsonl", "anchors.jsonl"
ENVIRONMENT, RESULTS = "environment.json", "results.parquet"
_DAMAGED_LINE = "remove the line to measure the trial again"
_R = TypeVar("_R", bound=Record)


class PlannedVariant(Record):
    """Description of a variant for reports; ``folder`` may be a path of another machine."""

    name: str
    folder: str
    model_mib: float
    compressed: bool
    baseline: str | None = None
    """Id of the baseline of speed-ups and agreement: by default the uncompressed variant of the
    same source."""
    source_compression: str = "none"
    """Compression that the source has already, as in :class:`ovtool.core.variant.Source`."""
    steps: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    """How images become the input; None if it is not recorded."""
    weights: dict[str, float | None] = Field(default_factory=dict)
    """Figures of the weights, by column."""
    notes: tuple[Note, ...] = ()
    """Warnings about the variant, and about the variant on the data of the sweep."""


class Unavailable(Record):
    """A requested device that is not available; the plan has no trials of it."""

    device: str
    reason: str


class SweepPlan(Record):
    """The variants and trials of a sweep."""

    schema_version: Literal[1] = 1
    name: str
    variants: dict[str, PlannedVariant]
    """By id."""
    trials: tuple[Trial, ...]
    unavailable: tuple[Unavailable, ...] = ()
    quality_metric: QualityMetric | None = None
    quality_reason: str = ""
    """Why this metric decides."""
    evaluated_on: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)


class Environment(Record):
    """The machine and software of a sweep; ``id`` is the hash of ``facts``."""

    id: str
    machine: str
    """Description in one line: processor, cores, memory, system."""
    facts: dict[str, Any]
    unknown: dict[str, str] = Field(default_factory=dict)
    """Facts that are unknown, and the reasons."""
    moment: dict[str, Any] = Field(default_factory=dict)
    """Volatile facts (clock, load, date), not part of the id."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of the host of a fleet."""

    @property
    def host(self) -> str:
        """Name of the host of a fleet; empty without one."""
        return str(self.facts.get("host") or "")

    @property
    def labels_text(self) -> str:
        """The labels in one line."""
        return ",".join(f"{name}={value}" for name, value in sorted(self.labels.items()))


@dataclass(frozen=True)
class SweepFolder:
    """A sweep on disk."""

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> SweepFolder:
        """Return an existing sweep folder.

        Raises:
            InputError: The folder does not exist or has no plan.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise InputError(f"sweep folder not found: {folder}")
        if not (folder / PLAN).is_file():
            inner = folder / "sweep"  # of a recipe
            hint = f"use {inner}" if (inner / PLAN).is_file() else "run ovtool sweep"
            raise InputError(f"not a sweep folder: {folder} has no {PLAN}", hint)
        return cls(folder)

    @classmethod
    def create(cls, path: Path) -> SweepFolder:
        """Return a new or existing sweep folder, without writing into it.

        Raises:
            InputError: The folder has files of these names that are not of a sweep.
        """
        sweep = cls(path)
        if (path / PLAN).exists():
            try:
                _ = sweep.plan
            except InputError as error:
                raise InputError(f"{path} is not a sweep: {error}", "use another --out") from error
            return sweep
        for name in (JOURNAL, ENVIRONMENT, RESULTS):
            if (path / name).exists():
                raise InputError(
                    f"{path} is not a sweep: it has {name} without {PLAN}", "use another --out"
                )
        return sweep

    @property
    def plan(self) -> SweepPlan:
        """The plan.

        Raises:
            InputError: The file is missing or damaged.
        """
        return _read_record(SweepPlan, self.path / PLAN)

    @property
    def environment(self) -> Environment:
        """The environment.

        Raises:
            InputError: The file is missing or damaged.
        """
        return _read_record(Environment, self.path / ENVIRONMENT)

    def write_plan(self, plan: SweepPlan) -> None:
        """Write or replace the plan."""
        _write_record(self.path / PLAN, plan)

    def write_environment(self, environment: Environment) -> None:
        """Write or replace the environment."""
        _write_record(self.path / ENVIRONMENT, environment)

    def measurements(self) -> Iterator[Measurement]:
        """Yield the measurements of the journal; an incomplete last line is skipped.

        Raises:
            InputError: Another line is damaged, or the journal is not a file.
        """
        return self._read(JOURNAL)

    def anchors(self) -> Iterator[Measurement]:
        """Yield the measurements of the anchor trial, which show the drift of a host.

        Raises:
            InputError: As for :meth:`measurements`.
        """
        return self._read(ANCHORS)

    def _read(self, name: str) -> Iterator[Measurement]:
        journal = self._journal(name)
        if not journal.exists():
            return
        with reading(journal), journal.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                where = f"{journal}, line {number}"
                if not line.endswith(b"\n"):
                    if has_checksum(line[:-1]):
                        raise InputError(f"{where}: the end of the line is damaged", _DAMAGED_LINE)
                    return
                try:
                    yield Measurement.from_json(verify_checksum(line, where, _DAMAGED_LINE))
                except ValidationError as error:
                    hint = "the file was edited, or another version of ovtool wrote it"
                    raise invalid_content(where, error, hint) from error

    def _journal(self, name: str) -> Path:
        """Return the path of a journal, which may not exist; a pipe would block its reader."""
        journal = self.path / name
        if journal.exists() and not journal.is_file():
            raise InputError(f"journal is not a file: {journal}")
        return journal

    def append(self, measurements: Iterable[Measurement], name: str = JOURNAL) -> None:
        """Append measurements in one write, and wait until they are on the disk.

        ``name`` is the journal, or :data:`ANCHORS`.

        Raises:
            InputError: The disk is full or not writable; earlier lines stay complete.
        """
        lines = b"".join(
            add_checksum(json.dumps(m.to_json(), allow_nan=False).encode()) for m in measurements
        )
        journal = self._journal(name)
        check_held(journal)
        # Unbuffered: closing a buffered file would write the rest of a line that was removed.
        with writing(journal), journal.open("a+b", buffering=0) as stream:
            whole = _whole_length(stream)
            stream.truncate(whole)
            try:
                remaining = memoryview(lines)
                while remaining:
                    remaining = remaining[stream.write(remaining) :]
                os.fsync(stream.fileno())
                if not whole:
                    files.sync(self.path)  # the journal may be new
                    check_held(journal)
            except OSError:
                stream.truncate(whole)
                raise


def _whole_length(stream: Any) -> int:
    """Return the length of a journal up to its last line end."""
    end = int(stream.seek(0, os.SEEK_END))
    while end > 0:
        start = max(0, end - 65536)
        stream.seek(start)
        position = stream.read(end - start).rfind(b"\n")
        if position >= 0:
            return start + int(position) + 1
        end = start
    return 0


def _write_record(path: Path, record: Record) -> None:
    content = add_checksum(record.model_dump_json(indent=1))
    files.write_file(path, lambda target: target.write_bytes(content))


def _read_record(kind: type[_R], path: Path) -> _R:
    with reading(path):
        text = files.existing_file(path, "sweep file").read_bytes()
    try:
        return kind.model_validate_json(verify_checksum(text, f"{path}"))
    except ValidationError as error:
        raise invalid_content(path, error) from error
