"""Inputs of the output check: random values over the valid ranges, several masks, and given values.

A set of inputs is drawn by a variation.  The first ones differ in their masks; the others are for
outputs that are empty, one value or NaN on the inputs before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ovtool.core.errors import InputError
from ovtool.core.ports import ports
from ovtool.core.registry import suggestion
from ovtool.core.shapes import OPEN
from ovtool.datasets import synthetic
from ovtool.datasets.samples import batches, numpy_type
from ovtool.models.inputs import check_shapes, with_batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import openvino as ov

    from ovtool.core.ports import Port
    from ovtool.datasets.samples import Sample, Samples
    from ovtool.datasets.synthetic import ValueRange
    from ovtool.models.source import Array, Inputs, SourceModel

MAX_SAMPLES = 16
"""Largest number of the user's samples that are checked."""
SMALL = 2**15 - 1
"""Largest integer of inputs without a limit: products of two stay exact in 32 bits."""


@dataclass(frozen=True, slots=True)
class Variation:
    """How a set of inputs is drawn."""

    mask: Literal["tail", "head", "ones"] = "tail"
    """Where the zeros of masks are: padding at the end, at the start, or none."""
    real: Literal["normal", "unit", "pixels", "negative"] = "normal"
    """Real values: N(0, 1), 0..1, 0..255, or below 0."""
    scale: float = 1.0
    """Factor of real values."""
    counts: tuple[int, int] = (0, 1)
    """Smallest and largest of integers that are shapes, axes or counts."""
    unlimited: int = SMALL
    """Largest value of integers without a limit."""
    signed: bool = False
    """Whether integers without a limit are also below 0."""


FIRST = (Variation(), Variation(mask="ones"), Variation(mask="head", scale=4))
FURTHER = (
    Variation(mask="ones", real="unit", counts=(1, 1), unlimited=1),
    Variation(scale=10, counts=(1, 1)),
    Variation(mask="ones", real="pixels", unlimited=100),
    Variation(mask="head", real="negative", scale=0.1),
    Variation(mask="ones", scale=1000),
    Variation(real="unit", scale=0.01, counts=(1, 1), unlimited=1),
)
INTEGERS = (
    Variation(mask="ones", counts=(2, 2), unlimited=2),
    Variation(mask="ones", counts=(1, 3), unlimited=2, signed=True),
    Variation(mask="ones", counts=(0, 2), unlimited=2),
    Variation(mask="ones", counts=(0, 2), unlimited=100, signed=True),
)
"""Further values of integers that the graph does not limit; the source may reject them."""


class CheckInputs:
    """Draws inputs for a model; a fixed value of ``values`` fills an input."""

    def __init__(self, model: ov.Model, seed: int, values: Mapping[str, float]) -> None:
        """Read the ranges of the inputs.

        Raises:
            InputError: A fixed value names no input.
        """
        self._ports: tuple[Port, ...] = ports(model)["inputs"]
        names = [port.name for port in self._ports]
        for name in values:
            if name not in names:
                raise InputError(
                    f"--value: the model has no input {name!r}", suggestion(name, names)
                )
        self._ranges = dict(zip(names, synthetic.input_ranges(model).values(), strict=True))
        self._seed, self._values, self._drawn = seed, values, 0

    @property
    def masks(self) -> list[str]:
        """Names of the inputs that are masks."""
        return [name for name, values in self._ranges.items() if values.kind == "ones"]

    @property
    def wide(self) -> dict[str, int]:
        """Inputs of 32 or 64 bits whose integers nothing limits, with the largest of their type."""
        return {
            port.name: min(int(np.iinfo(numpy_type(port).name).max), 2**62)
            for port in self._ports
            if self._ranges[port.name].unlimited
            and port.name not in self._values
            and numpy_type(port).itemsize >= 4
        }

    @property
    def has_free_integers(self) -> bool:
        """Whether the graph leaves the values of an integer input open."""
        return any(
            (self._ranges[port.name].unlimited and numpy_type(port).itemsize >= 4)
            or self._ranges[port.name] == synthetic.ZEROS_AND_ONES
            for port in self._ports
            if port.name not in self._values and numpy_type(port).kind in "iu"
        )

    def draw(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        variation: Variation,
        integers: Mapping[str, tuple[int, int]] | None = None,
    ) -> dict[str, Array]:
        """Return new inputs of some shapes; ``integers`` has other ranges of some inputs.

        Raises:
            InputError: NumPy lacks the type of an input.
        """
        rng = np.random.default_rng([self._seed, self._drawn])
        self._drawn += 1
        inputs = {}
        for port in self._ports:
            shape, dtype = shapes[port.name], numpy_type(port)
            values = self._ranges[port.name]
            if port.name in self._values:
                inputs[port.name] = np.full(shape, self._values[port.name], dtype)
            elif integers and port.name in integers:
                low, high = integers[port.name]
                inputs[port.name] = rng.integers(low, high, shape, np.int64).astype(dtype)
            else:
                inputs[port.name] = _draw(values, shape, dtype, variation, rng)
        return {name: np.asarray(array) for name, array in inputs.items()}


