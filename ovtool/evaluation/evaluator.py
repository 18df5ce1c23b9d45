"""Quality of a trial, from the compiled model that is measured, and of a graph in memory."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.benchmark import jobs
from ovtool.benchmark.session import Job, Runner, Session, TrialFailedError
from ovtool.core import temporary
from ovtool.core.errors import InputError
from ovtool.core.notes import make_note
from ovtool.core.shapes import OPEN, Named, Shape, shape_text
from ovtool.core.statistics import Interval
from ovtool.core.third_party import read_graph
from ovtool.core.trial import Trial
from ovtool.core.units import MIB
from ovtool.datasets.samples import batches, stack, unstack
from ovtool.evaluation.metrics import Judge, MetricRequest, make_judge
from ovtool.evaluation.outputs import join_rows, read_rows
from ovtool.graph.reference_run import EXACT_PROPERTIES, FLOAT_KERNELS, ReferenceModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.core.columns import QualityMetric
    from ovtool.core.notes import Note
    from ovtool.core.paired import SampleScores
    from ovtool.core.variant import Variant
    from ovtool.datasets.samples import Sample, Samples
    from ovtool.evaluation.outputs import Rows
    from ovtool.evaluation.scores import Score

CHUNK_BYTES = 256 * MIB
CHUNK_SAMPLES = 64
"""Limits the memory of the outputs, which may be much larger than the inputs."""
CHUNK_S = 2.0
"""Time of a chunk up to which the next one has more samples."""


class BaselineError(InputError):
    """The outputs of a baseline cannot be computed."""


@dataclass(slots=True)
class Evaluator:
    """Evaluates trials, once for each configuration.

    Args:
        samples: Loads the held-out samples, preprocessed for a variant.
        baselines: Id of the uncompressed variant by id of each variant; None without a baseline.
        runner: Opens the session that computes the outputs of a baseline.
        request: The metric and the outputs that the user wants; the data decides the rest.
        known: Configurations of trials that are evaluated already.
    """

    samples: Callable[[Variant], Samples]
    variants: Mapping[str, Variant]
    baselines: Mapping[str, str | None]
    runner: Runner
    request: MetricRequest = field(default_factory=MetricRequest)
    known: set[tuple[object, ...]] = field(default_factory=set)
    _references: dict[str, dict[str, Rows]] = field(default_factory=dict)
    _judges: dict[str, Judge] = field(default_factory=dict)
    _first_outputs: dict[tuple[object, ...], list[Rows]] = field(default_factory=dict)

    def __call__(self, trial: Trial, session: Session) -> tuple[dict[str, float], list[Note]]:
        """Return the quality figures and notes of a trial; none if its configuration is known.

        Raises:
            TrialFailedError: The device failed.
            BaselineError: The baseline of the variant does not run on the CPU in f32.
        """
        unsteady = self._compare(trial, session)
        if trial.configuration in self.known:
            return {}, unsteady
        result = self.score(trial, session)
        self.known.add(trial.configuration)
        return result.figures, [*result.notes, *unsteady]

    def _compare(self, trial: Trial, session: Session) -> list[Note]:
        """Compare the outputs of the first samples with those of an earlier session."""
        from ovtool.evaluation.repeatability import check_sessions

        variant = self.variants[trial.variant]
        first = self._first_outputs.get(trial.configuration)
        outputs, finding = check_sessions(session, self.samples(variant), first)
        self._first_outputs.setdefault(trial.configuration, outputs)
        subject = f"{variant.name} on {trial.device} in {trial.precision}"
        return [make_note("outputs-not-repeatable", f"{subject}: {finding}")] if finding else []

    def score(self, trial: Trial, session: Session) -> Score:
        """Return the quality of a trial.

        Raises:
            TrialFailedError: The device failed.
            BaselineError: The baseline of the variant does not run on the CPU in f32.
        """
        samples = self.samples(self.variants[trial.variant])
        judge = self.judge(trial.variant)
        outputs = infer_outputs(session, samples, judge)
        return judge.score(outputs, self._reference(trial.variant, judge), len(samples))

    def judge(self, variant: str) -> Judge:
        """Return the judge of a variant, by its id; its uncompressed variant, if any, decides.

        Raises:
            InputError: The metric does not fit the labels or the outputs, or the outputs are not
                those of the uncompressed variant.
        """
        if variant not in self._judges:
            model, baseline = self.variants[variant], self.baselines[variant]
            source = model if baseline is None else self.variants[baseline]
            counts = [len(v.record.outputs) for v in (model, source)]
            if counts[0] != counts[1]:
                raise InputError(
                    f"{model.name} has {counts[0]} outputs, {source.name} has {counts[1]}",
                    "compare a variant with the uncompressed variant of the same model",
                )
            self._judges[variant] = make_judge(self.request, source, self.samples(model))
        return self._judges[variant]

    def _reference(self, variant: str, judge: Judge) -> dict[str, Rows] | None:
        baseline = self.baselines[variant]
        if baseline is None:
            return None
        if baseline not in self._references:
            uncompressed = self.variants[baseline]
            self._references[baseline] = _infer_reference(
                uncompressed, self.samples(uncompressed), self.runner, judge
            )
        return self._references[baseline]


@dataclass(slots=True)
class GraphEvaluator:
    """Evaluates graphs with the ports of one variant, on the CPU in f32.

    Methods that choose their settings by quality evaluate graphs that are not saved yet.

    Args:
        samples: Validation samples, preprocessed for the variant.
        variant: The uncompressed variant, which is the reference of agreement and cosine.
        request: The metric and the outputs that the user wants; the data decides the rest.
        properties: Of the compiled graphs: whether quantized layers use the CPU's INT8 kernels.
        sample_scores: What each sample added to the metric in the last evaluation, for paired
            comparisons; None if the metric is no mean over samples.
    """

    samples: Samples
    variant: Variant
    request: MetricRequest = field(default_factory=MetricRequest)
    properties: Mapping[str, str] = field(default_factory=EXACT_PROPERTIES.copy)
    sample_scores: SampleScores | None = field(default=None, init=False)
    _judge: Judge | None = field(default=None, init=False)
    _reference: dict[str, Rows] | None = field(default=None, init=False)

    @property
    def judge(self) -> Judge:
        """What decides.

        Raises:
            InputError: The metric does not fit the labels or the outputs.
        """
        if self._judge is None:
            self._judge = make_judge(self.request, self.variant, self.samples)
        return self._judge

    @property
    def metric(self) -> QualityMetric:
        """The column of the metric."""
        return self.judge.column

    @property
    def compares(self) -> bool:
        """Whether the figures compare with the uncompressed variant, whose figure is 1."""
        return self.judge.compares

    @property
    def int8_kernels(self) -> bool:
        """Whether quantized layers run in the CPU's INT8 kernels, else in f32."""
        return self.properties != FLOAT_KERNELS

    @property
    def description(self) -> str:
        """The column of the metric, a function of the user, and the outputs that are named."""
        named = [f"output {name}" for name in self.request.outputs]
        function = [self.judge.metric] if self.judge.function is not None else []
        return ", ".join([self.metric, *function, *named])

    def __call__(self, model: ov.Model) -> Interval:
        """Return the metric of a graph.

        Raises:
            InputError: The graph does not run, or it has no such figure on the samples.
        """
        judge, reference = self.judge, None
        if judge.compares:
            if self._reference is None:
                self._reference = self._outputs(read_graph(self.variant.xml))
            reference = self._reference
        outputs = self._outputs(model)
        result = judge.score(outputs, reference, len(self.samples))
        self.sample_scores = judge.sample_scores(outputs, reference)
        if self.metric not in result.figures:
            reasons = "; ".join(f"{note.message}: {note.evidence}" for note in result.notes[:2])
            raise InputError(
                f"{self.variant.name} has no {self.metric} on {self.samples.reference}", reasons
            )
        value = result.figures[self.metric]
        low = result.figures.get(f"{self.metric}_ci_low", math.nan)
        return Interval(value, low, result.figures.get(f"{self.metric}_ci_high", math.nan))

    def _outputs(self, model: ov.Model) -> dict[str, Rows]:
        record = self.variant.record
        size = record.batch_size or 1
        reference = ReferenceModel(model, self.properties)
        chunks: dict[str, list[Rows]] = {self.judge.names[i]: [] for i in self.judge.judged}
        for batch in batches(self.samples, record.inputs, size):
            arrays = {i: batch.inputs[port.name] for i, port in enumerate(record.inputs)}
            outputs = reference.run(arrays)
            for index in self.judge.judged:
                axis = record.outputs[index].batch_axis
                rows = unstack(outputs[index], axis, size)[: batch.count]
                chunks[self.judge.names[index]].append(self.judge.reduce(rows))
        return {name: join_rows(rows) for name, rows in chunks.items()}


