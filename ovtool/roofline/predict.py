"""Predictions from a calibration: the latency of a model, and the limit of each layer."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ovtool.benchmark.session import TrialFailedError
from ovtool.core import temporary
from ovtool.core.errors import InputError, MissingError
from ovtool.core.notes import Note, make_note
from ovtool.core.progress import SILENT, Progress
from ovtool.core.terminal import shows_progress
from ovtool.devices.discovery import describe_environment, select_available
from ovtool.models.convert import ModelReference, load_or_convert_next_to
from ovtool.roofline import calibration
from ovtool.roofline.model import Task, memory_kind, predict_tasks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ovtool.benchmark.session import Session
    from ovtool.core.trial import Trial
    from ovtool.graph.runtime import Layer
    from ovtool.roofline.calibration import Calibration
    from ovtool.roofline.model import DeviceRates, LayerPrediction, Prediction

HINT = "latency"
"""Performance hint of calibrations and predictions."""


@dataclass(frozen=True, slots=True)
class LayerRoofline:
    """A layer's roofline figures; None is unknown.

    Args:
        limit_ms: Minimum time by peak and bandwidth.
        bound: Largest term of the limit: compute, memory or overhead.
        limit_pct: The limit in percent of the measured time.
        intensity: FLOPs per byte; None for a layer without arithmetic.
    """

    limit_ms: float | None = None
    predicted_ms: float | None = None
    bound: str | None = None
    limit_pct: float | None = None
    intensity: float | None = None


@dataclass(frozen=True, slots=True)
class RooflineComparison:
    """A profile compared with its device's calibration; None is unknown.

    Args:
        latency_ms: Predicted latency of one request, with its 95% interval.
        limit_ms: Minimum time of all layers, without overheads.
        by_bound_ms: Predicted time of the layers, by bound.
        unknown: Names of layers without a prediction.
        peaks: GFLOP/s by precision.
        bandwidths: GB/s of memory and of the fastest cache.
        calibrated: Creation time of the calibration, and its verdicts.
    """

    latency_ms: float | None
    latency_ms_ci_low: float | None
    latency_ms_ci_high: float | None
    limit_ms: float | None
    by_bound_ms: dict[str, float]
    layers: dict[str, LayerRoofline]
    unknown: tuple[str, ...]
    peaks: dict[str, float]
    bandwidths: dict[str, float]
    calibrated: str

    def to_json(self) -> dict[str, Any]:
        """Return the comparison without its layers, as JSON types."""
        document = asdict(self)
        del document["layers"]
        return document


@shows_progress()
def predict(
    model: ModelReference,
    *,
    device: str = "CPU",
    batch: int | None = None,
    precision: str = "default",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    progress: Progress = SILENT,
) -> Prediction:
    """Predict the latency of a model on a calibrated device, under the latency hint.

    The model is compiled, since the device's runtime graph shows fused layers and execution
    precisions; no inference is timed.  ``model`` may be a source for :func:`ovtool.api.convert`.

    Raises:
        MissingError: The device is not available, or has no calibration in this environment.
        InputError: The model does not compile, or the device does not report executed layers.
    """
    from ovtool.benchmark import jobs
    from ovtool.benchmark.process import ProcessRunner
    from ovtool.core.trial_grid import plan_inferences, single_spec

    spec = single_spec(batch=batch, precision=precision, hint=HINT, shapes=shapes)
    devices, _ = select_available([device], strict=True)
    rates = require_calibration(devices[0]).device_rates()
    with temporary.scratch_folder("predict") as scratch:
        variant = load_or_convert_next_to(model, None, scratch, progress)
        (trial,) = plan_inferences([variant], devices, spec)
        try:
            session = ProcessRunner().open(jobs.prepare_job(trial, variant), warm_up=False)
            with contextlib.closing(session):
                layers = session.layers()
        except TrialFailedError as error:
            raise InputError(f"{trial.label}: {error}") from error
    if layers is None:
        raise InputError(f"no prediction for {device}: the device does not report executed layers")
    return predict_tasks(layer_tasks(layers), rates)


def find_calibration(device: str) -> Calibration | None:
    """Return a device's calibration in the current environment; None without one."""
    return calibration.read(describe_environment().id, device)


