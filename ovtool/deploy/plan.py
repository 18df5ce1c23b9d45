"""What a bundle is written from: the chosen row, its measurement, its variant and its job."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ovtool.benchmark import jobs
from ovtool.benchmark.session import TrialFailedError
from ovtool.core import device_names
from ovtool.core.errors import InputError
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.variant import Variant
from ovtool.deploy.manifest import (
    Licenses,
    is_package_name,
    package_name,
)
from ovtool.devices.discovery import select_available
from ovtool.selection.snippet import image_transform

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ovtool.benchmark.session import Job
    from ovtool.core.measurement import Measurement
    from ovtool.core.trial import Trial
    from ovtool.datasets.image_transform import ImageTransform
    from ovtool.results.table import ResultsTable
    from ovtool.selection.choice import Choice


@dataclass(frozen=True, slots=True)
class BundlePlan:
    """What a bundle is written from."""

    choice: Choice
    measurement: Measurement
    machine: str
    variant: Variant
    job: Job
    transform: ImageTransform | None
    package: str
    licenses: Licenses


def narrow_rows(
    table: ResultsTable, variant: str | None, device: str | None, batch: int | None
) -> ResultsTable:
    """Return the rows of a variant, a device or a batch.

    Raises:
        InputError: There are none.
    """
    wanted = {
        "variant": variant,
        "device": None if device is None else device_names.normalize(device),
        "batch": batch,
    }
    rows = table.rows
    for column, value in wanted.items():
        if value is None:
            continue
        known = list(dict.fromkeys(rows[column]))
        rows = rows[rows[column] == value]
        if rows.empty:
            shown = ", ".join(map(str, known[:8]))
            raise InputError(f"no row has the {column} {value}", f"rows have: {shown}")
    return table.with_rows(rows.reset_index(drop=True))


def plan_bundle(
    paths: Sequence[Path],
    table: ResultsTable,
    choice: Choice,
    name: str | None,
    licenses: Licenses,
) -> BundlePlan:
    """Return what a bundle of a choice is written from.

    Raises:
        InputError: The variant is not on this machine, or a bundle cannot run it.
        MissingDeviceError: The device is not available.
    """
    row, details = choice.winner, table.details_of(choice.winner)
    if row["status"] != "ok":
        raise InputError(
            f"{choice.label} is a compiler's estimate: nothing ran that a bundle could be compared"
            " with",
            "measure it on the device: ovtool sweep",
        )
    measurement, machine = _find_measurement(paths, row["environment"], row["trial"])
    variant = _load_variant(details.folder, row)
    _check_versions(paths, row["environment"])
    select_available([measurement.trial.device], strict=True)
    package = name or package_name(variant.name)
    if not is_package_name(package):
        raise InputError(
            f"{package!r} is not a name for the package of a bundle",
            f"lower-case letters, digits and _, and no module of Python: {package_name(package)}",
        )
    trial = _measured_trial(measurement, row)
    try:
        job = jobs.prepare_job(trial, variant)
    except TrialFailedError as error:
        raise InputError(f"{variant.name} does not run as measured: {error}") from error
    return BundlePlan(
        choice=choice,
        measurement=measurement,
        machine=machine,
        variant=variant,
        job=replace(job, properties=dict(measurement.properties)),
        transform=None if trial.generation is not None else image_transform(variant, details),
        package=package,
        licenses=licenses,
    )


def _measured_trial(measurement: Measurement, row: Any) -> Trial:
    """Return a trial with what its measurement decided: requests, rate or concurrency."""
    trial = measurement.trial
    if trial.generation is not None:
        generation = replace(
            trial.generation,
            concurrency=int(row["concurrency"]),
            max_ttft_ms=None,
            max_tpot_ms=None,
        )
        return replace(trial, generation=generation)
    return replace(
        trial,
        requests=round(measurement.figures["requests"]),
        rate=row["rate_rps"],
        max_latency_ms=None,
        percentile=None,
    )


def _find_measurement(
    paths: Sequence[Path], environment: str, trial: str
) -> tuple[Measurement, str]:
    """Return the last measurement of a trial in an environment, and its machine."""
    latest: tuple[Measurement, str] | None = None
    for path in paths:
        sweep = SweepFolder.open(path)
        for each in sweep.measurements():
            same = (each.environment, each.trial.id) == (environment, trial)
            if same and (latest is None or each.finished >= latest[0].finished):
                latest = each, sweep.environment.machine
    if latest is None:
        raise InputError(f"the journals have no trial {trial}", "run ovtool sweep again")
    return latest


def _load_variant(folder: str | None, row: Any) -> Variant:
    """Return the variant of a row.

    Raises:
        InputError: It is not on this machine, was changed, or is a language model of another kind.
    """
    if folder is None:
        raise InputError(f"the sweep does not say where {row['variant']} is", "sweep again")
    variant = Variant.load(folder)
    if variant.id != row["variant_id"]:
        raise InputError(
            f"{variant.folder} was changed since it was measured", "sweep it again, or restore it"
        )
    if variant.record.companions and not variant.record.generates_text:
        raise InputError(
            f"{variant.name} is a language model that generates no text: bundles do not support it"
        )
    return variant


def _check_versions(paths: Sequence[Path], environment: str) -> None:
    """Check that this OpenVINO is the one of the sweep.

    Raises:
        InputError: It is another one.
    """
    import openvino as ov

    for path in paths:
        of_sweep = SweepFolder.open(path).environment
        measured = of_sweep.facts.get("openvino")
        if of_sweep.id == environment and measured not in (None, ov.get_version()):
            raise InputError(
                f"the sweep was measured with OpenVINO {measured}, installed is {ov.get_version()}",
                "install that version, or sweep again",
            )
