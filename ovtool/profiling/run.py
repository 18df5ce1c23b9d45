"""The verb that looks into one compiled model: where its time goes, and in what precision."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.benchmark import windows
from ovtool.charts.layer_report import LayerFiles, draw_profile, write_layer_report
from ovtool.core import files
from ovtool.core.device_names import mark_device
from ovtool.core.errors import InputError
from ovtool.core.notes import Note, make_note
from ovtool.core.progress import SILENT, Progress
from ovtool.datasets.spec import DataSpec
from ovtool.devices.selection import find_emulated, select_available
from ovtool.graph import runtime
from ovtool.models.references import Reference, variant_beside
from ovtool.profiling import breakdown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovtool.benchmark.session import CompiledInfo, Job
    from ovtool.benchmark.worker_protocol import WorkerProfile
    from ovtool.core.trial import Trial
    from ovtool.core.variant import Variant
    from ovtool.graph.runtime import Layer
    from ovtool.profiling.breakdown import Slice
    from ovtool.roofline.calibration import Calibration
    from ovtool.roofline.predict import RooflineComparison

COMPILE_S = 300.0
"""Longest time for all but the inferences."""
_SHOWN_ELSEWHERE = ("executed-layers", "int8-fallback")


@dataclass(frozen=True, slots=True)
class Profile:
    """What :func:`profile` found.

    Args:
        variant: Its name.
        device: Where it ran.
        precision: What was asked for.
        executed_precision: What the compiled model says it runs in.
        batch: Samples in a request.
        load: The hint.
        latency_ms: Mean of one request without counters.
        latency_counted_ms: The same with counters: the layers' times are parts of this.
        inferences: Requests with counters.
        gflops: Arithmetic of one sample; None where it cannot be told.
        attributed: Share of the known FLOPs that some layer is known to do.
        others_cpu_pct: Share of the machine that others took meanwhile; None where not told.
        layers: Those that ran, the slowest first.
        notes: What else is worth knowing.
        files: What was written; None without a folder.
        roofline: What the device's calibration says of it; None where that was not asked for.
    """

    variant: str
    device: str
    precision: str
    executed_precision: str | None
    batch: int
    load: str
    latency_ms: float
    latency_counted_ms: float
    inferences: int
    gflops: float | None
    attributed: float | None
    others_cpu_pct: float | None
    layers: tuple[Layer, ...]
    notes: tuple[Note, ...] = ()
    files: LayerFiles | None = None
    roofline: RooflineComparison | None = None

    @property
    def layers_ms(self) -> float:
        """Time of all layers, of one request."""
        return sum(layer.time_ms or 0.0 for layer in self.layers)

    @property
    def by_layer(self) -> list[Slice]:
        """A row for each layer, the slowest first."""
        return breakdown.by_layer(self.layers)

    @property
    def by_kind(self) -> list[Slice]:
        """A row for each type and precision, the slowest first."""
        return breakdown.by_kind(self.layers)

    @property
    def flops_shares(self) -> dict[str, float]:
        """Share of the FLOPs by precision."""
        return runtime.precision_shares(self.layers, "flops")

    @property
    def time_shares(self) -> dict[str, float]:
        """Share of the layers' time by precision."""
        return runtime.precision_shares(self.layers, "time")

    @property
    def fallbacks(self) -> list[Layer]:
        """Layers of an INT8 model that compute in something else, most FLOPs first."""
        return runtime.find_fallbacks(self.layers)

    def _limits(self, name: str) -> dict[str, Any]:
        """Return a layer's limits; empty where they were not asked for."""
        return {} if self.roofline is None else asdict(self.roofline.layers[name])

    def rows(self) -> list[dict[str, Any]]:
        """Return the layers as rows of a table, the slowest first."""
        return [asdict(row) | self._limits(row.name) for row in self.by_layer]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        found = asdict(replace(self, roofline=None))
        del found["files"]
        if self.roofline is not None:
            found["roofline"] = self.roofline.to_json()
        for layer, row in zip(found["layers"], self.by_layer, strict=True):
            told = {"share_pct": row.share_pct, "gflops_per_s": row.gflops_per_s}
            layer.update(told | self._limits(row.name))
        return found | {
            "layers_ms": self.layers_ms,
            "by_kind": [
                {k: v for k, v in asdict(row).items() if k not in ("name", "label", "primitive")}
                for row in self.by_kind
            ],
            "flops_shares": self.flops_shares,
            "time_shares": self.time_shares,
            "fallbacks": [layer.name for layer in self.fallbacks],
        }


