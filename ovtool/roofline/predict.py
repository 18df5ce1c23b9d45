"""What a calibration says of a model: the latency to expect, and the limit of each layer."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.benchmark.session import TrialFailedError
from ovtool.core.errors import InputError, MissingError
from ovtool.core.notes import Note, make_note
from ovtool.core.progress import SILENT, Progress
from ovtool.devices.selection import available, environment_here
from ovtool.models.references import Reference, variant_beside
from ovtool.roofline import calibration
from ovtool.roofline import model as roofline
from ovtool.roofline.model import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ovtool.benchmark.session import Session
    from ovtool.core.trial import Trial
    from ovtool.graph.runtime_layers import Layer
    from ovtool.roofline.calibration import Calibration
    from ovtool.roofline.model import Predicted, Prediction, Roofs

HINT = "latency"
"""What devices are calibrated under."""


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A layer against its limit, as the row of a table; None is unknown.

    Args:
        limit_ms: Least time by peak and bandwidth.
        predicted_ms: Expected time.
        bound: What the limit comes from: compute, memory or overhead.
        limit_pct: The limit as a share of the measured time.
        intensity: FLOPs a byte; None too for a layer that does no arithmetic.
    """

    limit_ms: float | None = None
    predicted_ms: float | None = None
    bound: str | None = None
    limit_pct: float | None = None
    intensity: float | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """A profile against its device's calibration.

    Args:
        latency_ms: Expected of one request; None where some layer is unknown.
        latency_ms_ci_low: Lower end of its 95 % interval; None where that is not known.
        latency_ms_ci_high: Upper end.
        limit_ms: Least time of all layers, without overheads; None likewise.
        by_bound_ms: Expected time of the layers by what they are bound by.
        layers: Each layer by name.
        unknown: Names of layers that nothing is expected of.
        peaks: GFLOP/s by precision.
        bandwidths: GB/s of memory and of the fastest cache.
        calibrated: When, and how its measurements went.
    """

    latency_ms: float | None
    latency_ms_ci_low: float | None
    latency_ms_ci_high: float | None
    limit_ms: float | None
    by_bound_ms: dict[str, float]
    layers: dict[str, LayerRow]
    unknown: tuple[str, ...]
    peaks: dict[str, float]
    bandwidths: dict[str, float]
    calibrated: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types, but for the layers."""
        found = asdict(self)
        del found["layers"]
        return found


def predict(
    model: Reference,
    *,
    device: str = "CPU",
    batch: int = 1,
    precision: str = "default",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    progress: Progress = SILENT,
) -> Prediction:
    """Predict the latency of a model on a calibrated device, under the latency hint.

    It is compiled, since the device's own graph says which layers are fused and what each runs in;
    what is inferred is not timed.

    Args:
        model: A variant, its folder, or what :func:`ovtool.api.convert` takes.
        device: A device that was calibrated.
        batch: Samples in a request.
        precision: Inference precision asked for.
        shapes: Dimensions of inputs that stay open otherwise.
        progress: Told of the stages.

    Raises:
        MissingError: The device is not there, or was not calibrated in this environment.
        InputError: The model cannot run so, or the device does not show what it executes.
    """
    from ovtool.benchmark import jobs
    from ovtool.benchmark.process import ProcessRunner
    from ovtool.core.trial_grid import Axes, trials

    axes = Axes([batch], [HINT], precisions=[precision], shapes=[shapes] if shapes else ())
    axes.check()
    there, _ = available([device], strict=True)
    known = needed(there[0])
    with tempfile.TemporaryDirectory(prefix="ovtool-predict-") as scratch:
        variant = variant_beside(model, None, Path(scratch), progress)
        (trial,) = trials([variant], there, axes)
        try:
            session = ProcessRunner().open(jobs.prepare_job(trial, variant), warm_up=False)
            with contextlib.closing(session):
                layers = session.layers()
        except TrialFailedError as error:
            raise InputError(f"{trial.label}: {error}") from error
    if layers is None:
        raise InputError(f"{device} does not show what it executes, so nothing is predicted of it")
    return roofline.predict(tasks(layers), known.roofs())


def calibrated(device: str) -> Calibration | None:
    """Return the stored calibration of a device in the environment of now; None without one.

    Raises:
        InputError: It cannot be read.
    """
    return calibration.read(environment_here().id, device)


def needed(device: str) -> Calibration:
    """Return the stored calibration of a device in the environment of now.

    Raises:
        InputError: It cannot be read.
        MissingError: There is none.
    """
    found = calibrated(device)
    if found is None:
        raise MissingError(
            f"{device} was not calibrated in this environment (hardware, drivers, versions)",
            f"ovtool devices --calibrate --device {device}",
        )
    return found


def tasks(layers: Iterable[Layer]) -> list[Task]:
    """Return what executed layers have to do; one that its graph does not tell moves nothing."""
    return [
        Task(
            name=layer.name,
            kind=layer.geometry.kind if layer.geometry else roofline.moving_kind(layer.type),
            precision=layer.precision,
            flops=layer.flops or 0,
            weight_bytes=layer.weight_bytes,
            data_bytes=layer.data_bytes or 0,
            geometry=layer.geometry,
        )
        for layer in layers
    ]


def compared(layers: Sequence[Layer], known: Calibration) -> Compared:
    """Return measured layers against what a calibration says of them."""
    roofs = known.roofs()
    found = roofline.predict(tasks(layers), roofs)
    expected, latency = found.by_name, found.latency
    told = latency if latency is not None and latency.known else None
    bandwidths = {}
    if (ends := known.bandwidth()) is not None:
        bandwidths = {"memory": ends[0].value / 1e9, "cache": ends[1].value / 1e9}
    return Compared(
        latency_ms=found.latency_ms,
        latency_ms_ci_low=None if told is None else told.low,
        latency_ms_ci_high=None if told is None else told.high,
        limit_ms=found.limit_ms,
        by_bound_ms={str(bound): ms for bound, ms in found.by_bound.items()},
        layers={one.name: _row(one, expected.get(one.name)) for one in layers},
        unknown=found.unknown,
        peaks={name: peak / 1e9 for name, peak in roofs.peaks.items()},
        bandwidths=bandwidths,
        calibrated=known.summary,
    )


def figures(layers: Sequence[Layer], roofs: Roofs) -> dict[str, float]:
    """Return what a calibration says of a model, as figures of a row.

    Args:
        layers: As executed.
        roofs: Of their device.

    Returns:
        ``limit_ms`` and ``memory_bound_pct``; nothing where a layer was not calibrated.
    """
    found = roofline.predict(tasks(layers), roofs)
    expected = sum(found.by_bound.values())
    if found.limit_ms is None or not expected:
        return {}
    in_memory = 100 * found.by_bound.get("memory", 0.0) / expected
    return {"limit_ms": found.limit_ms, "memory_bound_pct": in_memory}


class Rooflines:
    """The roofline of trials as they are executed, where their device was calibrated.

    Args:
        environment: Id of the environment.
        emulated: Devices that nothing is calculated of.
    """

    def __init__(self, environment: str, emulated: frozenset[str] = frozenset()) -> None:
        self._environment, self._emulated = environment, emulated
        self._known: dict[str, Roofs | InputError | None] = {}

    def of(self, trial: Trial, session: Session) -> tuple[dict[str, float], list[Note]]:
        """Return the figures of a trial; none but under the hint that devices are calibrated under.

        A calibration that cannot be read, or layers that cannot be had, cost no measurement.
        """
        if trial.hint != HINT or trial.open_loop or trial.device in self._emulated:
            return {}, []
        roofs = self._of(trial.device)
        if roofs is None:
            return {}, []
        if isinstance(roofs, InputError):
            return {}, [make_note("calibration-unreadable", f"{trial.device}: {roofs}")]
        try:
            layers = session.layers()
        except TrialFailedError as error:
            return {}, [make_note("roofline-unavailable", str(error))]
        return ({} if layers is None else figures(layers, roofs)), []

    def _of(self, device: str) -> Roofs | InputError | None:
        if device not in self._known:  # fitting the surfaces takes longer than a layer's request
            try:
                found = calibration.read(self._environment, device)
                self._known[device] = None if found is None else found.roofs()
            except InputError as error:
                self._known[device] = error
        return self._known[device]


def _row(layer: Layer, expected: Predicted | None) -> LayerRow:
    if expected is None:
        return LayerRow()
    told: dict[str, Any] = {}
    if layer.time_ms:
        told["limit_pct"] = 100 * expected.limit_ms / layer.time_ms
    return LayerRow(
        limit_ms=expected.limit_ms,
        predicted_ms=expected.predicted_ms,
        bound=expected.bound,
        intensity=expected.task.intensity,
        **told,
    )
