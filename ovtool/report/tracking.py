"""Results as runs of MLflow: a run of the report, and one below it for each row.

An estimate is a run whose name begins with ``ESTIMATE``; none of its metrics has the name of a
measured figure.  A row that failed is a failed run with the reason, and has no metrics.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ovtool.core import files, steps, temporary, units
from ovtool.core.columns import COLUMNS
from ovtool.core.errors import InputError
from ovtool.core.registry import missing_package
from ovtool.results.labels import config_labels, load_text
from ovtool.results.rows import Config

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ovtool.results.rows import Row
    from ovtool.results.table import ResultsTable
    from ovtool.selection.choice import Choice

TRACKING_URI, EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
"""MLflow's own variables for its server or folder, and for the experiment."""
DEFAULT_URI, DEFAULT_EXPERIMENT = "mlruns", "ovtool"
"""A folder, since ``mlflow-skinny`` has no database."""
COLUMNS_FILE = "columns.json"
"""Artifact with title, unit, direction and meaning of each metric."""
_STATIC = frozenset((
    "model_mib", "coded_mib", "parameters", "nonzero_pct", "distinct_weights", "blob_mib",
))  # fmt: skip
"""Figures of the files of a model, which are known without a measurement."""
_ESTIMATES = frozenset(column.name for column in COLUMNS if "estimate" in column.name)
_LIMIT_S = 900.0
_LONGEST = 500
"""Characters of a parameter or a tag, which every version of MLflow takes."""

_LONGEST_REASON = 70


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """The run of a report in MLflow; ``rows`` is the number of runs below it."""

    tracking_uri: str
    experiment: str
    run_id: str
    rows: int


def tracking_uri() -> str:
    """Return the server or folder of MLflow: its own variable, or ``mlruns`` here."""
    return os.environ.get(TRACKING_URI) or DEFAULT_URI


def local_store() -> Path | None:
    """Return the folder that a local store is written into; None for a server."""
    uri = tracking_uri()
    parts = urlsplit(uri)
    if parts.scheme in ("", "file") or len(parts.scheme) == 1:  # or the letter of a drive
        return Path(url2pathname(parts.path) if parts.scheme == "file" else uri).absolute()
    if parts.scheme == "sqlite":
        return Path(parts.path.removeprefix("/") or ".").absolute().parent
    return None


