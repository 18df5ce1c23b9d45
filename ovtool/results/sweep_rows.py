"""The rows of one sweep: built from its journal, or read from its ``results.parquet``.

The journal holds every raw window, about 10 KB a trial, so 100,000 trials take minutes to read.
A finished sweep therefore writes its rows to ``results.parquet``: the public columns, then the
nested column :data:`.columns.DETAILS`.  The schema metadata of the file hold a fingerprint of
journal, plan, environment and columns.  A reader uses the file only while the fingerprint matches,
and builds the rows from the journal otherwise.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import math
import os
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ovtool.core import files
from ovtool.core.columns import COLUMNS, DETAILS
from ovtool.core.input_limits import parse_json
from ovtool.core.shapes import shapes_text
from ovtool.core.sweep_folder import (
    ANCHORS,
    ENVIRONMENT,
    JOURNAL,
    PLAN,
    RESULTS,
    Environment,
    SweepFolder,
)
from ovtool.results.frame import NAMES, column_types, fill_quality, sort_positions
from ovtool.results.speedup import add_speedups
from ovtool.results.sweep_data import SweepData, SweepInfo, read_sweep

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pyarrow as pa

    from ovtool.core.measurement import Measurement

LOGGER = logging.getLogger("ovtool")
DETAIL_COLUMNS = (
    "line", "label", "group", "baseline", "open_loop", "finished", "method_f32", "method_default",
)  # fmt: skip
"""Details that the table is computed from; their columns have the names with ``_`` in front."""
_VERSION = 8
"""Incremented when the same measurement becomes another row, or the file has another structure."""
_METADATA_KEY = b"ovtool"
_NO_CHECKSUM = "0" * 8
_LINE_BYTES = 100
"""Less than the size of a line of a journal."""
_SAMPLED_BYTES = 65536
"""Bytes that are hashed at either end of a journal; a journal only grows at its end."""


@dataclass(frozen=True, slots=True)
class SweepRows:
    """The rows of a sweep in the order of the table: public columns, then the details."""

    info: SweepInfo
    environment: Environment
    rows: pa.Table


def load_sweep_rows(path: str | Path) -> SweepRows:
    """Return the rows of a sweep folder.

    Raises:
        InputError: The folder is not a sweep, or a file in it is damaged.
    """
    folder = SweepFolder.open(path)
    return _read_parquet(folder) or _build(read_sweep(path))


def write_sweep_rows(path: Path) -> None:
    """Write ``results.parquet`` of a sweep, unless the file is up to date.

    Raises:
        InputError: The folder is not a sweep, or the disk is full or read-only.
    """
    from pyarrow import parquet

    folder = SweepFolder.open(path)
    if _read_parquet(folder) is not None:
        return
    fingerprint = _fingerprint(path)  # before the journal is read, which may still grow
    sweep = _build(read_sweep(path))
    described = {"fingerprint": fingerprint, "sweep": sweep.info.model_dump(mode="json")}
    metadata = json.dumps(described | {"crc32": _NO_CHECKSUM})
    known = sweep.rows.schema.metadata or {}
    rows = sweep.rows.replace_schema_metadata({**known, _METADATA_KEY: metadata.encode()})
    stream = io.BytesIO()
    parquet.write_table(rows, stream)
    content = stream.getbuffer()
    checksum = b"%08x" % zlib.crc32(content)
    start = _checksum_position(stream.getvalue())
    content[start : start + len(checksum)] = checksum
    files.write_file(path / RESULTS, lambda target: target.write_bytes(content))


def _read_parquet(folder: SweepFolder) -> SweepRows | None:
    """Return the rows in ``results.parquet``; None where the file does not match the journal."""
    import pyarrow as pa
    from pyarrow import parquet

    path = folder.path / RESULTS
    try:
        content = files.read_regular(path)
        start = _checksum_position(content)
        end = start + len(_NO_CHECKSUM)
        unsigned = zlib.crc32(_NO_CHECKSUM.encode(), zlib.crc32(memoryview(content)[:start]))
        if zlib.crc32(memoryview(content)[end:], unsigned) != int(content[start:end], 16):
            LOGGER.warning("%s is damaged: its rows are built from %s", path, JOURNAL)
            return None
        with parquet.ParquetFile(pa.BufferReader(content)) as file:
            if file.metadata.num_rows > _journal_size(folder.path) // _LINE_BYTES:
                return None  # each row is of a line of the journal
            metadata = parse_json(file.schema_arrow.metadata[_METADATA_KEY])
            if metadata["fingerprint"] != _fingerprint(folder.path):
                return None
            info = SweepInfo.model_validate_json(json.dumps(metadata["sweep"]))
            rows = file.read(use_threads=False)  # faster: columns of a sweep are short
    except (OSError, KeyError, TypeError, ValueError, ValidationError, pa.ArrowException):
        return None  # missing, damaged, or of another version
    return SweepRows(info, folder.environment, rows)


def _journal_size(path: Path) -> int:
    journal = path / JOURNAL
    return journal.stat().st_size if journal.exists() else 0


def _checksum_position(content: bytes) -> int:
    """Return the position of the checksum in the metadata of a Parquet file.

    The checksum is that of the file with :data:`_NO_CHECKSUM` in its place.

    Raises:
        ValueError: There is none.
    """
    key = b'"crc32": "'
    return content.rindex(key) + len(key)


def _fingerprint(path: Path) -> list[object]:
    """Return a value that changes whenever the rows of a sweep may change."""
    columns = hashlib.sha256("\n".join(NAMES).encode()).hexdigest()
    inputs = (path / PLAN, path / ENVIRONMENT, path / ANCHORS)
    planned = hashlib.sha256(b"".join(file.read_bytes() for file in inputs if file.is_file()))
    journal = path / JOURNAL
    size, sampled = 0, b""
    if journal.is_file():
        with journal.open("rb") as stream:
            sampled = stream.read(_SAMPLED_BYTES)
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _SAMPLED_BYTES))
            sampled += stream.read(_SAMPLED_BYTES)
    return [_VERSION, columns, planned.hexdigest(), size, hashlib.sha256(sampled).hexdigest()]


def public_schema() -> pa.Schema:
    """Return the types of the public columns."""
    import pyarrow as pa

    types = {n: pa.string() if c.text else pa.float64() for c in COLUMNS for n in c.names}
    return pa.schema([*(types | {"batch": pa.int64()}).items()])


def empty_rows() -> pa.Table:
    """Return the rows of a sweep without measurements."""
    return public_schema().append(_details_field()).empty_table()


def _details_field() -> pa.Field:
    """Return the column of details; :data:`.columns.DETAILS` describes its fields."""
    import pyarrow as pa

    fields: dict[str, Any] = dict.fromkeys(DETAIL_COLUMNS, pa.string()) | {
        "line": pa.int64(),
        "open_loop": pa.bool_(),
        "notes": pa.list_(pa.struct({"note": pa.int32(), "evidence": pa.string()})),
        "properties": pa.map_(pa.string(), pa.string()),
        "folder": pa.string(),
        "shapes": pa.list_(pa.struct({"input": pa.string(), "sizes": pa.list_(pa.int64())})),
        "open_shapes": pa.bool_(),
        "rounds": pa.list_(pa.float32()),
    }
    return pa.field(DETAILS, pa.struct(fields))


def _build(sweep: SweepData) -> SweepRows:
    """Build the rows of a sweep from its measurements."""
    import pandas as pd
    import pyarrow as pa

    notes: dict[tuple[str, str, str], int] = {}
    details = [_details(sweep, m, line, notes) for line, m in enumerate(sweep.measurements)]
    public = [_row(sweep, measurement) for measurement in sweep.measurements]
    frame = pd.DataFrame(public, columns=list(NAMES)).astype(column_types())
    kept = pd.DataFrame(details, columns=list(DETAIL_COLUMNS)).astype(
        dict.fromkeys(DETAIL_COLUMNS, "str") | {"line": "int64", "open_loop": "bool"}
    )
    frame = frame.join(kept.add_prefix("_"))
    fill_quality(frame)
    add_speedups(frame, sweep.measurements)
    for name in ("method_f32", "method_default"):
        for row, method in zip(details, frame[f"_{name}"], strict=True):
            row[name] = method if isinstance(method, str) else None
    info = _info(sweep, notes)
    order, field = sort_positions(frame, [info]), _details_field()
    rows = pa.Table.from_pandas(frame.iloc[order], schema=public_schema(), preserve_index=False)
    structs = pa.array([details[i] for i in order], type=field.type)
    return SweepRows(info, sweep.environment, rows.append_column(field, structs))


def _info(sweep: SweepData, notes: Iterable[tuple[str, str, str]]) -> SweepInfo:
    plan = sweep.plan
    baselines = [p.baseline for p in plan.variants.values() if p.baseline]
    return SweepInfo(
        name=plan.name,
        quality_metric=plan.quality_metric,
        quality_reason=plan.quality_reason,
        unavailable=plan.unavailable,
        baselines=tuple(dict.fromkeys(baselines)),
        variants=tuple(plan.variants),
        shapes=tuple(dict.fromkeys(shapes_text(t.shapes) for t in plan.trials)),
        data_shapes=tuple(dict.fromkeys(shapes_text(t.data_shapes) for t in plan.trials)),
        planned=len(plan.trials),
        remaining=len({t.id for t in plan.trials} - {m.trial.id for m in sweep.measurements}),
        outdated=sweep.outdated,
        notes=tuple(notes),
        drift=sweep.drift,
    )


def _row(sweep: SweepData, measurement: Measurement) -> dict[str, Any]:
    """Return the public columns of a measurement; columns left out are unknown."""
    trial, environment = measurement.trial, sweep.environment
    generation = trial.generation
    variant = sweep.plan.variants.get(trial.variant)
    known = {n: value for n, value in measurement.figures.items() if math.isfinite(value)}
    planned = {} if variant is None else {"model_mib": variant.model_mib, **variant.weights}
    return {
        **planned,
        **known,
        "variant": trial.variant_name,
        "device": measurement.device,
        "emulated": "yes" if measurement.emulated else None,
        "batch": trial.batch,
        "shape": shapes_text(trial.shapes) or None,
        "data_shape": shapes_text(trial.data_shapes) or None,
        "load": trial.load,
        "prompt_length": generation and generation.prompt_length,
        "output_length": generation and generation.output_length,
        "kv_cache_precision": generation and generation.kv_cache_precision,
        "precision": trial.precision,
        "executed_precision": measurement.executed_precision,
        "ran_on": measurement.ran_on,
        "hint": trial.hint,
        "status": measurement.status,
        "verdict": measurement.verdict,
        "reason": measurement.reason or None,
        "machine": environment.machine if measurement.environment == environment.id else None,
        "host": environment.host or None,
        "host_labels": environment.labels_text or None,
        "environment": measurement.environment,
        "sweep": sweep.name,
        "trial": trial.id,
        "variant_id": trial.variant,
    }


def _details(
    sweep: SweepData, measurement: Measurement, line: int, notes: dict[tuple[str, str, str], int]
) -> dict[str, Any]:
    """Return the details of a measurement, and add its notes to those of the sweep."""
    trial = measurement.trial
    variant = sweep.plan.variants.get(trial.variant)
    own = measurement.notes + (() if variant is None else variant.notes)
    numbers = (notes.setdefault((n.id, n.message, n.remedy), len(notes)) for n in own)
    return {
        "line": line,
        "label": measurement.label,
        "group": trial.group,
        "baseline": None if variant is None else variant.baseline,
        "open_loop": trial.open_loop,
        "finished": measurement.finished,
        "method_f32": None,
        "method_default": None,
        "notes": [
            {"note": number, "evidence": note.evidence}
            for number, note in zip(numbers, own, strict=True)
        ],
        "properties": dict(measurement.properties),
        "folder": None if variant is None else variant.folder,
        "shapes": [{"input": name, "sizes": sizes} for name, sizes in trial.shapes],
        "open_shapes": bool(trial.data_shapes),
        "rounds": [r.inferences * trial.batch / r.seconds for r in measurement.rounds if r.seconds],
    }
