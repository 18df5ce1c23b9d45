"""Quality of a variant on a device, by the very compiled model whose speed is measured."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.benchmark import jobs
from ovtool.benchmark.session import Job, Runner, Session, TrialFailedError
from ovtool.core.errors import InputError
from ovtool.core.shapes import OPEN, Named, Shape, shape_text
from ovtool.core.trial import Trial
from ovtool.core.units import MIB
from ovtool.datasets.samples import labels_of, sample_axis
from ovtool.evaluation import alphabet, classes, judged_output, score_texts
from ovtool.evaluation.scores import score
from ovtool.graph.reference_run import EXACT_PROPERTIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from ovtool.core.notes import Note
    from ovtool.core.variant import Variant
    from ovtool.datasets.samples import Sample, Samples

CHUNK_BYTES = 256 * MIB
CHUNK_SAMPLES = 64
"""Few enough that the outputs of so many have room, which may be far larger than the inputs."""

Reduce = Callable[["NDArray[Any]"], "NDArray[Any]"]
"""Makes of a chunk's outputs what is kept of them."""


def reference_outputs(
    variant: Variant, samples: Samples, runner: Runner, reduce: Reduce | None = None
) -> NDArray[Any]:
    """Return a variant's judged output on the CPU in f32, as exact as the device can.

    Dimensions that the variant leaves open are those of the samples; see :func:`outputs`.

    Raises:
        InputError: It does not run there.
    """
    shapes = shapes_of(samples, variant)
    trial = Trial(variant.id, variant.name, "CPU", 1, precision="f32", shapes=shapes)
    try:
        session = runner.open(jobs.build_job(trial, variant, EXACT_PROPERTIES))
        try:
            return outputs(session, samples, judged_output(variant.record.outputs), reduce)
        finally:
            session.close()
    except TrialFailedError as error:
        raise InputError(f"{variant.name} does not run on the CPU in f32: {error}") from error


def shapes_of(samples: Samples, variant: Variant) -> Named:
    """Return the shapes that fix what a variant leaves open as samples have it, but the batch."""
    sample = next(iter(samples))
    found = []
    for port in variant.record.inputs:
        axis = sample_axis(port)
        if any(size == OPEN and index != axis for index, size in enumerate(port.shape)):
            found.append((port.name, _with_batch(sample.inputs[port.name].shape, axis, OPEN)))
    return tuple(found)


def outputs(
    session: Session, samples: Samples, index: int = 0, reduce: Reduce | None = None
) -> NDArray[Any]:
    """Return one output of every sample as [samples, ...], or what ``reduce`` makes of it.

    Raises:
        TrialFailedError: The device failed.
    """
    collected = []
    with tempfile.TemporaryDirectory(prefix="ovtool-quality-") as folder:
        asked, answered = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        for chunk in _chunks(samples):
            np.savez(asked, **stacked(chunk))  # type: ignore[arg-type] # arrays by input name
            session.infer(asked, answered)
            with np.load(answered) as found:
                chunk_outputs = found[f"arr_{index}"]
            collected.append(chunk_outputs if reduce is None else reduce(chunk_outputs))
    return np.concatenate(collected)


def write_request(samples: Samples, job: Job, target: Path) -> Path:
    """Write real inputs for one request of a job; too few samples are repeated.

    Raises:
        TrialFailedError: A sample has not the shape that the trial infers.
    """
    batch = job.trial.batch
    taken = list(itertools.islice(iter(samples), batch))
    for sample in taken:
        _check_fit(sample, job)
    arrays = stacked([taken[i % len(taken)] for i in range(batch)])
    shaped = {
        name: arrays[name][0] if axis is None else np.moveaxis(arrays[name], 0, axis)
        for name, axis in zip(job.names, job.batch_axes, strict=True)
    }
    np.savez(target, **shaped)  # type: ignore[arg-type] # arrays by input name
    return target


def _check_fit(sample: Sample, job: Job) -> None:
    for name, expected, axis in zip(job.names, job.data_shapes, job.batch_axes, strict=True):
        found = _with_batch(sample.inputs[name].shape, axis, job.trial.batch)
        if found != expected:
            raise TrialFailedError(
                f"input {name}: {sample.origin} makes requests of {shape_text(found)}, the trial"
                f" infers {shape_text(expected)}; give --shape or --data-shape as the samples are,"
                " or other samples"
            )


def _with_batch(sample: Shape, axis: int | None, batch: int) -> Shape:
    """Return the shape of a request that carries samples of a shape."""
    return tuple(sample) if axis is None else (*sample[:axis], batch, *sample[axis:])


@dataclass(slots=True)
class Evaluator:
    """Takes the quality of trials, once for each of their configurations.

    Args:
        samples: Returns the held-out samples, preprocessed for a variant.
        variants: By id.
        baselines: Id of each variant's uncompressed one; None where there is none.
        runner: Opens the session that the reference outputs come from.
        known: Configurations of trials that need no evaluation any more.
    """

    samples: Callable[[Variant], Samples]
    variants: Mapping[str, Variant]
    baselines: Mapping[str, str | None]
    runner: Runner
    known: set[tuple[object, ...]] = field(default_factory=set)
    _references: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __call__(self, trial: Trial, session: Session) -> tuple[dict[str, float], list[Note]]:
        """Return the quality figures of a trial; empty where they are known already.

        Raises:
            TrialFailedError: The device failed.
        """
        if trial.configuration in self.known:
            return {}, []
        variant = self.variants[trial.variant]
        samples = self.samples(variant)
        labels = labels_of(samples)
        index = judged_output(variant.record.outputs)
        if isinstance(labels, tuple):
            letters = alphabet(variant)
            found = outputs(session, samples, index, classes)
            result = score_texts(found, labels, letters, self._reference(trial.variant, classes))
        else:
            found = outputs(session, samples, index)
            result = score(found, labels, self._reference(trial.variant))
        self.known.add(trial.configuration)
        return result.figures, list(result.notes)

    def _reference(self, variant: str, reduce: Reduce | None = None) -> NDArray[Any] | None:
        baseline = self.baselines[variant]
        if baseline is None:
            return None
        if baseline not in self._references:
            uncompressed = self.variants[baseline]
            samples = self.samples(uncompressed)
            self._references[baseline] = reference_outputs(
                uncompressed, samples, self.runner, reduce
            )
        return self._references[baseline]


def _chunks(samples: Samples) -> Iterator[list[Sample]]:
    chunk: list[Sample] = []
    size = 0
    for sample in samples:
        chunk.append(sample)
        size += sum(array.nbytes for array in sample.inputs.values())
        if size >= CHUNK_BYTES or len(chunk) >= CHUNK_SAMPLES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def stacked(samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
    """Return samples by input name as [samples, ...], the form in which a session infers them."""
    return {name: np.stack([s.inputs[name] for s in samples]) for name in samples[0].inputs}