def require_mlflow() -> Any:
    """Import MLflow and return a client.

    Raises:
        MissingDependencyError: The package is not installed.
        InputError: The server or folder cannot be used.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # sends nothing of its own
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # all that mlflow-skinny can write
    try:
        from mlflow import MlflowClient
    except ModuleNotFoundError as error:
        raise missing_package("--mlflow", error, "mlflow") from error
    with _Translated():
        return MlflowClient(tracking_uri())


def track(
    client: Any,
    table: ResultsTable,
    choice: Choice | None,
    artifacts: Iterable[tuple[Path, str]],
) -> TrackedRun:
    """Log a table, the recommendation and files of a report.

    Args:
        client: An ``MlflowClient``.
        table: The rows.
        choice: The recommendation; None if no row meets the limits.
        artifacts: Files, each with its folder among the artifacts.

    Raises:
        InputError: The server or folder does not take the runs.
    """
    experiment = os.environ.get(EXPERIMENT) or DEFAULT_EXPERIMENT
    with steps.limited(f"logging to MLflow: {tracking_uri()}", limit_s=_LIMIT_S), _Translated():
        known = client.get_experiment_by_name(experiment)
        id_ = client.create_experiment(experiment) if known is None else known.experiment_id
        rows = table.records
        name = ", ".join(map(str, rows.unique("sweep")))
        parent = client.create_run(id_, run_name=name, tags=_tags(_summary(table, choice)))
        run_id = parent.info.run_id
        try:
            if choice is not None:
                params = {f"chosen.{k}": v for k, v in _parameters(choice.winner)}
                metrics = [(f"chosen.{k}", v) for k, v in _metrics(choice.winner)]
                _log(client, run_id, params | {"objective": choice.objective}, metrics)
            for path, folder in artifacts:
                client.log_artifact(run_id, str(path), folder or None)
            _log_columns(client, run_id)
            labels = config_labels(rows)
            for row in rows:
                label = f"{labels[Config.from_row(row)]}, {load_text(row)}"
                _log_row(client, id_, run_id, row, label)
        except BaseException:
            client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id)
    return TrackedRun(tracking_uri(), experiment, run_id, len(rows))


def _summary(table: ResultsTable, choice: Choice | None) -> Iterator[tuple[str, object]]:
    yield "ovtool.machines", "; ".join(env.machine for env in table.environments)
    yield "ovtool.rows", len(table.records)
    yield "ovtool.headline", "no row meets the limits" if choice is None else choice.headline
    if choice is not None:
        yield "ovtool.certainty", choice.certainty


def _log_row(client: Any, experiment: str, parent: str, row: Row, label: str) -> None:
    """Log a row as a run below that of the report."""
    status, reason = row["status"], row["reason"]
    named = f"ESTIMATE {label}" if status == "estimated" else label
    tags = {
        "mlflow.parentRunId": parent,
        "ovtool.status": status,
        "ovtool.verdict": row["verdict"],
        "ovtool.reason": reason,
    }
    run = client.create_run(experiment, run_name=named, tags=_tags(tags.items()))
    _log(client, run.info.run_id, dict(_parameters(row)), list(_metrics(row)))
    client.set_terminated(run.info.run_id, "FAILED" if status == "failed" else "FINISHED")


def _parameters(row: Row) -> Iterator[tuple[str, str]]:
    """Yield what identifies a row, and the settings of its load."""
    for column in COLUMNS:
        setting = column.kind == "identity" or column.name in ("streams", "requests", "threads")
        value = row[column.name]
        if setting and value is not None and column.name not in ("status", "verdict", "reason"):
            yield column.name, f"{value:g}" if isinstance(value, float) else str(value)


def _metrics(row: Row) -> Iterator[tuple[str, float]]:
    """Yield the known figures with their intervals; of an estimate only those that say so."""
    if row["status"] == "failed":
        return
    for column in COLUMNS:
        if column.kind == "identity":
            continue
        if row["status"] == "estimated" and column.name not in _ESTIMATES | _STATIC:
            continue
        for name in column.names:
            value = row[name]
            if value is not None and math.isfinite(value):
                yield name, float(value)


def _log(
    client: Any, run_id: str, params: dict[str, str], metrics: Sequence[tuple[str, float]]
) -> None:
    from mlflow.entities import Metric, Param

    now_ms = int(1000 * time.time())
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, now_ms, 0) for name, value in metrics],
        params=[Param(name, value[:_LONGEST]) for name, value in params.items()],
    )


def _log_columns(client: Any, run_id: str) -> None:
    """Log what the names of the metrics mean."""
    document = {
        column.name: {
            "title": column.title,
            "unit": column.unit,
            "better": column.better,
            "interval": column.interval,
            "meaning": column.meaning,
        }
        for column in COLUMNS
    }
    with temporary.scratch_folder("mlflow") as scratch:
        path = files.write_text(scratch / COLUMNS_FILE, json.dumps(document, indent=2))
        client.log_artifact(run_id, str(path), "report")


def _tags(pairs: Iterable[tuple[str, object]]) -> dict[str, str]:
    return {name: str(value)[:_LONGEST] for name, value in pairs if value not in (None, "")}


class _Translated:
    """Errors of MLflow, and of the connection to its server, as one of ours."""

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        """Raise an InputError for an error of MLflow, of its server or of the system."""
        if error is None or isinstance(error, InputError):
            return
        module = type(error).__module__.partition(".")[0]
        if isinstance(error, OSError) or module in ("mlflow", "requests", "urllib3"):
            text = " ".join(str(error).split())
            raise InputError(
                f"MLflow at {tracking_uri()}: {units.shortened(text, _LONGEST_REASON)}",
                f"set {TRACKING_URI} to a server or a folder",
            ) from error
