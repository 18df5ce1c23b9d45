"""Latency estimates for NPUs that are not available, by trial compiles with the NPU's compiler.

No inference runs.  The estimate of one inference has its own column; no throughput is derived from
it, and the status and the device of the row mark the estimate.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ovtool.benchmark import jobs
from ovtool.benchmark.engine import MeasurementProgress, failed_measurement, utc_now
from ovtool.benchmark.session import TrialFailedError
from ovtool.compile_check import compile_check
from ovtool.compile_check.npu import offline
from ovtool.core.device_names import kind_of, npu_platform
from ovtool.core.errors import InputError, MissingError
from ovtool.core.measurement import Measurement
from ovtool.core.notes import make_note
from ovtool.devices import discovery
from ovtool.devices.discovery import require_devices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovtool.compile_check.compiling import Compiler
    from ovtool.core.sweep_spec import SweepSpec
    from ovtool.core.trial import Trial
    from ovtool.core.variant import Variant
    from ovtool.sweep.measurer import Observer

OPTION = "--with-estimates"
WHOLE_BATCH = {"NPU_BATCH_MODE": "COMPILER"}
"""Otherwise the NPU plugin compiles for one sample of the batch, and estimates that."""


@dataclass(frozen=True, slots=True)
class SweepTargets:
    """The requested devices of a sweep: measured, estimated by compilers, missing for a reason.

    ``default_precisions`` are those of measured devices that report one.
    """

    measured: list[str]
    compilers: dict[str, Compiler] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    default_precisions: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """All devices with rows, the measured ones first."""
        return [*self.measured, *self.compilers]


def select_targets(spec: SweepSpec, *, strict: bool) -> SweepTargets:
    """Split the requested devices into measured, estimated and missing devices.

    Raises:
        InputError: A device name or an NPU platform is unknown.
        MissingDeviceError: No device has rows, or with ``strict`` any has none.
    """
    devices = discovery.discover()
    measured, missing = discovery.resolve(spec.devices, devices)
    defaults = discovery.default_precisions(measured, devices)
    targets = SweepTargets(measured, default_precisions=defaults)
    for name, reason in missing.items():
        platform = npu_platform(name)
        if not spec.with_estimates or platform is None:
            targets.missing[name] = reason + _advice(name, estimates=spec.with_estimates)
            continue
        try:
            targets.compilers[name] = compile_check.select_compiler(name, devices, spec.timeout_s)
        except MissingError as error:
            targets.missing[name] = error.full_text
    require_devices(targets.names, targets.missing, strict=strict)
    return targets


def _advice(name: str, *, estimates: bool) -> str:
    """Return how to get estimates for an NPU that is not available; empty for other devices."""
    if not estimates and npu_platform(name) is not None:
        return f"; {OPTION} adds the compiler's latency estimate"
    if estimates and kind_of(name) == "NPU":
        return f"; for an estimate, give the platform: {offline.platform_names()}"
    return ""


@dataclass(frozen=True, slots=True)
class Estimator:
    """Compiles trials for devices that are not available (variants by id, compilers by device)."""

    variants: Mapping[str, Variant]
    environment: str
    compilers: Mapping[str, Compiler]
    observer: Observer

    def estimate(self, trials: Sequence[Trial]) -> list[Measurement]:
        """Return an estimate or a failure with its reason for each trial."""
        rows = []
        for trial in trials:
            self.observer.on_progress(MeasurementProgress(trial, "compiling for an estimate"))
            try:
                rows.append(self._estimate(trial))
            except (TrialFailedError, InputError) as error:
                rows.append(failed_measurement(trial, self.environment, str(error)))
        return rows

    def _estimate(self, trial: Trial) -> Measurement:
        if trial.open_loop:
            raise TrialFailedError(
                "an estimate covers one inference and no open loop; remove the rate"
            )
        variant = self.variants[trial.variant]
        job = jobs.prepare_job(trial, variant)
        if trial.batch > 1:
            job = replace(job, properties={**job.properties, **WHOLE_BATCH})
        compiler = self.compilers[trial.device]
        result = compile_check.check_compiles(job, trial.device, compiler, find_suspects=False)
        if not result.compiles:
            command = f"ovtool check {variant.folder} --device {trial.device}"
            raise TrialFailedError(
                f"the model does not compile: {result.error} ({command} finds the operations)"
            )
        if result.of_one_sample:
            raise TrialFailedError(
                "the plugin splits the batch; an estimate of the whole request is not available"
            )
        if result.compiler_estimate_ms is None:
            raise TrialFailedError(f"the model compiles, but {result.by} gives no estimate")
        figures = {
            "latency_estimate_ms": result.compiler_estimate_ms,
            "blob_mib": result.blob_mib,
            "trial_compile_ms": None if result.compile_s is None else 1000 * result.compile_s,
        }
        return Measurement(
            trial=trial,
            environment=self.environment,
            status="estimated",
            figures={name: value for name, value in figures.items() if value is not None},
            properties=dict(job.properties),
            notes=(
                make_note("estimate", f"{trial.device} by {result.by}, openvino {result.openvino}"),
            ),
            finished=utc_now(),
        )