def require_calibration(device: str) -> Calibration:
    """Return a device's calibration in the current environment; raise MissingError without one."""
    stored = find_calibration(device)
    if stored is None:
        raise MissingError(
            f"no calibration of {device} in this environment (hardware, drivers, versions)",
            f"ovtool devices --calibrate --device {device}",
        )
    return stored


def layer_tasks(layers: Iterable[Layer]) -> list[Task]:
    """Return the work of executed layers; unknown sizes count as zero bytes."""
    return [
        Task(
            name=layer.name,
            kind=layer.geometry.kind if layer.geometry else memory_kind(layer.type),
            precision=layer.precision,
            flops=layer.flops or 0,
            weight_bytes=layer.weight_bytes,
            data_bytes=layer.data_bytes or 0,
            geometry=layer.geometry,
        )
        for layer in layers
    ]


def compare_with_roofline(layers: Sequence[Layer], stored: Calibration) -> RooflineComparison:
    """Compare profiled layers with a calibration of their device."""
    rates = stored.device_rates()
    prediction = predict_tasks(layer_tasks(layers), rates)
    expected, latency = {p.task.name: p for p in prediction.layers}, prediction.latency
    interval = latency if latency is not None and latency.known else None
    return RooflineComparison(
        latency_ms=prediction.latency_ms,
        latency_ms_ci_low=None if interval is None else interval.low,
        latency_ms_ci_high=None if interval is None else interval.high,
        limit_ms=prediction.limit_ms,
        by_bound_ms={str(bound): ms for bound, ms in prediction.by_bound.items()},
        layers={layer.name: _layer_roofline(layer, expected.get(layer.name)) for layer in layers},
        unknown=prediction.unknown,
        peaks={name: peak / 1e9 for name, peak in rates.peaks.items()},
        bandwidths={level: rate.value / 1e9 for level, rate in stored.bandwidths().items()},
        calibrated=stored.summary,
    )


def roofline_figures(layers: Sequence[Layer], rates: DeviceRates) -> dict[str, float]:
    """Return ``limit_ms`` and ``memory_bound_pct``; empty when a layer is not calibrated."""
    prediction = predict_tasks(layer_tasks(layers), rates)
    expected_ms = sum(prediction.by_bound.values())
    if prediction.limit_ms is None or not expected_ms:
        return {}
    memory_pct = 100 * prediction.by_bound.get("memory", 0.0) / expected_ms
    return {"limit_ms": prediction.limit_ms, "memory_bound_pct": memory_pct}


class TrialRooflines:
    """Roofline figures of measured trials, for devices with a calibration."""

    def __init__(self, environment: str) -> None:
        self._environment = environment
        self._rates: dict[str, DeviceRates | InputError | None] = {}

    def of(self, trial: Trial, session: Session) -> tuple[dict[str, float], list[Note]]:
        """Return the figures of a closed-loop trial under the latency hint, and notes.

        An unreadable calibration, or layers that are not available, fail no measurement.
        """
        if trial.hint != HINT or trial.open_loop:
            return {}, []
        rates = self._device_rates(trial.device)
        if rates is None:
            return {}, []
        if isinstance(rates, InputError):
            return {}, [make_note("calibration-unreadable", f"{trial.device}: {rates}")]
        try:
            layers = session.layers()
        except TrialFailedError as error:
            return {}, [make_note("roofline-unavailable", str(error))]
        return ({} if layers is None else roofline_figures(layers, rates)), []

    def _device_rates(self, device: str) -> DeviceRates | InputError | None:
        if device not in self._rates:  # fitting the surfaces takes longer than a measurement round
            try:
                stored = calibration.read(self._environment, device)
                self._rates[device] = None if stored is None else stored.device_rates()
            except InputError as error:
                self._rates[device] = error
        return self._rates[device]


def _layer_roofline(layer: Layer, expected: LayerPrediction | None) -> LayerRoofline:
    if expected is None:
        return LayerRoofline()
    return LayerRoofline(
        limit_ms=expected.limit_ms,
        predicted_ms=expected.predicted_ms,
        bound=expected.bound,
        limit_pct=100 * expected.limit_ms / layer.time_ms if layer.time_ms else None,
        intensity=expected.task.intensity,
    )