def profile(
    model: Reference,
    *,
    device: str = "CPU",
    batch: int = 1,
    precision: str = "default",
    hint: str = "latency",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    data: DataSpec | str | None = None,
    seconds: float = 2.0,
    out: str | Path | None = None,
    roofline: bool = False,
    progress: Progress = SILENT,
    replace: bool = False,
) -> Profile:
    """Time each layer of a model on a device, one request at a time, in a process of its own.

    Args:
        model: A variant, its folder, or what :func:`ovtool.api.convert` takes: that is converted
            into ``<out>-source`` beside ``out``, or for this time only.
        device: Where to run.
        batch: Samples in a request.
        precision: Inference precision asked for.
        hint: Performance hint; under ``throughput`` a request has the threads of one stream.
        shapes: Dimensions of inputs that stay open otherwise.
        data: What the request carries; random inputs without it.
        seconds: How long to infer with counters; half of it goes to the same without them.
        out: Folder for a table, a document and charts.
        roofline: Whether each layer is set against what the device was calibrated to reach.
        progress: Told of the stages.
        replace: Whether a folder of that name may be replaced.

    Raises:
        InputError: The model cannot run so, or its process died or took too long; or a roofline is
            asked for under a hint that devices are not calibrated under.
        MissingError: The device is not there, or not calibrated.
    """
    from ovtool.core.trial_grid import plan_trials, single_spec

    spec = single_spec(batch=batch, precision=precision, hint=hint, shapes=shapes)
    there, _ = select_available([device], strict=True)
    known = _calibration(there[0], hint) if roofline else None
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ovtool-profile-")))
        folder = stack.enter_context(files.new_folder(Path(out), replace)) if out else None
        variant = variant_beside(model, Path(out) if out else None, scratch, progress)
        (trial,) = plan_trials([variant], there, spec)
        found = _profiled(trial, variant, data, seconds, scratch, progress)
        if known is not None:
            found = _compared(found, known)
        return found if folder is None or out is None else _written(found, folder, Path(out))


def _profiled(
    trial: Trial,
    variant: Variant,
    data: DataSpec | str | None,
    seconds: float,
    scratch: Path,
    progress: Progress,
) -> Profile:
    from ovtool.benchmark import jobs
    from ovtool.benchmark.process import ProcessRunner
    from ovtool.benchmark.session import TrialFailedError

    progress.start(f"profiling {variant.name} on {trial.device}")
    runner = ProcessRunner(timeout_s=COMPILE_S + 10 * seconds)
    try:
        job = jobs.prepare_job(trial, variant)
        session = runner.open(_with_inputs(job, variant, data, scratch, progress))
        with contextlib.closing(session):
            progress.close()
            return _made(trial, session.info, session.profile(seconds))
    except TrialFailedError as error:
        raise InputError(f"{trial.label}: {error}") from error


def _calibration(device: str, hint: str) -> Calibration:
    from ovtool.roofline import predict as predicting

    if hint != predicting.HINT:
        raise InputError(
            f"devices are calibrated under the {predicting.HINT} hint, not under {hint}",
            f"--hint {predicting.HINT}",
        )
    return predicting.require_calibration(device)


def _compared(found: Profile, known: Calibration) -> Profile:
    from ovtool.roofline import predict as predicting

    return replace(found, roofline=predicting.compare_with_roofline(found.layers, known))


def _with_inputs(
    job: Job, variant: Variant, data: DataSpec | str | None, scratch: Path, progress: Progress
) -> Job:
    from ovtool.evaluation.evaluator import write_request

    if data is None:
        return job
    spec = DataSpec(data) if isinstance(data, str) else data
    samples = spec.load(variant, progress)
    return replace(job, inputs=write_request(samples, job, scratch / "request.npz"))


def _made(trial: Trial, opened: CompiledInfo, told: WorkerProfile) -> Profile:
    played = bool(find_emulated([trial.device]))
    return Profile(
        variant=trial.variant_name,
        device=mark_device(trial.device) if played else trial.device,
        precision=trial.precision,
        executed_precision=opened.executed_precision,
        batch=trial.batch,
        load=trial.load,
        latency_ms=told.latency_ms,
        latency_counted_ms=told.latency_counted_ms,
        inferences=told.inferences,
        gflops=opened.figures.get("gflops"),
        attributed=told.attributed,
        others_cpu_pct=told.others_cpu_pct,
        layers=tuple(sorted(told.layers, key=lambda layer: -(layer.time_ms or 0.0))),
        notes=(
            *(note for note in opened.notes if note.id not in _SHOWN_ELSEWHERE),
            *_contended(told.others_cpu_pct),
            *([make_note("emulated", mark_device(trial.device))] if played else []),
        ),
    )


def _contended(others_cpu_pct: float | None) -> list[Note]:
    if others_cpu_pct is None or others_cpu_pct <= 100 * windows.OTHERS_SHARE:
        return []
    return [make_note("contended", f"{others_cpu_pct:.0f} % of the machine")]


def _written(found: Profile, folder: Path, target: Path) -> Profile:
    """Write the parts into a folder that will be called ``target``."""
    rows = found.rows()
    columns = [name for name in breakdown.Slice.__slots__ if name != "layers"]
    if found.roofline is not None:
        from ovtool.roofline.predict import LayerRoofline

        columns += LayerRoofline.__slots__
    told = found.to_json()
    parts = write_layer_report(
        folder, target, "profile", told, rows, columns, draw_profile(told, rows)
    )
    return replace(found, files=parts)
