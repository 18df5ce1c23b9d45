"""Samples for calibration, training and evaluation, read one at a time, with optional labels."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

import numpy as np

from ovtool.core import units
from ovtool.core.errors import InputError
from ovtool.datasets import synthetic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.core.notes import Note
    from ovtool.core.ports import Port, Preprocessing
    from ovtool.core.progress import Progress

Item = TypeVar("Item")

_NUMPY_TYPES = {
    **{f"f{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"u{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    "boolean": "bool",
}


@dataclass(frozen=True, slots=True)
class Boxes:
    """The labeled objects of an image.

    Args:
        boxes: Left, top, right and bottom of each object, [objects, 4], in pixels of the model's
            input.
        classes: Class of each object, [objects].
        crowd: Whether a box is a group of objects, which matches any number of detections,
            [objects].
    """

    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    crowd: NDArray[np.bool_]


Label = int | float | str | Boxes | np.ndarray | None
"""Class index, number, text, objects, or an array of numbers such as a mask [height, width]; None
in a dataset without labels."""
LabelKind = Literal["classes", "texts", "numbers", "boxes"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A preprocessed sample by input name, without a batch dimension."""

    inputs: dict[str, NDArray[np.generic]]
    label: Label
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
    labels: tuple[Label, ...]
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
    part: str | None = None
    """A random part of the samples, see :func:`parse_part`."""
    folder: Path | None = None
    """Folder of the variant, with its tokenizer; None without a model."""

    def subset(self, items: Sequence[Item]) -> list[Item]:
        """Return the random subset given by ``part``, ``limit`` and ``seed``, in order.

        Raises:
            InputError: The part has no samples.
        """
        if self.part is not None:
            number, parts = parse_part(self.part)
            order = np.random.default_rng(self.seed).permutation(len(items))
            rows = sorted(order[number - 1 :: parts])
            if not rows:
                raise InputError(
                    f"part {self.part} of {self.reference} is empty:"
                    f" {units.count_text(len(items), 'sample')}",
                    "give more samples, or a data set for each purpose",
                )
            items = [items[row] for row in rows]
        if self.limit is None or self.limit >= len(items):
            return list(items)
        rng = np.random.default_rng(self.seed)
        indices = rng.choice(len(items), self.limit, replace=False)
        return [items[index] for index in sorted(indices)]


_MAX_PARTS = 100


def parse_part(text: str) -> tuple[int, int]:
    """Return the number and the count of a part: ``1/2`` is the first of two.

    The parts of a data set are random, repeatable, of equal size (to one sample), and share no
    sample.

    >>> parse_part("2/2")
    (2, 2)

    Raises:
        InputError: The text is not ``N/M`` with N from 1 to M.
    """
    number, slash, parts = text.partition("/")
    digits = len(text) <= 2 * len(str(_MAX_PARTS)) and (number + parts).isascii()
    if digits and slash and number.isdecimal() and parts.isdecimal():
        part = int(number), int(parts)
        if 1 <= part[0] <= part[1] <= _MAX_PARTS:
            return part
    raise InputError(f"part {text!r} is not N/M, such as 1/2", "1/2 and 2/2 are random halves")


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


def label_kind(label: Label) -> LabelKind | None:
    """Return the kind of a label: integers are class indices, arrays and fractions are numbers."""
    if label is None:
        return None
    if isinstance(label, str):
        return "texts"
    if isinstance(label, Boxes):
        return "boxes"
    return "classes" if isinstance(label, int | np.integer) else "numbers"


def read_labels(samples: Samples) -> tuple[Any, ...] | None:
    """Return the labels of all samples, all of one kind; None for unlabelled samples.

    Raises:
        InputError: The labels are of several kinds.
    """
    if not samples.labelled:
        return None
    labels = tuple(sample.label for sample in samples)
    kinds = {label_kind(label) for label in labels}
    if len(kinds) > 1:
        raise InputError(f"{samples.reference}: labels mix {' and '.join(sorted(map(str, kinds)))}")
    return labels


def sample_shape(port: Port) -> tuple[int, ...]:
    """Return the shape of one sample of an input, without the batch; -1 is dynamic."""
    return tuple(size for index, size in enumerate(port.shape) if index != port.batch_axis)


def numpy_type(port: Port) -> np.dtype[np.generic]:
    """Return the NumPy type of an input.

    Raises:
        InputError: NumPy has no such type (``bf16``, ``string``).
    """
    if port.dtype not in _NUMPY_TYPES:
        raise InputError(
            f"input {port.name}: type {port.dtype} has no NumPy equivalent",
            "give the source model inputs of another type, such as f32, and cast them inside",
        )
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
        InputError: Samples of a batch differ in an input without a batch dimension.
    """
    axes = {port.name: port.batch_axis for port in inputs}
    iterator = iter(samples)
    while group := list(itertools.islice(iterator, batch)):
        yield _stack(group, axes, batch)


def stack(
    name: str, samples: Sequence[NDArray[np.generic]], axis: int | None
) -> NDArray[np.generic]:
    """Return the samples of an input as one request, stacked along the batch dimension.

    An input without a batch dimension has one value for all samples of a request.

    Raises:
        InputError: The samples of an input without a batch dimension differ.
    """
    if axis is not None:
        return np.stack(samples, axis)
    for sample in samples[1:]:
        if not np.array_equal(sample, samples[0], equal_nan=sample.dtype.kind == "f"):
            raise InputError(
                f"input {name} has no batch dimension, and the samples of a batch differ in it",
                "use batch 1",
            )
    return samples[0]


def unstack(output: NDArray[np.generic], axis: int | None, batch: int) -> NDArray[np.generic]:
    """Return the samples of an output of one request as [batch, ...].

    Args:
        output: The output of a request.
        axis: Its batch dimension.  A dimension of ``batch`` is removed from the samples; a
            multiple of it, such as [batch * boxes, 4], leaves [boxes, 4] in each sample.  None:
            every sample has the whole output.
        batch: Samples in the request.
    """
    if axis is None or output.shape[axis] % batch:
        return np.repeat(output[None], batch, axis=0)
    if output.shape[axis] == batch:
        return np.moveaxis(output, axis, 0)
    shape = list(output.shape)
    shape[axis : axis + 1] = [batch, output.shape[axis] // batch]
    return np.moveaxis(output.reshape(shape), axis, 0)


def _stack(samples: list[Sample], axes: dict[str, int | None], batch: int) -> Batch:
    padded = samples + samples[-1:] * (batch - len(samples))
    inputs = {}
    for name, axis in axes.items():
        inputs[name] = stack(name, [sample.inputs[name] for sample in padded], axis)
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
