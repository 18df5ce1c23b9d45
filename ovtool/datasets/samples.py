"""Samples: what calibration and quality read, one at a time, and labels where there are any."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ovtool.core import units
from ovtool.core.errors import InputError
from ovtool.datasets import synthetic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from ovtool.core.metrics import Metric
    from ovtool.core.variant import Port

_NUMPY_TYPES = {
    **{f"f{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"u{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    "boolean": "bool",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample, preprocessed, without a batch dimension.

    Args:
        inputs: Input name to array, of the input's type.
        label: Class index, or the text that is to be read; None where the data has no labels.
        origin: File (or array and row) that it came from, for messages.
    """

    inputs: dict[str, NDArray[np.generic]]
    label: int | str | None
    origin: str


class Samples(Protocol):
    """A finite set of samples that can be read again and again, in the same order."""

    @property
    def reference(self) -> str:
        """What the user called it."""

    @property
    def labelled(self) -> bool:
        """Whether every sample has a label."""

    def __len__(self) -> int:
        """Number of samples."""

    def __iter__(self) -> Iterator[Sample]:
        """Read them; an error names the file."""


@dataclass(frozen=True, slots=True)
class First:
    """The first ``count`` of some samples, or all where there are fewer."""

    samples: Samples
    count: int

    @property
    def reference(self) -> str:
        """What the user called them."""
        return self.samples.reference

    @property
    def labelled(self) -> bool:
        """Whether every sample has a label."""
        return self.samples.labelled

    def __len__(self) -> int:
        """Number of samples."""
        return min(self.count, len(self.samples))

    def __iter__(self) -> Iterator[Sample]:
        """Read them."""
        return itertools.islice(iter(self.samples), self.count)


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples stacked as the model takes them.

    Args:
        inputs: Input name to array, with the batch dimension.
        labels: Of the real samples, in order.
        count: Number of real samples; those after them repeat the last one and do not count.
    """

    inputs: dict[str, NDArray[np.generic]]
    labels: tuple[int | str | None, ...]
    count: int


def labels_of(samples: Samples) -> NDArray[np.int64] | tuple[str, ...] | None:
    """Return the labels of all samples, class indices or texts; None where there are none.

    Raises:
        InputError: There are both.
    """
    if not samples.labelled:
        return None
    labels = [sample.label for sample in samples]
    texts = [label for label in labels if isinstance(label, str)]
    if not texts:
        return np.array(labels, np.int64)
    if len(texts) != len(labels):
        raise InputError(f"{samples.reference}: some labels are texts, and others numbers")
    return tuple(texts)


def usual_metric(samples: Samples) -> Metric:
    """Return the metric that fits samples: by their labels, or agreement where there are none."""
    if not samples.labelled:
        return "agreement"
    return "characters" if isinstance(next(iter(samples)).label, str) else "top1"


def check_metric(metric: Metric, samples: Samples) -> None:
    """Check that samples have the labels that a metric needs.

    Raises:
        InputError: They have none, or others.
    """
    usual = usual_metric(samples)
    if metric in (usual, "agreement"):
        return
    if usual == "agreement":
        raise InputError(
            f"{samples.reference} has no labels, which the metric {metric} needs",
            "give labels, or use the metric agreement",
        )
    raise InputError(
        f"the metric {metric} does not fit the labels of {samples.reference}",
        f"use {usual} or agreement",
    )


def sample_axis(port: Port) -> int | None:
    """Return the dimension along which the samples of an input are stacked.

    It is the layout's ``N``, or the first one where no layout is known.  None means that the input
    has no batch dimension (a layout without ``N``, or a scalar): it takes one sample as it is.
    """
    if port.layout is None:
        return 0 if port.shape else None
    return port.batch_axis


def sample_shape(port: Port) -> tuple[int, ...]:
    """Return the shape of one sample of an input, without the batch; -1 for what is open."""
    axis = sample_axis(port)
    return tuple(size for index, size in enumerate(port.shape) if index != axis)


def numpy_type(port: Port) -> np.dtype[np.generic]:
    """Return the element type of an input as NumPy's.

    Raises:
        InputError: NumPy has no such type (``bf16``, ``string``).
    """
    if port.dtype not in _NUMPY_TYPES:
        raise InputError(f"input {port.name} is of type {port.dtype}, which arrays cannot hold")
    return np.dtype(_NUMPY_TYPES[port.dtype])


class Derived:
    """Samples made of others: as many, with their name and labels."""

    samples: Samples

    @property
    def reference(self) -> str:
        """What the user called them."""
        return self.samples.reference

    @property
    def labelled(self) -> bool:
        """Whether every sample has a label."""
        return self.samples.labelled

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)


class Remembered(Derived):
    """Samples that are decoded once, where all of them together take little enough memory."""

    def __init__(self, samples: Samples, most_bytes: int = 256 * units.MIB) -> None:
        self.samples, self._most_bytes = samples, most_bytes
        self._kept: list[Sample] | None = None

    def __iter__(self) -> Iterator[Sample]:
        """Yield them from memory once a pass has read them all; they are not to be written to."""
        return iter(self._kept) if self._kept is not None else self._read()

    def _read(self) -> Iterator[Sample]:
        kept: list[Sample] = []
        room = self._most_bytes
        for sample in self.samples:
            room -= sum(array.nbytes for array in sample.inputs.values())
            if room < 0:
                kept.clear()
            else:
                kept.append(sample)
            yield sample
        if room >= 0:
            self._kept = kept


def batches(samples: Iterable[Sample], inputs: Sequence[Port], batch: int) -> Iterator[Batch]:
    """Stack samples along the batch dimension of each input, in order.

    The last batch is padded by repeating its last sample.

    Args:
        samples: What to stack.
        inputs: The model's inputs.
        batch: Samples in a batch, at least 1.

    Raises:
        InputError: ``batch`` is above 1 and an input has no batch dimension.
    """
    axes = {port.name: sample_axis(port) for port in inputs}
    for name, axis in axes.items():
        if axis is None and batch > 1:
            raise InputError(f"input {name} has no batch dimension, so batch {batch} is impossible")
    waiting: list[Sample] = []
    for sample in samples:
        waiting.append(sample)
        if len(waiting) == batch:
            yield _stack(waiting, axes, batch)
            waiting = []
    if waiting:
        yield _stack(waiting, axes, batch)


def _stack(samples: list[Sample], axes: dict[str, int | None], batch: int) -> Batch:
    padded = samples + samples[-1:] * (batch - len(samples))
    inputs = {}
    for name, axis in axes.items():
        arrays = [sample.inputs[name] for sample in padded]
        inputs[name] = arrays[0] if axis is None else np.stack(arrays, axis)
    return Batch(inputs, tuple(sample.label for sample in samples), len(samples))


def random_sample(inputs: Sequence[Port], seed: int, index: int = 0) -> Sample:
    """Return one sample of random values, the same for the same ``seed`` and ``index``.

    What values an input takes is told from its name and type, see :func:`synthetic.by_name`.

    Raises:
        InputError: A dimension other than the batch is open, or NumPy lacks the type.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    for place, port in enumerate(inputs):
        shape, dtype = sample_shape(port), numpy_type(port)
        if -1 in shape:
            raise InputError(
                f"input {port.name} {list(port.shape)} is open in more than the batch, "
                "so random values have no shape",
                "give real data",
            )
        values = synthetic.by_name(port.name, dtype)
        rng = np.random.default_rng([seed, index, place])
        arrays[port.name] = synthetic.make(values, shape, dtype, rng)
    return Sample(arrays, None, f"noise {index}")


def fingerprint(samples: Iterable[Sample]) -> str:
    """Return the SHA-256 of the preprocessed inputs and labels, in hexadecimal.

    It reads every sample, so it is the same wherever the files lie, and a changed file or
    preprocessing changes it.
    """
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(repr(sample.label).encode())
        for name, array in sorted(sample.inputs.items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