def _infer_reference(
    variant: Variant, samples: Samples, runner: Runner, judge: Judge
) -> dict[str, Rows]:
    """Return the judged outputs of a variant on the CPU in f32; see :func:`infer_outputs`.

    Raises:
        BaselineError: The variant does not run on the CPU in f32.
    """
    shapes = read_sample_shapes(samples, variant)
    batch = variant.record.batch_size or 1
    trial = Trial(variant.id, variant.name, "CPU", batch, precision="f32", shapes=shapes)
    try:
        job = jobs.build_job(trial, variant, EXACT_PROPERTIES)
        with contextlib.closing(runner.open(job)) as session:
            return infer_outputs(session, samples, judge)
    except TrialFailedError as error:
        raise BaselineError(f"{variant.name} does not run on the CPU in f32: {error}") from error


def read_sample_shapes(samples: Samples, variant: Variant) -> Named:
    """Return the shapes of the samples for inputs with open dimensions; the batch stays open."""
    sample = next(iter(samples))
    shapes = []
    for port in variant.record.inputs:
        axis = port.batch_axis
        if any(size == OPEN and index != axis for index, size in enumerate(port.shape)):
            shapes.append((port.name, _request_shape(sample.inputs[port.name].shape, axis, OPEN)))
    return tuple(shapes)


