"""Whether a model compiles for a device, by compiling it: what a device answers is no evidence."""

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
from ovtool.core.trial_grid import Axes, trials
from ovtool.core.variant import fix_shapes
from ovtool.devices import rules
from ovtool.devices.discovery import discover, resolve
from ovtool.models.references import Reference, existing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import openvino as ov

    from ovtool.benchmark.session import Job
    from ovtool.compile_check.compiling import Compiler, Outcome
    from ovtool.compile_check.npu.install import Offer
    from ovtool.compile_check.suspects import Search
    from ovtool.core.shapes import Named
    from ovtool.core.trial import Trial
    from ovtool.core.variant import Variant
    from ovtool.devices.discovery import Device
    from ovtool.devices.plugin_errors import Explained

MODEL = "model.xml"


@dataclass(frozen=True, slots=True)
class CompileCheck:
    """What a trial compile came to.  Nothing was run.

    Args:
        variant: Its name.
        device: What it was compiled for: ``CPU``, ``NPU.4000``.
        by: What compiled it, in words.
        openvino: Version of the OpenVINO that compiled.
        shapes: Input names with the fixed shapes it was compiled with.
        precision: What was asked for.
        compiles: The answer.
        compile_s: What compiling took; None where it failed.
        blob_mib: Size of the compiled model; None where it failed or the device exports none.
        compiler_estimate_ms: The compiler's own estimate of the latency of one inference: no
            measurement, nothing was run.  None where the compiler makes none.
        of_one_sample: Whether the plugin splits the batch: size and estimate are of one sample.
        error: What is wrong, in words; empty where it compiles.
        remedy: What to do about it.
        said: What the compiler said.
        search: The operations suspected; None where it compiles, or the error is not about them.
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
    said: str = ""
    search: Search | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self) | {"shapes": {name: list(shape) for name, shape in self.shapes}}


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """What is to be compiled.

    Args:
        variant: The variant's name.
        xml: The saved model.
        shapes: Of its inputs, by name and in their order, all fixed.
        precision: Asked for.
        properties: To compile with.
    """

    variant: str
    xml: Path
    shapes: Named
    precision: str
    properties: Mapping[str, str]


def select_compiler(
    device: str, devices: Sequence[Device], timeout_s: float = COMPILE_S
) -> Compiler:
    """Return what compiles for a device: its plugin here, or the NPU's offline compiler.

    Args:
        device: ``CPU``, ``GPU.0``, ``NPU``, or an NPU platform that need not be here: ``NPU.4000``.
        devices: Those of this machine.
        timeout_s: Longest time of one compile.

    Raises:
        InputError: It is a virtual device, or no device's name.
        MissingDeviceError: It is not there.
        MissingDependencyError: The NPU's offline compiler is not installed.
    """
    if is_virtual(device):
        raise InputError(
            f"{device} may compile on another device, which says nothing of this one",
            f"check the devices behind it, each by its name: {', '.join(KINDS)}, NPU.4000",
        )
    platform = npu_platform(device)
    if platform is not None:
        return _platform(platform, devices, timeout_s)
    there, missing = resolve([device], devices)
    if missing:
        hint = "ovtool devices says what is there"
        if kind_of(device) == "NPU":
            hint = f"without an NPU, name the platform to compile for: {offline.named()}"
        raise MissingDeviceError(f"not available: {device}: {missing[device]}", hint)
    return LocalCompiler(there[0], timeout_s=timeout_s)


def _platform(platform: str, devices: Sequence[Device], timeout_s: float) -> Compiler:
    if platform not in offline.PLATFORMS:
        named = [f"NPU.{known}" for known in offline.PLATFORMS]
        raise InputError(f"unknown NPU platform {platform!r}", suggestion(f"NPU.{platform}", named))
    for device in devices:
        here = str(device.properties.get("architecture", "")) if device.available else ""
        if device.kind == "NPU" and here == platform:
            return LocalCompiler(device.name, timeout_s=timeout_s)
    return offline.compiler(platform, timeout_s)


def check_compiles(
    asked: CompileRequest,
    device: str,
    compiler: Compiler,
    *,
    look: bool = True,
    progress: Progress = SILENT,
) -> CompileCheck:
    """Compile a model for a device; where it fails, look for the operations it fails on.

    Args:
        asked: What to compile.
        device: What it is compiled for, by the user's name.
        compiler: From :func:`compiler_for`.
        look: Whether operations are looked for where it fails, by more compiles.
        progress: Told of the stages.

    Raises:
        InputError: The shapes do not fit the model.
    """
    import openvino as ov

    model = ov.Core().read_model(asked.xml)
    fix_shapes(model, asked.shapes, asked.variant)
    with tempfile.TemporaryDirectory(prefix="ovtool-check-") as scratch:

        def compile_part(part: ov.Model) -> Outcome:
            ov.save_model(part, Path(scratch) / MODEL, compress_to_fp16=False)
            outcome = compiler.compile(Path(scratch) / MODEL, asked.properties)
            progress.advance()
            return outcome

        with compiler:
            progress.start(f"compiling {asked.variant} for {device}")
            outcome = compile_part(model)
            explained = compiling.explain(outcome.error)
            search = None
            if look and not outcome.compiled and explained.operations:
                progress.start(f"looking for what {device} does not compile")
                search = suspects.search(model, compile_part)
    found = CompileCheck(
        variant=asked.variant,
        device=device,
        by=compiler.by,
        openvino=outcome.version,
        shapes=asked.shapes,
        precision=asked.precision,
        compiles=outcome.compiled,
        compile_s=outcome.compile_s,
        blob_mib=None if outcome.blob_bytes is None else units.mib(outcome.blob_bytes),
        compiler_estimate_ms=outcome.estimate_ms,
        of_one_sample=outcome.of_one_sample,
    )
    return found if outcome.compiled else _failed(found, outcome, explained, search)


def _failed(
    found: CompileCheck,
    outcome: Outcome,
    explained: Explained,
    search: Search | None,
) -> CompileCheck:
    return replace(
        found,
        error=explained.meaning,
        remedy=explained.remedy,
        said=compiling.condense(outcome.error),
        search=search,
    )


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
    compilers = {name: select_compiler(name, here, timeout_s) for name in names}
    return [check_compiles(asked[name], name, compilers[name], progress=progress) for name in names]


def build_request(job: Job, variant: Variant) -> CompileRequest:
    """Return what a trial compile of a job is asked for; all its shapes must be fixed."""
    shapes = tuple(zip(job.names, job.shapes, strict=True))
    return CompileRequest(variant.name, variant.xml, shapes, job.trial.precision, job.properties)


def _request(trial: Trial, variant: Variant) -> CompileRequest:
    jobs.require_fixed_shapes(trial, variant, "a trial compile")
    try:
        job = jobs.build_job(trial, variant, rules.properties(trial))
    except TrialFailedError as error:
        raise InputError(str(error)) from error
    return build_request(job, variant)


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
