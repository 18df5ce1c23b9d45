"""Quality of a trial, from the compiled model that is measured, and of a graph in memory."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.benchmark import jobs
from ovtool.benchmark.session import Job, Runner, Session, TrialFailedError
from ovtool.core import files
from ovtool.core.columns import METRIC_COLUMNS
from ovtool.core.errors import InputError
from ovtool.core.shapes import OPEN, Named, Shape, shape_text
from ovtool.core.statistics import Interval
from ovtool.core.trial import Trial
from ovtool.core.units import MIB
from ovtool.datasets.samples import batches, check_metric, read_labels, stack, unstack
from ovtool.evaluation.scores import Score, score
from ovtool.evaluation.text import load_alphabet, score_texts, select_classes
from ovtool.graph.reference_run import EXACT_PROPERTIES, ReferenceModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.core.columns import Metric, QualityMetric
    from ovtool.core.notes import Note
    from ovtool.core.variant import Variant
    from ovtool.datasets.samples import Sample, Samples

CHUNK_BYTES = 256 * MIB
CHUNK_SAMPLES = 64
"""Limits the memory of the outputs, which may be much larger than the inputs."""
CHUNK_S = 2.0
"""Time of a chunk up to which the next one has more samples."""

Reduce = Callable[["NDArray[Any]"], "NDArray[Any]"]
"""Reduces the outputs of a chunk of samples to what the score needs."""


@dataclass(slots=True)
class Evaluator:
    """Evaluates trials, once for each configuration.

    Args:
        samples: Loads the held-out samples, preprocessed for a variant.
        baselines: Id of the uncompressed variant by id of each variant; None without a baseline.
        runner: Opens the session that computes the outputs of a baseline.
        known: Configurations of trials that are evaluated already.
    """

    samples: Callable[[Variant], Samples]
    variants: Mapping[str, Variant]
    baselines: Mapping[str, str | None]
    runner: Runner
    known: set[tuple[object, ...]] = field(default_factory=set)
    _references: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __call__(self, trial: Trial, session: Session) -> tuple[dict[str, float], list[Note]]:
        """Return the quality figures and notes of a trial; none if its configuration is known.

        Raises:
            TrialFailedError: The device failed.
        """
        if trial.configuration in self.known:
            return {}, []
        variant = self.variants[trial.variant]
        samples = self.samples(variant)
        labels = read_labels(samples)
        reduce = select_classes if isinstance(labels, tuple) else None
        outputs = infer_output(session, samples, reduce)
        result = _score(outputs, labels, variant, self._reference(trial.variant, reduce))
        self.known.add(trial.configuration)
        return result.figures, list(result.notes)

    def _reference(self, variant: str, reduce: Reduce | None) -> NDArray[Any] | None:
        baseline = self.baselines[variant]
        if baseline is None:
            return None
        if baseline not in self._references:
            uncompressed = self.variants[baseline]
            self._references[baseline] = _infer_reference(
                uncompressed, self.samples(uncompressed), self.runner, reduce
            )
        return self._references[baseline]


@dataclass(slots=True)
class GraphEvaluator:
    """Evaluates graphs with the ports of one variant, on the CPU in f32.

    Methods that choose their settings by quality evaluate graphs that are not saved yet.

    Args:
        samples: Validation samples, preprocessed for the variant.
        variant: The uncompressed variant, which is the reference of the agreement.
        kind: ``top1`` needs classes for labels, ``characters`` needs texts, ``agreement`` none.
    """

    samples: Samples
    variant: Variant
    kind: Metric
    _reference: NDArray[Any] | None = field(default=None, init=False)

    @property
    def metric(self) -> QualityMetric:
        """The column of the metric."""
        return METRIC_COLUMNS[self.kind]

    def __call__(self, model: ov.Model) -> Interval:
        """Return the metric of a graph.

        Raises:
            InputError: The graph does not run, or the samples lack labels for the metric.
        """
        import openvino as ov

        check_metric(self.kind, self.samples)
        labels = None
        if self.kind != "agreement":
            labels = read_labels(self.samples)
        elif self._reference is None:
            self._reference = self._outputs(ov.Core().read_model(self.variant.xml))
        figures = _score(self._outputs(model), labels, self.variant, self._reference).figures
        if self.metric not in figures:
            raise InputError(f"{self.variant.name} has no {self.metric}: it is not a classifier")
        value = figures[self.metric]
        low = figures.get(f"{self.metric}_ci_low", value)
        return Interval(value, low, figures.get(f"{self.metric}_ci_high", value))

    def _outputs(self, model: ov.Model) -> NDArray[Any]:
        record = self.variant.record
        size = record.batch_size or 1
        axis = record.outputs[0].batch_axis
        reference = ReferenceModel(model)
        collected = []
        for batch in batches(self.samples, record.inputs, size):
            arrays = {i: batch.inputs[port.name] for i, port in enumerate(record.inputs)}
            output = unstack(reference.run(arrays)[0], axis, size)[: batch.count]
            collected.append(select_classes(output) if self.kind == "characters" else output)
        return np.concatenate(collected)


def _score(
    outputs: NDArray[Any],
    labels: NDArray[np.integer] | tuple[str, ...] | None,
    variant: Variant,
    reference: NDArray[Any] | None,
) -> Score:
    if isinstance(labels, tuple):
        return score_texts(outputs, labels, load_alphabet(variant), reference)
    return score(outputs, labels, reference)


def _infer_reference(
    variant: Variant, samples: Samples, runner: Runner, reduce: Reduce | None
) -> NDArray[Any]:
    """Return the evaluated output of a variant on the CPU in f32; see :func:`infer_output`.

    Raises:
        InputError: The variant does not run on the CPU in f32.
    """
    shapes = read_sample_shapes(samples, variant)
    batch = variant.record.batch_size or 1
    trial = Trial(variant.id, variant.name, "CPU", batch, precision="f32", shapes=shapes)
    try:
        job = jobs.build_job(trial, variant, EXACT_PROPERTIES)
        with contextlib.closing(runner.open(job)) as session:
            return infer_output(session, samples, reduce)
    except TrialFailedError as error:
        raise InputError(f"{variant.name} does not run on the CPU in f32: {error}") from error


def read_sample_shapes(samples: Samples, variant: Variant) -> Named:
    """Return the shapes of the samples for inputs with open dimensions; the batch stays open."""
    sample = next(iter(samples))
    shapes = []
    for port in variant.record.inputs:
        axis = port.batch_axis
        if any(size == OPEN and index != axis for index, size in enumerate(port.shape)):
            shapes.append((port.name, _request_shape(sample.inputs[port.name].shape, axis, OPEN)))
    return tuple(shapes)


def infer_output(session: Session, samples: Samples, reduce: Reduce | None = None) -> NDArray[Any]:
    """Return the first output of all samples, [samples, ...], reduced by chunks if requested.

    Raises:
        TrialFailedError: The device failed.
    """
    collected = []
    for chunk in _chunks(samples):
        with infer_samples(session, chunk) as outputs:
            output = outputs["arr_0"]
        collected.append(output if reduce is None else reduce(output))
    return np.concatenate(collected)


@contextlib.contextmanager
def infer_samples(session: Session, samples: Sequence[Sample]) -> Iterator[Any]:
    """Infer samples; yield the NumPy archive of the outputs, ``arr_0`` being the first.

    Raises:
        TrialFailedError: The device failed.
    """
    with files.scratch_folder("quality") as folder:
        inputs, outputs = folder / "inputs.npz", folder / "outputs.npz"
        np.savez(inputs, **_stack(samples))  # type: ignore[arg-type] # arrays by input name
        session.infer(inputs, outputs)
        with np.load(outputs) as archive:
            yield archive


def write_request(samples: Samples, job: Job, target: Path) -> Path:
    """Write the inputs of one request of a job; repeat the samples if they are too few.

    Raises:
        TrialFailedError: The shape of a sample differs from that of the trial.
    """
    batch = job.trial.batch
    used = list(itertools.islice(iter(samples), batch))
    for sample in used:
        _check_shapes(sample, job)
    filled = [used[i % len(used)] for i in range(batch)]
    try:
        shaped = {
            name: stack(name, [sample.inputs[name] for sample in filled], axis)
            for name, axis in zip(job.names, job.batch_axes, strict=True)
        }
    except InputError as error:
        raise TrialFailedError(str(error)) from error
    np.savez(target, **shaped)  # type: ignore[arg-type] # arrays by input name
    return target


def _check_shapes(sample: Sample, job: Job) -> None:
    for name, expected, axis in zip(job.names, job.data_shapes, job.batch_axes, strict=True):
        shape = _request_shape(sample.inputs[name].shape, axis, job.trial.batch)
        if shape != expected:
            raise TrialFailedError(
                f"input {name}: {sample.origin} has the request shape {shape_text(shape)}, the"
                f" trial {shape_text(expected)}; set --shape or --data-shape to that of the samples"
            )


def _request_shape(sample: Shape, axis: int | None, batch: int) -> Shape:
    return tuple(sample) if axis is None else (*sample[:axis], batch, *sample[axis:])


def _chunks(samples: Samples) -> Iterator[list[Sample]]:
    """Yield samples in chunks, which grow while the consumer takes little time for them.

    A chunk has the time limit of a request to the worker, however long one inference takes.
    """
    chunk: list[Sample] = []
    size, limit = 0, 1
    for sample in samples:
        chunk.append(sample)
        size += sum(array.nbytes for array in sample.inputs.values())
        if size >= CHUNK_BYTES or len(chunk) >= limit:
            started = time.monotonic()
            yield chunk
            quick = time.monotonic() - started < CHUNK_S
            limit = min(limit * 8, CHUNK_SAMPLES) if quick else limit
            chunk, size = [], 0
    if chunk:
        yield chunk


def _stack(samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
    """Return samples by input name as [samples, ...]."""
    return {name: np.stack([s.inputs[name] for s in samples]) for name in samples[0].inputs}
