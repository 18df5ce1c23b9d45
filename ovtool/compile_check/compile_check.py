"""Checks whether a variant compiles for a device, also for an NPU that this machine does not have.

The only evidence is a trial compile: the operations that a plugin claims to support are not.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.benchmark import jobs
from ovtool.benchmark.session import TrialFailedError
from ovtool.compile_check import compiling, suspects
from ovtool.compile_check.compiling import COMPILE_S, LocalCompiler
from ovtool.compile_check.npu import offline
from ovtool.core import units
from ovtool.core.device_names import KINDS, is_virtual, kind_of, npu_platform
from ovtool.core.errors import InputError, MissingDeviceError
from ovtool.core.progress import SILENT, Progress
from ovtool.core.registry import suggestion
from ovtool.core.trial_grid import plan_trials, single_spec
from ovtool.core.variant import fix_shapes
from ovtool.devices import plugin_errors, rules
from ovtool.devices.discovery import discover, resolve
from ovtool.models.convert import ModelReference, load_variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import openvino as ov

    from ovtool.benchmark.session import Job
    from ovtool.compile_check.compiling import Compiler, Outcome
    from ovtool.compile_check.suspects import Search
    from ovtool.core.shapes import Named
    from ovtool.core.trial import Trial
    from ovtool.core.variant import Variant
    from ovtool.devices.discovery import Device

MODEL = "model.xml"


@dataclass(frozen=True, slots=True)
class CompileCheck:
    """The result of a trial compile.  Nothing was run.

    Args:
        variant: Name of the variant.
        device: Target device: ``CPU``, ``NPU.4000``.
        by: Description of the compiler.
        openvino: OpenVINO version of the compiler.
        shapes: Fixed input shapes by input name.
        precision: Requested precision.
        compiles: Whether the variant compiles.
        compile_s: Compile time; None after a failure.
        blob_mib: Size of the compiled model; None after a failure or without an export.
        compiler_estimate_ms: The compiler's own estimate of the latency of one inference, not a
            measurement; None where the compiler estimates nothing.
        of_one_sample: Whether the plugin splits batches: size and estimate are of one sample.
        error: Meaning of the failure; empty where the variant compiles.
        remedy: What to do about the failure.
        compiler_error: The compiler's own error.
        search: The suspected operations; None where the variant compiles or the error does not
            concern operations.
    """

    variant: str
    device: str
    by: str
    openvino: str
    shapes: Named
    precision: str
    compiles: bool
    compile_s: float | None = None
    blob_mib: float | None = None
    compiler_estimate_ms: float | None = None
    of_one_sample: bool = False
    error: str = ""
    remedy: str = ""
    compiler_error: str = ""
    search: Search | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the check as JSON types."""
        return asdict(self) | {"shapes": {name: list(shape) for name, shape in self.shapes}}


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """A model to compile.

    Args:
        variant: Name of the variant.
        xml: The saved model.
        shapes: Fixed input shapes by name, in the order of the inputs.
        precision: Requested precision.
        properties: OpenVINO properties.
    """

    variant: str
    xml: Path
    shapes: Named
    precision: str
    properties: Mapping[str, str]


def check(
    model: ModelReference,
    *,
    devices: Sequence[str] = ("CPU",),
    batch: int | None = None,
    precision: str = "default",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    timeout_s: float = 600.0,
    progress: Progress = SILENT,
) -> list[CompileCheck]:
    """Compile a variant for devices, including NPU platforms that this machine does not have.

    Nothing is run.  After a failure, parts of the graph are compiled to find the operations at
    fault.

    Args:
        model: A variant or its folder.
        devices: ``CPU``, ``GPU``, ``NPU``, or NPU platforms: ``NPU.3720``, ``NPU.4000`` ...
        batch: Samples per request; None takes the batch of ``shapes``, else 1.
        precision: Requested inference precision.
        shapes: Input shapes for the model's open dimensions.
        timeout_s: Time limit of one trial compile.
        progress: Receives the stages.

    Returns:
        One check per device.

    Raises:
        InputError: A dimension stays open, the model does not support the batch or the shapes, or a
            device name is unknown.
        MissingDeviceError: A device is not available.
        MissingDependencyError: The offline NPU compiler is not installed.
    """
    variant = load_variant(model)
    spec = single_spec(batch=batch, precision=precision, shapes=shapes)
    names = list(dict.fromkeys(devices))
    requests = {t.device: _trial_request(t, variant) for t in plan_trials([variant], names, spec)}
    discovered = discover()
    compilers = {name: select_compiler(name, discovered, timeout_s) for name in names}
    return [
        check_compiles(requests[name], name, compilers[name], progress=progress) for name in names
    ]


