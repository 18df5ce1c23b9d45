"""Other sizes of the open dimensions of a model, which tracing may have fixed to one size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ovtool.core.errors import InputError
from ovtool.core.ports import ports
from ovtool.core.shapes import OPEN
from ovtool.models.inputs import batch_axis

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import openvino as ov

    from ovtool.models.batch import BatchedModel

Shapes = dict[str, tuple[int, ...]]
JOINT_FACTORS = ((1.5, 2.0), (0.625, 0.5))
"""Alternatives of a larger and of a smaller size; the second is for models with multiples."""
MAX_SEPARATE = 6
"""Largest number of open dimensions that are also tried one by one."""


class FixedSizeError(InputError):
    """The conversion agrees with the source only at the sizes at which the source was read."""

    def __init__(self, shapes: Shapes, dimensions: Sequence[tuple[str, int]], why: str) -> None:
        """Keep the shapes that agree, and the (input, axis) that must keep their size."""
        super().__init__(why)
        self.dimensions = tuple((name, axis, shapes[name][axis]) for name, axis in dimensions)

    @property
    def text(self) -> str:
        """The dimensions and their sizes."""
        return ", ".join(f"{_place(name, axis)} = {n}" for name, axis, n in self.dimensions)

    def fix(self, batched: BatchedModel) -> BatchedModel:
        """Return a copy of a model in which the dimensions have their sizes.

        Raises:
            InputError: They have these sizes already.
        """
        model = batched.model.clone()
        names = [port.name for port in ports(model)["inputs"]]
        shapes: dict[int, Any] = {}
        axes = set()
        for name, axis, size in self.dimensions:
            index = names.index(name)
            shape = shapes.setdefault(index, model.inputs[index].get_partial_shape())
            if shape[axis].is_static:
                raise InputError(str(self), self.hint) from self
            if axis == batch_axis(model.inputs[index]):
                axes.add(axis)
            shape[axis] = size
        try:
            model.reshape(shapes)
        except RuntimeError as error:  # the graph has no such size
            raise InputError(str(self), self.hint) from error
        if not axes:
            return replace(batched, model=model)
        return replace(batched, model=model, batch="static", note=str(self))


@dataclass(frozen=True, slots=True)
class OpenDimension:
    """An open dimension of an input that is not the batch."""

    name: str
    axis: int
    size: int
    """Size at which the source was read."""
    minimum: int
    maximum: int
    """-1 without a limit."""

    @property
    def text(self) -> str:
        """The place of the dimension."""
        return _place(self.name, self.axis)

    def resized(self, factor: float) -> int:
        """Return another size within the limits of the dimension."""
        size = max(self.minimum, 1, round(self.size * factor))
        return size if self.maximum == OPEN else min(size, self.maximum)


def open_dimensions(
    model: ov.Model, shapes: Mapping[str, tuple[int, ...]], batch_axes: Mapping[str, int | None]
) -> list[OpenDimension]:
    """Return the open dimensions of a model, with their sizes in ``shapes``."""
    dimensions = []
    for port, (name, shape) in zip(model.inputs, shapes.items(), strict=True):
        partial = port.get_partial_shape()
        for axis, size in enumerate(shape):
            if partial[axis].is_dynamic and axis != batch_axes[name]:
                low, high = partial[axis].get_min_length(), partial[axis].get_max_length()
                dimensions.append(OpenDimension(name, axis, size, low, high))
    return dimensions


def resize(
    shapes: Mapping[str, tuple[int, ...]], dimensions: Sequence[OpenDimension], factor: float
) -> Shapes:
    """Return the shapes with other sizes of some dimensions."""
    changed = {name: list(shape) for name, shape in shapes.items()}
    for dimension in dimensions:
        changed[dimension.name][dimension.axis] = dimension.resized(factor)
    return {name: tuple(shape) for name, shape in changed.items()}


def separately(dimensions: Sequence[OpenDimension]) -> Iterator[list[OpenDimension]]:
    """Yield each of several dimensions alone; models whose dimensions are tied reject it."""
    if 1 < len(dimensions) <= MAX_SEPARATE:
        yield from ([dimension] for dimension in dimensions)


def equal_sizes(
    dimensions: Sequence[OpenDimension], dimension: OpenDimension
) -> tuple[OpenDimension, ...]:
    """Return the dimensions that have the size of one of them; empty if there is no other.

    A source may adapt one of them to the others, as Hugging Face encoders pad a short mask; its
    graph lacks that, and is right where all of them change together.
    """
    equal = tuple(other for other in dimensions if other.size == dimension.size)
    return equal if len(equal) > 1 else ()


def _place(name: str, axis: int) -> str:
    return f"dimension {axis} of {name}"
