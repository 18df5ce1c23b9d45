"""The latency of a bundle, measured as a sweep measures a trial, and compared with its row."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ovtool.benchmark.engine import measure_group
from ovtool.benchmark.process import ProcessRunner
from ovtool.benchmark.session import Job, TrialFailedError
from ovtool.core import units
from ovtool.core.errors import InputError
from ovtool.core.sweep_spec import MeasurementSettings
from ovtool.datasets.samples import LazySamples
from ovtool.deploy.python_program import SAMPLE_INPUTS, model_files
from ovtool.deploy.rendering import model_folder
from ovtool.deploy.stored_samples import read_samples
from ovtool.evaluation.evaluator import write_request
from ovtool.results.rows import get_figure

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.core.measurement import Measurement
    from ovtool.core.statistics import Interval
    from ovtool.deploy.manifest import Manifest

_FIGURE = "latency_p50_ms"


@dataclass(frozen=True, slots=True)
class LatencyComparison:
    """The median latency of a bundle and of its row.

    Args:
        inside: Whether the latency is within the interval of the row or lower, on its machine.
        text: Both figures, their difference, and the load under which the bundle was measured.
    """

    inside: bool
    text: str


def bundle_job(folder: Path, manifest: Manifest, device: str) -> Job:
    """Return how the graph of a bundle is measured."""
    requests = None if manifest.text is not None else manifest.requests
    trial = replace(manifest.trial, device=device, requests=requests)
    return Job(
        trial=trial,
        xml=folder / model_folder(manifest) / model_files(manifest)[0],
        names=tuple(port.name for port in manifest.inputs),
        shapes=tuple(port.shape for port in manifest.inputs),
        data_shapes=tuple(port.data_shape for port in manifest.inputs),
        batch_axes=tuple(port.batch_axis for port in manifest.inputs),
        properties=manifest.properties,
        output_axes=tuple(port.batch_axis for port in manifest.outputs),
    )


def measure_bundle(
    folder: Path,
    manifest: Manifest,
    device: str,
    scratch: Path,
    settings: MeasurementSettings | None,
) -> Measurement:
    """Measure the graph of a bundle on its stored samples.

    Raises:
        InputError: The graph does not run.
    """
    job = bundle_job(folder, manifest, device)
    used = (settings or MeasurementSettings()).model_copy(update={"starts": False})
    if manifest.text is None:
        stored = read_samples(folder / SAMPLE_INPUTS, job.names, manifest.samples.count)
        samples = LazySamples(manifest.samples.data, stored, lambda sample: sample, labelled=False)
        try:
            job = replace(job, inputs=write_request(samples, job, scratch / "request.npz"))
        except TrialFailedError as error:
            raise InputError(f"the stored samples do not fit: {error}") from error
    runner = ProcessRunner(used.timeout_s, used.seed)
    (measured,) = measure_group([job], runner, used, environment="")
    if measured.status != "ok":
        raise InputError(f"{manifest.package} was not measured on {device}: {measured.reason}")
    return measured


def compare_latency(manifest: Manifest, measured: Measurement, machine: str) -> LatencyComparison:
    """Compare the median latency with the interval of the row."""
    figures = measured.figures
    own, row = get_figure(figures, _FIGURE), get_figure(manifest.row.figures, _FIGURE)
    if math.isnan(own.value) or math.isnan(row.value):
        return LatencyComparison(False, "no median latency was measured")
    load = str(measured.verdict)
    if (others := figures.get("others_cpu_pct")) is not None:
        load += f", other processes {units.text(others)}% of the CPU"
    change = 100 * (own.value / row.value - 1)
    text = f"p50 {_text(own)} ms, measured row {_text(row)} ms ({change:+.1f}%); {load}"
    if machine != manifest.row.machine:
        return LatencyComparison(False, f"{text}; the row is of another machine")
    return LatencyComparison(_low(own) <= _high(row), text)


def _text(figure: Interval) -> str:
    return units.interval_text(figure.value, figure.low, figure.high)


def _low(figure: Interval) -> float:
    return figure.value if math.isnan(figure.low) else figure.low


def _high(figure: Interval) -> float:
    return figure.value if math.isnan(figure.high) else figure.high