def _trial_request(trial: Trial, variant: Variant) -> CompileRequest:
    jobs.require_fixed_shapes(trial, variant, "a trial compile")
    try:
        job = jobs.build_job(trial, variant, rules.trial_properties(trial))
    except TrialFailedError as error:
        raise InputError(str(error)) from error
    return build_request(job, variant)


def build_request(job: Job, variant: Variant) -> CompileRequest:
    """Return the trial compile of a job whose shapes are all fixed."""
    shapes = tuple(zip(job.names, job.shapes, strict=True))
    return CompileRequest(variant.name, variant.xml, shapes, job.trial.precision, job.properties)


def select_compiler(
    device: str, devices: Sequence[Device], timeout_s: float = COMPILE_S
) -> Compiler:
    """Return the compiler for a device: its plugin on this machine, or the offline NPU compiler.

    Args:
        device: ``CPU``, ``GPU.0``, ``NPU``, or an NPU platform such as ``NPU.4000``.
        devices: The devices of this machine.
        timeout_s: Time limit of one compile.

    Raises:
        InputError: The device is virtual or unknown.
        MissingDeviceError: The device is not available.
        MissingDependencyError: The offline NPU compiler is not installed.
    """
    if is_virtual(device):
        raise InputError(
            f"{device} may compile on another device, so its result is no evidence",
            f"check each device behind it: {', '.join(KINDS)}, NPU.4000",
        )
    platform = npu_platform(device)
    if platform is not None:
        return _select_npu_compiler(platform, devices, timeout_s)
    available, missing = resolve([device], devices)
    if missing:
        hint = "ovtool devices lists the available devices"
        if kind_of(device) == "NPU":
            hint = f"without an NPU, name a platform: {offline.platform_names()}"
        raise MissingDeviceError(f"not available: {device}: {missing[device]}", hint)
    return LocalCompiler(available[0], timeout_s=timeout_s)


def _select_npu_compiler(platform: str, devices: Sequence[Device], timeout_s: float) -> Compiler:
    if platform not in offline.PLATFORMS:
        names = [f"NPU.{known}" for known in offline.PLATFORMS]
        raise InputError(f"unknown NPU platform {platform!r}", suggestion(f"NPU.{platform}", names))
    for device in devices:
        local = str(device.properties.get("architecture", "")) if device.available else ""
        if device.kind == "NPU" and local == platform:
            return LocalCompiler(device.name, timeout_s=timeout_s)
    return offline.compiler(platform, timeout_s)


def check_compiles(
    request: CompileRequest,
    device: str,
    compiler: Compiler,
    *,
    find_suspects: bool = True,
    progress: Progress = SILENT,
) -> CompileCheck:
    """Compile a model for a device, and search a failure's suspects.

    Args:
        request: The model.
        device: The target device, by the user's name.
        compiler: From :func:`select_compiler`.
        find_suspects: Whether to search the operations at fault, which takes more compiles.
        progress: Receives the stages.

    Raises:
        InputError: The shapes do not fit the model.
    """
    import openvino as ov

    model = ov.Core().read_model(request.xml)
    fix_shapes(model, request.shapes, request.variant)
    with tempfile.TemporaryDirectory(prefix="ovtool-check-") as scratch:

        def compile_part(part: ov.Model) -> Outcome:
            ov.save_model(part, Path(scratch) / MODEL, compress_to_fp16=False)
            outcome = compiler.compile(Path(scratch) / MODEL, request.properties)
            progress.advance()
            return outcome

        with compiler:
            progress.start(f"compiling {request.variant} for {device}")
            outcome = compile_part(model)
            explanation = compiling.explain(outcome)
            search = None
            if find_suspects and not outcome.compiled and explanation.operations:
                progress.start(f"searching for the operations that fail on {device}")
                search = suspects.search(model, compile_part)
    result = CompileCheck(
        variant=request.variant,
        device=device,
        by=compiler.by,
        openvino=outcome.version,
        shapes=request.shapes,
        precision=request.precision,
        compiles=outcome.compiled,
        compile_s=outcome.compile_s,
        blob_mib=None if outcome.blob_bytes is None else units.mib(outcome.blob_bytes),
        compiler_estimate_ms=outcome.estimate_ms,
        of_one_sample=outcome.of_one_sample,
    )
    if outcome.compiled:
        return result
    return replace(
        result,
        error=explanation.meaning,
        remedy=explanation.remedy,
        compiler_error=plugin_errors.condense(outcome.error, 300),
        search=search,
    )
