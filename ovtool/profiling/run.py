"""The verb ``profile``: time and executed precision of each layer of a compiled model."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.benchmark import windows
from ovtool.charts.layer_report import LayerFiles, draw_profile, write_layer_report
from ovtool.core import files, temporary, units
from ovtool.core.device_names import mark_device
from ovtool.core.errors import InputError
from ovtool.core.notes import Note, make_note
from ovtool.core.progress import SILENT, Progress
from ovtool.core.tabular import Tabular
from ovtool.core.terminal import shows_progress
from ovtool.datasets.spec import DataSpec, as_data_spec
from ovtool.devices.discovery import find_caveats, select_available
from ovtool.graph import runtime
from ovtool.models.convert import ModelReference, load_or_convert_next_to
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
"""Maximum time of everything except the inferences."""
SHOWN_ELSEWHERE = ("executed-layers", "int8-fallback")
"""Ids of the notes whose content a profile prints in other words."""


@dataclass(frozen=True, slots=True, repr=False)
class Profile(Tabular):
    """Time and precision of each layer of a compiled model; unknown figures are None.

    ``latency_ms`` is the mean of a request without counters.  ``latency_counted_ms`` is the mean of
    the ``inferences`` with counters; the layer times are parts of it.  ``attributed`` is the share
    of the FLOPs that is attributed to layers.  ``layers`` has the slowest first.
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
        """Time of all layers per request."""
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
        return runtime.compute_precision_shares(self.layers, "flops")

    @property
    def time_shares(self) -> dict[str, float]:
        """Share of the layers' time by precision."""
        return runtime.compute_precision_shares(self.layers, "time")

    @property
    def fallbacks(self) -> list[Layer]:
        """Layers of an INT8 model that execute in another precision, most FLOPs first."""
        return runtime.find_fallbacks(self.layers)

    def _roofline_of(self, name: str) -> dict[str, Any]:
        """Return the roofline figures of a layer; empty without a roofline."""
        return {} if self.roofline is None else asdict(self.roofline.layers[name])

    def _title(self) -> str:
        where = f"{self.variant} on {self.device} in {self.executed_precision or self.precision}"
        return f"{where}, batch {self.batch}: {units.text(self.latency_ms)} ms per request"

    def _rows(self) -> list[dict[str, Any]]:
        return self.rows()

    def rows(self) -> list[dict[str, Any]]:
        """Return the layers as rows of a table, the slowest first."""
        return [asdict(row) | self._roofline_of(row.name) for row in self.by_layer]

    def to_json(self) -> dict[str, Any]:
        """Return the profile as JSON types."""
        document = asdict(replace(self, roofline=None))
        del document["files"]
        if self.roofline is not None:
            document["roofline"] = self.roofline.to_json()
        for layer, row in zip(document["layers"], self.by_layer, strict=True):
            figures = {"share_pct": row.share_pct, "gflops_per_s": row.gflops_per_s}
            layer.update(figures | self._roofline_of(row.name))
        return document | {
            "layers_ms": self.layers_ms,
            "by_kind": [
                {k: v for k, v in asdict(row).items() if k not in ("name", "label", "primitive")}
                for row in self.by_kind
            ],
            "flops_shares": self.flops_shares,
            "time_shares": self.time_shares,
            "fallbacks": [layer.name for layer in self.fallbacks],
        }


