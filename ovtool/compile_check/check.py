"""The verb that asks whether a variant compiles for a device, and the NPU's offline compiler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.benchmark import job_rules as preparing
from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT, Progress
from ovtool.models.references import Reference, existing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ovtool.benchmark.session import Job
    from ovtool.compile_check.npu.install import Offer
    from ovtool.compile_check.trial_compiles import CompileCheck, Request
    from ovtool.core.trial import Trial
    from ovtool.core.variant import Variant


def check(
    model: Reference,
    *,
    devices: Sequence[str] = ("CPU",),
    batch: int | None = None,
    precision: str = "default",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    timeout_s: float = 600.0,
    progress: Progress = SILENT,
) -> list[CompileCheck]:
    """Compile a variant for devices, also for NPUs that are not here, and say what came of it.

    Nothing is run.  Where it does not compile, parts of its graph are compiled to find the
    operations that are at fault.

    Args:
        model: A variant or its folder.
        devices: ``CPU``, ``GPU``, ``NPU``, or NPU platforms: ``NPU.3720``, ``NPU.4000`` ...
        batch: Samples in a request; None takes the batch in ``shapes``, else 1.
        precision: Inference precision asked for.
        shapes: Of inputs, where the model leaves dimensions open.
        timeout_s: Longest time of one trial compile.
        progress: Told of the stages.

    Returns:
        An answer for each device.

    Raises:
        InputError: A dimension stays open, the model does not take the batch or the shapes, or a
            name is no device's.
        MissingDeviceError: A device is not there.
        MissingDependencyError: The NPU's offline compiler is not installed.
    """
    from ovtool.compile_check import trial_compiles as compile_check
    from ovtool.core.trial_grid import Axes, trials
    from ovtool.devices.discovery import discover

    variant = existing(model)
    axes = Axes(
        batches=None if batch is None else [batch],
        hints=["latency"],
        precisions=[precision],
        shapes=[shapes] if shapes else (),
    )
    names = list(dict.fromkeys(devices))
    asked = {trial.device: _request(trial, variant) for trial in trials([variant], names, axes)}
    here = discover()
    compilers = {name: compile_check.compiler_for(name, here, timeout_s) for name in names}
    return [
        compile_check.check(asked[name], name, compilers[name], progress=progress) for name in names
    ]


def requested(job: Job, variant: Variant) -> Request:
    """Return what a trial compile of a job is asked for; all its shapes must be fixed."""
    from ovtool.compile_check.trial_compiles import Request

    shapes = tuple(zip(job.names, job.shapes, strict=True))
    return Request(variant.name, variant.xml, shapes, job.trial.precision, job.properties)


def _request(trial: Trial, variant: Variant) -> Request:
    from ovtool.benchmark import jobs
    from ovtool.benchmark.session import TrialFailedError
    from ovtool.devices import rules

    preparing.refuse_open(trial, variant, "a trial compile")
    try:
        job = jobs.job(trial, variant, rules.properties(trial))
    except TrialFailedError as error:
        raise InputError(str(error)) from error
    return requested(job, variant)


def npu_compiler_folder() -> Path | None:
    """Return where the NPU's offline compiler is installed; None where it is not."""
    from ovtool.compile_check.npu.offline import installed

    return installed()


def npu_compiler_offer() -> Offer:
    """Look up what :func:`install_npu_compiler` would download, from where, and how large it is.

    Raises:
        MissingDependencyError: Wine or pip is not there.
        InputError: There is nothing to install, or pip does not find the packages.
    """
    from ovtool.compile_check.npu.install import offer

    return offer()


def install_npu_compiler(
    offer: Offer, *, progress: Progress = SILENT, replace: bool = False
) -> Path:
    """Download, build and try the NPU's offline compiler; return its folder.

    Raises:
        InputError: It is there already, a download fails, or the result does not run.
    """
    from ovtool.compile_check.npu.install import install

    return install(offer, progress=progress, replace=replace)
