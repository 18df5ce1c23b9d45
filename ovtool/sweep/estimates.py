"""Estimates for NPUs that are not here: trial compiles by their own compiler, as rows of a sweep.

Nothing is run.  What such a row has is the compiler's estimate of one inference, in a column of its
own; no throughput is derived from it, and the row's status and device say what it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ovtool.benchmark import jobs
from ovtool.benchmark.engine import MeasurementProgress, failed_measurement, utc_now
from ovtool.benchmark.session import TrialFailedError
from ovtool.compile_check import compile_check
from ovtool.compile_check.compile_check import build_request
from ovtool.compile_check.npu import offline
from ovtool.core.device_names import kind_of, npu_platform
from ovtool.core.errors import InputError, MissingError
from ovtool.core.measurement import Measurement
from ovtool.core.notes import make_note
from ovtool.devices import discovery
from ovtool.devices.selection import require_devices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovtool.compile_check.compiling import Compiler
    from ovtool.core.sweep_spec import SweepSpec
    from ovtool.core.trial import Trial
    from ovtool.core.variant import Variant
    from ovtool.sweep.measurer import Observer

OPTION = "--with-estimates"
WHOLE_BATCH = {"NPU_BATCH_MODE": "COMPILER"}
"""Without it the NPU's plugin compiles a batch for one sample, and so would the estimate be."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What became of the devices that a sweep asks for.

    Args:
        there: Those to measure on.
        compilers: Those to estimate for, each with what compiles for it.
        missing: The others, and why.
    """

    there: list[str]
    compilers: dict[str, Compiler] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """All that get rows, the measured ones first."""
        return [*self.there, *self.compilers]


def targets(spec: SweepSpec, *, strict: bool) -> Targets:
    """Sort the devices asked for into those to measure on, to estimate for, and neither.

    Args:
        spec: Devices, and whether a compiler's estimates replace an NPU that is not available;
            an NPU that is not available is named by its platform.
        strict: Whether a device without rows is an error.

    Raises:
        InputError: A name is none of OpenVINO's, or no NPU platform.
        MissingDeviceError: None gets rows, or ``strict`` and one gets none.
    """
    here = discovery.discover()
    there, missing = discovery.resolve(spec.devices, here)
    found = Targets(there)
    for name, why in missing.items():
        platform = npu_platform(name)
        if not spec.with_estimates or platform is None:
            found.missing[name] = why + _advice(name, estimates=spec.with_estimates)
            continue
        try:
            found.compilers[name] = compile_check.select_compiler(name, here, spec.timeout_s)
        except MissingError as error:
            found.missing[name] = f"{error}: {error.hint}" if error.hint else str(error)
    require_devices(found.names, found.missing, strict=strict)
    return found


def _advice(name: str, *, estimates: bool) -> str:
    """Say how there could be estimates for an NPU that is not here; empty for other devices."""
    if not estimates and npu_platform(name) is not None:
        return f"; {OPTION} has its compiler estimate the latency"
    if estimates and kind_of(name) == "NPU":
        return f"; for an estimate name the platform: {offline.platform_names()}"
    return ""


@dataclass(frozen=True, slots=True)
class Estimator:
    """Compiles trials for devices that are not here.

    Args:
        variants: By id.
        environment: Id of the environment, for the rows.
        compilers: By device.
        observer: Told of each trial before it is compiled.
    """

    variants: Mapping[str, Variant]
    environment: str
    compilers: Mapping[str, Compiler]
    observer: Observer

    def rows(self, trials: Sequence[Trial]) -> list[Measurement]:
        """Return the row of each trial: an estimate, or why there is none."""
        made = []
        for trial in trials:
            self.observer.progressed(MeasurementProgress(trial, "compiling for an estimate"))
            try:
                made.append(self._estimated(trial))
            except (TrialFailedError, InputError) as error:
                made.append(failed_measurement(trial, self.environment, str(error)))
        return made

    def _estimated(self, trial: Trial) -> Measurement:
        if trial.open_loop:
            raise TrialFailedError(
                "an estimate is of one inference by itself: nothing can be said of requests that"
                " arrive on their own"
            )
        variant = self.variants[trial.variant]
        job = jobs.prepare_job(trial, variant)
        if trial.batch > 1:
            job = replace(job, properties={**job.properties, **WHOLE_BATCH})
        asked = build_request(job, variant)
        compiler = self.compilers[trial.device]
        found = compile_check.check_compiles(asked, trial.device, compiler, find_suspects=False)
        if not found.compiles:
            command = f"ovtool check {variant.folder} --device {trial.device}"
            raise TrialFailedError(
                f"it does not compile: {found.error} ({command} looks for the operations)"
            )
        if found.of_one_sample:
            raise TrialFailedError(
                "the plugin splits the batch, so the compiler says nothing of a whole request"
            )
        if found.compiler_estimate_ms is None:
            raise TrialFailedError(f"it compiles, and {found.by} makes no estimate")
        figures = {
            "latency_estimate_ms": found.compiler_estimate_ms,
            "blob_mib": found.blob_mib,
            "trial_compile_ms": None if found.compile_s is None else 1000 * found.compile_s,
        }
        return Measurement(
            trial=trial,
            environment=self.environment,
            status="estimated",
            figures={name: value for name, value in figures.items() if value is not None},
            properties=dict(asked.properties),
            notes=(
                make_note("estimate", f"{trial.device} by {found.by}, openvino {found.openvino}"),
            ),
            finished=utc_now(),
        )
