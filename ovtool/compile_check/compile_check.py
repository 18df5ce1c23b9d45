"""Checks whether a variant compiles for a device, also for an NPU that this machine does not have.

The only evidence is a trial compile: the operations that a plugin claims to support are not.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ovtool.benchmark import jobs
from ovtool.benchmark.session import TrialFailedError
from ovtool.compile_check import compiling, suspects
from ovtool.compile_check.compiling import COMPILE_S, LocalCompiler
from ovtool.compile_check.npu import offline
from ovtool.core import temporary, units
from ovtool.core.device_names import KINDS, is_virtual, kind_of, normalize, npu_platform
from ovtool.core.errors import InputError, MissingDeviceError
from ovtool.core.ports import fix_shapes
from ovtool.core.progress import SILENT, Progress
from ovtool.core.registry import suggestion
from ovtool.core.shapes import shapes_text
from ovtool.core.tabular import Tabular, TabularList
from ovtool.core.terminal import shows_progress
from ovtool.core.third_party import condense, read_graph
from ovtool.core.trial_grid import plan_inferences, single_spec
from ovtool.devices import rules
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


@dataclass(frozen=True, slots=True, repr=False)
class CompileCheck(Tabular):
    """The result of a trial compile.  Nothing was run.

    Args:
        device: Target device, such as ``NPU.4000``.
        by: Description of the compiler.
        openvino: OpenVINO version of the compiler.
        shapes: Fixed input shapes by input name.
        precision: Requested precision.
        compile_s: None after a failure.
        blob_mib: Size of the compiled model; None after a failure or without an export.
        compiler_estimate_ms: The compiler's own estimate of the latency of one inference, not a
            measurement; None where the compiler estimates nothing.
        of_one_sample: Whether the plugin splits batches: size and estimate are of one sample.
        error: Meaning of the failure.
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

    def _title(self) -> str:
        verdict = "compiles" if self.compiles else f"does not compile: {self.error}"
        return f"{self.variant} on {self.device} {verdict}"

    def _rows(self) -> list[dict[str, Any]]:
        row = asdict(self) | {"shapes": shapes_text(self.shapes)}
        del row["search"]
        return [row]

    def to_json(self) -> dict[str, Any]:
        """Return the check as JSON types."""
        return asdict(self) | {"shapes": {name: list(shape) for name, shape in self.shapes}}


@shows_progress()
def check(
    model: ModelReference,
    *,
    devices: Sequence[str] = ("CPU",),
    batch: int | None = None,
    precision: str = "default",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    timeout_s: float = 600.0,
    progress: Progress = SILENT,
) -> TabularList[CompileCheck]:
    """Compile a variant for devices, including NPU platforms that this machine does not have.

    Nothing is run.  After a failure, parts of the graph are compiled to find the operations at
    fault.  ``devices`` may name NPU platforms: ``NPU.3720``, ``NPU.4000`` ...  Without ``batch``,
    it is the batch in ``shapes``, the model's fixed batch, or 1.  ``timeout_s`` limits one trial
    compile.

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
    names = list(dict.fromkeys(map(normalize, devices)))
    trial_jobs = {t.device: _build_job(t, variant) for t in plan_inferences([variant], names, spec)}
    discovered = discover()
    compilers = {name: select_compiler(name, discovered, timeout_s) for name in names}
    return TabularList(
        check_compiles(trial_jobs[name], name, compilers[name], progress=progress) for name in names
    )


def _build_job(trial: Trial, variant: Variant) -> Job:
    jobs.require_fixed_shapes(trial, variant, "a trial compile")
    try:
        return jobs.build_job(trial, variant, rules.trial_properties(trial))
    except TrialFailedError as error:
        raise InputError(str(error)) from error


def select_compiler(
    device: str, devices: Sequence[Device], timeout_s: float = COMPILE_S
) -> Compiler:
    """Return the compiler for a device: its plugin on this machine, or the offline NPU compiler.

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
    job: Job,
    device: str,
    compiler: Compiler,
    *,
    find_suspects: bool = True,
    progress: Progress = SILENT,
) -> CompileCheck:
    """Compile a job's model for a device, and search a failure's suspects.

    The job's shapes are all fixed.  The search for the operations at fault takes more compiles.
    A compiler that crashes is started once more.

    Raises:
        InputError: The shapes do not fit the model.
    """
    import openvino as ov

    name, shapes = job.trial.variant_name, tuple(zip(job.names, job.shapes, strict=True))
    model = read_graph(job.xml)
    fix_shapes(model, shapes, name)
    with temporary.scratch_folder("check") as scratch:

        def compile_part(part: ov.Model) -> Outcome:
            ov.save_model(part, scratch / MODEL, compress_to_fp16=False)
            outcome = compiler.compile(scratch / MODEL, job.properties)
            if outcome.failure == "died":  # of the model, or of the machine's load: try once more
                outcome = compiler.compile(scratch / MODEL, job.properties)
            progress.advance()
            return outcome

        with compiler:
            progress.start(f"compiling {name} for {device}")
            outcome = compile_part(model)
            explanation = None if outcome.compiled else compiling.explain(outcome)
            search = None
            if find_suspects and explanation and explanation.operations:
                progress.start(f"searching for the operations that fail on {device}")
                search = suspects.search(model, compile_part)
    return CompileCheck(
        variant=name,
        device=device,
        by=compiler.by,
        openvino=outcome.version,
        shapes=shapes,
        precision=job.trial.precision,
        compiles=outcome.compiled,
        compile_s=outcome.compile_s,
        blob_mib=None if outcome.blob_bytes is None else units.mib(outcome.blob_bytes),
        compiler_estimate_ms=outcome.estimate_ms,
        of_one_sample=outcome.of_one_sample,
        error=explanation.meaning if explanation else "",
        remedy=explanation.remedy if explanation else "",
        compiler_error=condense(outcome.error, 300),
        search=search,
    )
