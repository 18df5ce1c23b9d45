"""Opening the batch dimension of a model, where the result is seen to be right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core.errors import InputError
from ovtool.core.third_party import reason
from ovtool.core.variant import ports
from ovtool.models.inputs import batch_axis, check_shapes, random_inputs, with_batch
from ovtool.models.source import Array, Inputs, run_in_openvino

if TYPE_CHECKING:
    import openvino as ov

# What f32 rounding may do to a sample when other kernels are chosen for another batch.
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Opened:
    """A model whose batch is open, or the one that was given and why it cannot be opened."""

    model: ov.Model
    note: str

    @property
    def dynamic(self) -> bool:
        """Whether the batch is open."""
        return not self.note


def open_batch(model: ov.Model, seed: int) -> Opened:
    """Open the batch dimension of every input that has one.

    It is kept open only if, in f32 on the CPU, a batch of two gives for each of its samples what
    the sample gives alone.  Inputs without a layout then get ``N...``.

    Args:
        model: Not changed.
        seed: Of the random inputs.
    """
    import openvino as ov

    axes = {i: axis for i, p in enumerate(model.inputs) if (axis := batch_axis(p)) is not None}
    if not axes:
        return Opened(model, "no input has a batch dimension")
    opened = model.clone()
    shapes = {}
    for index, axis in axes.items():
        shape = opened.inputs[index].get_partial_shape()
        if shape.rank.is_dynamic:
            return Opened(model, "an input may have any number of dimensions")
        shape[axis] = ov.Dimension(-1)
        shapes[opened.inputs[index]] = shape
    try:
        opened.reshape(shapes)
    except RuntimeError as error:
        return Opened(model, f"the graph does not take another batch: {reason(error)}")
    note = _difference(opened, axes, seed)
    if note:
        return Opened(model, note)
    for index in axes:
        node = opened.inputs[index].get_node()
        if node.layout.empty:
            node.set_layout(ov.Layout("N..."))
    return Opened(opened, "")


def _difference(model: ov.Model, axes: dict[int, int], seed: int) -> str:
    """Return how a batch of two differs from its samples one by one; empty if it does not."""
    described = ports(model)
    pair = random_inputs(model, with_batch(model, check_shapes(model), batch=2), seed)
    names = {described["inputs"][index].name: axis for index, axis in axes.items()}
    singles: list[Inputs] = [
        {n: np.take(a, [i], axis=names[n]) if n in names else a for n, a in pair.items()}
        for i in (0, 1)
    ]
    run = run_in_openvino(model)
    try:
        together, alone = run(pair), [run(single) for single in singles]
    except InputError as error:
        return f"it does not run with another batch: {error}"
    for port, both, *each in zip(described["outputs"], together, *alone, strict=True):
        if not _is_stack_of(both, each):
            return f"output {port.name!r} of a batch of two is not that of its samples alone"
    return ""


def _is_stack_of(both: Array, each: list[Array]) -> bool:
    """Whether ``both`` is the two arrays one after another along its first dimension."""
    if not each[0].ndim or both.shape != (2 * each[0].shape[0], *each[0].shape[1:]):
        return False
    expected = np.concatenate(each).astype(np.float64)
    largest = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    return bool(np.allclose(both, expected, rtol=0, atol=_TOLERANCE * largest, equal_nan=True))