@shows_progress()
def profile(
    model: ModelReference,
    *,
    device: str = "CPU",
    batch: int | None = None,
    precision: str = "default",
    hint: str = "latency",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    data: DataSpec | str | None = None,
    seconds: float = 2.0,
    out: str | Path | None = None,
    roofline: bool = False,
    progress: Progress = SILENT,
    force: bool = False,
) -> Profile:
    """Measure the time of each layer of a model on a device, one request at a time.

    Args:
        model: A variant, its folder, or a model that :func:`ovtool.api.convert` reads; it is
            converted into ``<out>-source`` next to ``out``, or temporarily.
        device: Name of the device.
        batch: Samples per request; None: the batch in ``shapes``, the model's fixed batch, or 1.
        precision: Requested inference precision.
        hint: Performance hint; under ``throughput`` a request has the threads of one stream.
        shapes: Input shapes for the model's open dimensions.
        data: Samples of the request; None: random inputs.
        seconds: Measuring time with counters; half as long without counters.
        out: Folder for a table, a document and charts.
        roofline: Whether to compare each layer with the device's calibration.
        progress: Receives the stages.
        force: Whether an existing folder may be replaced.

    Raises:
        InputError: The model does not run with these settings, the worker failed, or a roofline is
            requested under a hint without calibration.
        MissingError: The device is not available, or not calibrated.
    """
    from ovtool.core.trial_grid import plan_inferences, single_spec
    from ovtool.roofline.predict import compare_with_roofline

    spec = single_spec(batch=batch, precision=precision, hint=hint, shapes=shapes)
    devices, _ = select_available([device], strict=True)
    calibration = _calibration(devices[0], hint) if roofline else None
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(temporary.scratch_folder("profile"))
        folder = stack.enter_context(files.new_folder(Path(out), force)) if out else None
        variant = load_or_convert_next_to(model, Path(out) if out else None, scratch, progress)
        (trial,) = plan_inferences([variant], devices, spec)
        measured = _measure(trial, variant, data, seconds, scratch, progress)
        if calibration is not None:
            comparison = compare_with_roofline(measured.layers, calibration)
            measured = dataclasses.replace(measured, roofline=comparison)
        return measured if folder is None or out is None else _write(measured, folder, Path(out))


def _measure(
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
        session = runner.open(with_inputs(job, variant, data, scratch, progress))
        with contextlib.closing(session):
            progress.close()
            return _build_profile(trial, session.info, session.profile(seconds))
    except TrialFailedError as error:
        raise InputError(f"{trial.label}: {error}") from error


def _calibration(device: str, hint: str) -> Calibration:
    from ovtool.roofline.predict import HINT, require_calibration

    if hint != HINT:
        raise InputError(f"no roofline under the hint {hint}", f"use --hint {HINT}")
    return require_calibration(device)


def with_inputs(
    job: Job, variant: Variant, data: DataSpec | str | None, scratch: Path, progress: Progress
) -> Job:
    """Return a job with the first samples of the data as its request."""
    from ovtool.evaluation.evaluator import write_request

    if data is None:
        return job
    samples = as_data_spec(data).load(variant, progress)
    return replace(job, inputs=write_request(samples, job, scratch / "request.npz"))


def _build_profile(trial: Trial, info: CompiledInfo, measured: WorkerProfile) -> Profile:
    caveat = find_caveats([trial.device]).get(trial.device)
    return Profile(
        variant=trial.variant_name,
        device=mark_device(trial.device) if caveat else trial.device,
        precision=trial.precision,
        executed_precision=info.executed_precision,
        batch=trial.batch,
        load=trial.load,
        latency_ms=measured.latency_ms,
        latency_counted_ms=measured.latency_counted_ms,
        inferences=measured.inferences,
        gflops=info.figures.get("gflops"),
        attributed=measured.attributed,
        others_cpu_pct=measured.others_cpu_pct,
        layers=tuple(sorted(measured.layers, key=lambda layer: -(layer.time_ms or 0.0))),
        notes=(
            *(note for note in info.notes if note.id not in SHOWN_ELSEWHERE),
            *contended_notes(measured.others_cpu_pct),
            *([caveat] if caveat else []),
        ),
    )


def contended_notes(others_cpu_pct: float | None) -> list[Note]:
    """Return a note if other processes used a relevant share of the machine."""
    if others_cpu_pct is None or others_cpu_pct <= 100 * windows.OTHERS_SHARE:
        return []
    return [make_note("contended", f"{others_cpu_pct:.0f}% of the machine")]


def _write(measured: Profile, folder: Path, target: Path) -> Profile:
    """Write the files into a folder that will be renamed to ``target``."""
    rows = measured.rows()
    columns = [name for name in breakdown.Slice.__slots__ if name != "layers"]
    if measured.roofline is not None:
        from ovtool.roofline.predict import LayerRoofline

        columns += LayerRoofline.__slots__
    document = measured.to_json()
    parts = write_layer_report(
        folder, target, "profile", document, rows, columns, draw_profile(document, rows)
    )
    return replace(measured, files=parts)