def random_inputs(
    model: ov.Model, shapes: Mapping[str, tuple[int, ...]], seed: int
) -> dict[str, Array]:
    """Return random inputs in the model's valid range, with padding at the end of masks.

    Raises:
        InputError: NumPy lacks the type of an input.
    """
    return CheckInputs(model, seed, {}).draw(shapes, FIRST[0])


def _draw(
    values: ValueRange,
    shape: tuple[int, ...],
    dtype: np.dtype[np.generic],
    variation: Variation,
    rng: np.random.Generator,
) -> Array:
    if values.kind == "ones":
        return padding_mask(shape, variation.mask, rng).astype(dtype)
    if values.kind == "normal":
        return _real(shape, variation, rng).astype(dtype)
    if values.unlimited and dtype.itemsize >= 4:
        lowest = -variation.unlimited if variation.signed and dtype.kind == "i" else 0
        return rng.integers(lowest, variation.unlimited, shape, endpoint=True).astype(dtype)
    if values == synthetic.ZEROS_AND_ONES and dtype.kind in "iu":
        return rng.integers(*variation.counts, shape, endpoint=True).astype(dtype)
    return synthetic.generate(values, shape, dtype, rng)


def _real(shape: tuple[int, ...], variation: Variation, rng: np.random.Generator) -> Array:
    if variation.real == "normal":
        return rng.standard_normal(shape) * variation.scale
    if variation.real == "negative":
        return -np.abs(rng.standard_normal(shape)) * variation.scale
    return rng.random(shape) * (variation.scale if variation.real == "unit" else 255)


def padding_mask(
    shape: tuple[int, ...], kind: Literal["tail", "head", "ones"], rng: np.random.Generator
) -> Array:
    """Return a mask [batch, ..., length] of ones, then zeros, or the other way round.

    Each sample has its own number of ones, at least one: a mask without ones makes attention NaN.
    """
    length = shape[-1] if shape else 1
    if kind == "ones" or length < 2:
        return np.ones(shape, np.int64)
    rows = (*shape[:1], *(1,) * (len(shape) - 1)) if len(shape) > 1 else (1,)
    count = rng.integers(1, length, rows)
    places = np.arange(length)
    mask = places < count if kind == "tail" else places >= length - count
    return np.broadcast_to(mask, shape).astype(np.int64)


def group_samples(samples: Sequence[Sample], described: Sequence[Port]) -> list[list[Sample]]:
    """Return the samples as batches: of the static batch, or two alone and the others together."""
    axes = [(port, port.batch_axis) for port in described]
    sizes = {port.shape[axis] for port, axis in axes if axis is not None}
    if sizes != {OPEN}:
        size = max(sizes, default=1)
        return [list(samples[i : i + size]) for i in range(0, len(samples) - size + 1, size)]
    shapes = [[array.shape for array in sample.inputs.values()] for sample in samples[2:]]
    rest = list(samples[2:])
    together = [rest] if rest and all(s == shapes[0] for s in shapes) else [[s] for s in rest]
    return [[sample] for sample in samples[:2]] + together


def base_shapes(source: SourceModel) -> dict[str, tuple[int, ...]]:
    """Return the shapes at which a source was read: of its example, or chosen ones; batch 1.

    A static batch of the source stays.

    Raises:
        InputError: An input has a dynamic rank.
    """
    base = check_shapes(source.model, source.symbols)
    if source.network is None:
        return base
    for name, tensor in source.network.example.items():
        if name in base and len(tensor.shape) == len(base[name]):
            partial = source.model.input(name).get_partial_shape()
            sizes = zip(partial, tensor.shape, base[name], strict=True)
            base[name] = tuple(
                int(size) if dimension.is_dynamic else static for dimension, size, static in sizes
            )
    return with_batch(source.model, base, batch=1)


def sample_inputs(
    drawn: CheckInputs, model: ov.Model, samples: Samples | None, values: Mapping[str, float]
) -> Iterator[Inputs]:
    """Yield inputs from the user's samples: two alone, then the others as a batch.

    Inputs with a fixed value of ``values`` are not part of the samples.
    """
    if samples is None:
        return
    described = ports(model)["inputs"]
    given = [port for port in described if port.name not in values]
    first = [sample for sample, _ in zip(samples, range(MAX_SAMPLES), strict=False)]
    for group in group_samples(first, described):
        for batch in batches(group, given, len(group)):
            shapes = {p.name: tuple(abs(size) for size in p.shape) for p in described}
            fixed = drawn.draw(with_batch(model, shapes, len(group)), FIRST[0])
            yield fixed | batch.inputs
