"""Samples for calibration, training and evaluation, read one at a time, with optional labels."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np

from ovtool.core import units
from ovtool.core.errors import InputError
from ovtool.datasets import synthetic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.core.columns import Metric
    from ovtool.core.notes import Note
    from ovtool.core.progress import Progress
    from ovtool.core.variant import Port, Preprocessing

Item = TypeVar("Item")

_NUMPY_TYPES = {
    **{f"f{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"u{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    "boolean": "bool",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A preprocessed sample by input name, without a batch dimension."""

    inputs: dict[str, NDArray[np.generic]]
    label: int | str | None
    """Class index or text; None in a dataset without labels."""
    origin: str
    """File, or array and row, for messages."""


class Samples(Protocol):
    """A finite set of samples that can be iterated repeatedly, in the same order."""

    @property
    def reference(self) -> str:
        """Name of the dataset, as given by the user."""

    @property
    def labelled(self) -> bool:
        """Whether every sample has a label."""

    @property
    def notes(self) -> tuple[Note, ...]:
        """Warnings about the samples for the model."""

    def __len__(self) -> int:
        """Number of samples."""

    def __iter__(self) -> Iterator[Sample]:
        """Read the samples; an error names the file."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples stacked along the batch dimension, by input name."""

    inputs: dict[str, NDArray[np.generic]]
    labels: tuple[int | str | None, ...]
    """Labels of the real samples, in order."""
    count: int
    """Number of real samples; the padding after them repeats the last sample."""


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Arguments of :func:`ovtool.datasets.registry.load_samples`."""

    reference: str
    inputs: tuple[Port, ...]
    preprocessing: Preprocessing | None
    labels: Path | None
    limit: int | None
    seed: int
    progress: Progress
    graph: Callable[[], ov.Model] | None = None
    """Reads the graph of the model, to check values against; None without a model."""

    def subset(self, items: Sequence[Item]) -> list[Item]:
        """Return the random subset given by ``limit`` and ``seed``, in the original order."""
        if self.limit is None or self.limit >= len(items):
            return list(items)
        rng = np.random.default_rng(self.seed)
        indices = rng.choice(len(items), self.limit, replace=False)
        return [items[index] for index in sorted(indices)]


@dataclass(frozen=True, slots=True)
class LazySamples(Generic[Item]):
    """Samples that are read by key one at a time, anew on each pass."""

    reference: str
    items: Sequence[Item]
    read: Callable[[Item], Sample]
    labelled: bool
    notes: tuple[Note, ...] = ()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.items)

    def __iter__(self) -> Iterator[Sample]:
        """Read the samples in order."""
        return map(self.read, self.items)


def read_labels(samples: Samples) -> NDArray[np.int64] | tuple[str, ...] | None:
    """Return the labels of all samples, class indices or texts; None for unlabelled samples.

    Raises:
        InputError: Some labels are class indices and others texts.
    """
    if not samples.labelled:
        return None
    labels = [sample.label for sample in samples]
    texts = [label for label in labels if isinstance(label, str)]
    if not texts:
        return np.array(labels, np.int64)
    if len(texts) != len(labels):
        raise InputError(f"{samples.reference}: labels mix texts and numbers")
    return tuple(texts)


def default_metric(samples: Samples) -> Metric:
    """Return the metric for the samples' labels; agreement for unlabelled samples."""
    if not samples.labelled:
        return "agreement"
    return "characters" if isinstance(next(iter(samples)).label, str) else "top1"


def check_metric(metric: Metric, samples: Samples) -> None:
    """Check that samples have the labels that a metric requires.

    Raises:
        InputError: The samples have no labels, or labels of another kind.
    """
    default = default_metric(samples)
    if metric in (default, "agreement"):
        return
    if default == "agreement":
        raise InputError(
            f"metric {metric} requires labels; {samples.reference} has none",
            "give labels, or use the metric agreement",
        )
    raise InputError(
        f"metric {metric} does not fit the labels of {samples.reference}",
        f"use {default} or agreement",
    )


def sample_axis(port: Port) -> int | None:
    """Return the batch dimension of an input.

    The layout's ``N``, or dimension 0 without a layout.  None for an input without a batch
    dimension (a layout without ``N``, or a scalar).
    """
    if port.layout is None:
        return 0 if port.shape else None
    return port.batch_axis


