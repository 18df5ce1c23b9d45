"""Make the batch dimension of a model dynamic, if its outputs stay correct."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core.errors import InputError
from ovtool.core.third_party import reason
from ovtool.core.variant import ports
from ovtool.graph.reference_run import ReferenceModel
from ovtool.models.inputs import batch_axis, check_shapes, random_inputs, with_batch

if TYPE_CHECKING:
    import openvino as ov

    from ovtool.models.source import Array, Inputs

# Rounding error of f32 when another batch selects other kernels.
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class BatchedModel:
    """A model with a dynamic batch, or the original model and the reason why it stays static."""

    model: ov.Model
    note: str

    @property
    def dynamic(self) -> bool:
        """Whether the batch is dynamic."""
        return not self.note


def open_batch(model: ov.Model, seed: int) -> BatchedModel:
    """Return a copy of a model with a dynamic batch dimension of every input.

    The batch stays static unless, in f32 on the CPU, a batch of two equals its samples run one by
    one.  Inputs without a layout get ``N...``.
    """
    import openvino as ov

    axes = {i: axis for i, p in enumerate(model.inputs) if (axis := batch_axis(p)) is not None}
    if not axes:
        return BatchedModel(model, "no input has a batch dimension")
    opened = model.clone()
    shapes = {}
    for index, axis in axes.items():
        shape = opened.inputs[index].get_partial_shape()
        if shape.rank.is_dynamic:
            return BatchedModel(model, "an input has a dynamic rank")
        shape[axis] = ov.Dimension(-1)
        shapes[opened.inputs[index]] = shape
    try:
        opened.reshape(shapes)
    except RuntimeError as error:
        return BatchedModel(model, f"the graph does not accept another batch: {reason(error)}")
    note = _difference(opened, axes, seed)
    if note:
        return BatchedModel(model, note)
    for index in axes:
        node = opened.inputs[index].get_node()
        if node.layout.empty:
            node.set_layout(ov.Layout("N..."))
    return BatchedModel(opened, "")


def _difference(model: ov.Model, axes: dict[int, int], seed: int) -> str:
    """Return how a batch of two differs from its samples one by one; empty if equal."""
    described = ports(model)
    pair = random_inputs(model, with_batch(model, check_shapes(model), batch=2), seed)
    names = {described["inputs"][index].name: axis for index, axis in axes.items()}
    singles: list[Inputs] = [
        {n: np.take(a, [i], axis=names[n]) if n in names else a for n, a in pair.items()}
        for i in (0, 1)
    ]
    run = ReferenceModel(model).run
    try:
        together, alone = run(pair), [run(single) for single in singles]
    except InputError as error:
        return f"the graph does not run with another batch: {error}"
    for port, both, *each in zip(described["outputs"], together, *alone, strict=True):
        if not _is_stack_of(both, each):
            return f"output {port.name!r} of a batch of two differs from its samples"
    return ""


def _is_stack_of(both: Array, each: list[Array]) -> bool:
    """Whether ``both`` is the concatenation of two arrays along the first dimension."""
    if not each[0].ndim or both.shape != (2 * each[0].shape[0], *each[0].shape[1:]):
        return False
    expected = np.concatenate(each).astype(np.float64)
    largest = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    return bool(np.allclose(both, expected, rtol=0, atol=_TOLERANCE * largest, equal_nan=True))