def infer_outputs(session: Session, samples: Samples, judge: Judge) -> dict[str, Rows]:
    """Return the judged outputs of all samples by name, reduced to what the score needs.

    Raises:
        TrialFailedError: The device failed.
    """
    chunks: dict[str, list[Rows]] = {judge.names[index]: [] for index in judge.judged}
    for chunk in _chunks(samples):
        with infer_samples(session, chunk) as outputs:
            for index in judge.judged:
                rows = read_rows(outputs, index)
                chunks[judge.names[index]].append(judge.reduce(rows))
    return {name: join_rows(rows) for name, rows in chunks.items()}


@contextlib.contextmanager
def infer_samples(session: Session, samples: Sequence[Sample]) -> Iterator[Any]:
    """Infer samples; yield the NumPy archive of the outputs, as ``Session.infer`` writes it.

    Raises:
        TrialFailedError: The device failed, or the archive is damaged.
    """
    with temporary.scratch_folder("quality") as folder:
        inputs, outputs = folder / "inputs.npz", folder / "outputs.npz"
        np.savez(inputs, **_stack(samples))  # type: ignore[arg-type] # arrays by input name
        session.infer(inputs, outputs)
        try:
            with outputs.open("rb") as stream, np.load(stream) as archive:
                yield archive
        except (zipfile.BadZipFile, EOFError) as error:  # of a disk that fails to read
            raise TrialFailedError(f"the outputs in {outputs} are damaged: {error}") from error


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