def sample_shape(port: Port) -> tuple[int, ...]:
    """Return the shape of one sample of an input, without the batch; -1 is dynamic."""
    axis = sample_axis(port)
    return tuple(size for index, size in enumerate(port.shape) if index != axis)


def numpy_type(port: Port) -> np.dtype[np.generic]:
    """Return the NumPy type of an input.

    Raises:
        InputError: NumPy has no such type (``bf16``, ``string``).
    """
    if port.dtype not in _NUMPY_TYPES:
        raise InputError(f"input {port.name}: type {port.dtype} has no NumPy equivalent")
    return np.dtype(_NUMPY_TYPES[port.dtype])


class DerivedSamples:
    """Samples derived one to one from others, with the same name and labels."""

    samples: Samples

    @property
    def reference(self) -> str:
        """Name of the dataset, as given by the user."""
        return self.samples.reference

    @property
    def labelled(self) -> bool:
        """Whether every sample has a label."""
        return self.samples.labelled

    @property
    def notes(self) -> tuple[Note, ...]:
        """Warnings about the samples for the model."""
        return self.samples.notes

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)


class FirstSamples(DerivedSamples):
    """The first ``count`` samples of a dataset."""

    def __init__(self, samples: Samples, count: int) -> None:
        self.samples, self._count = samples, count

    def __len__(self) -> int:
        """Return the number of samples."""
        return min(self._count, len(self.samples))

    def __iter__(self) -> Iterator[Sample]:
        """Read the samples."""
        return itertools.islice(iter(self.samples), self._count)


class CachedSamples(DerivedSamples):
    """Samples decoded once and kept in memory, if all of them fit ``max_bytes``."""

    def __init__(self, samples: Samples, max_bytes: int = 256 * units.MIB) -> None:
        self.samples, self._max_bytes = samples, max_bytes
        self._cache: list[Sample] | None = None

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples, from memory after a complete first pass; do not modify them."""
        return iter(self._cache) if self._cache is not None else self._read()

    def _read(self) -> Iterator[Sample]:
        cache: list[Sample] = []
        free_bytes = self._max_bytes
        for sample in self.samples:
            free_bytes -= sum(array.nbytes for array in sample.inputs.values())
            if free_bytes < 0:
                cache.clear()
            else:
                cache.append(sample)
            yield sample
        if free_bytes >= 0:
            self._cache = cache


def batches(samples: Iterable[Sample], inputs: Sequence[Port], batch: int) -> Iterator[Batch]:
    """Stack samples along the batch dimension of each input, in order.

    The last batch is padded by repeating its last sample.

    Raises:
        InputError: ``batch`` is above 1 and an input has no batch dimension.
    """
    axes = {port.name: sample_axis(port) for port in inputs}
    for name, axis in axes.items():
        if axis is None and batch > 1:
            raise InputError(f"input {name} has no batch dimension: batch {batch} is not supported")
    iterator = iter(samples)
    while group := list(itertools.islice(iterator, batch)):
        yield _stack(group, axes, batch)


def _stack(samples: list[Sample], axes: dict[str, int | None], batch: int) -> Batch:
    padded = samples + samples[-1:] * (batch - len(samples))
    inputs = {}
    for name, axis in axes.items():
        arrays = [sample.inputs[name] for sample in padded]
        inputs[name] = arrays[0] if axis is None else np.stack(arrays, axis)
    return Batch(inputs, tuple(sample.label for sample in samples), len(samples))


def random_sample(inputs: Sequence[Port], seed: int, index: int = 0) -> Sample:
    """Return a random sample, reproducible by ``seed`` and ``index``.

    The range of an input follows from its name and type, see :func:`synthetic.range_by_name`.

    Raises:
        InputError: A dimension other than the batch is dynamic, or NumPy lacks the type.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    for number, port in enumerate(inputs):
        shape, dtype = sample_shape(port), numpy_type(port)
        if -1 in shape:
            raise InputError(
                f"input {port.name} {list(port.shape)}: random values need a static shape "
                "(except the batch)",
                "give real data",
            )
        values = synthetic.range_by_name(port.name, dtype)
        rng = np.random.default_rng([seed, index, number])
        arrays[port.name] = synthetic.generate(values, shape, dtype, rng)
    return Sample(arrays, None, f"noise {index}")
