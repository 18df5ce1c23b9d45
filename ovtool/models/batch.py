"""Find the batch dimensions of a model, and make them dynamic where samples stay independent.

Shape inference with two batches rejects most candidates of :mod:`.batch_candidates`.  For the
others, in f32 on the CPU, a batch of two must equal its samples run one by one.  That also shows
the batch dimension of every output.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ovtool.core.errors import InputError
from ovtool.core.ports import ports
from ovtool.core.shapes import OPEN
from ovtool.core.third_party import reason
from ovtool.graph.reference_run import ReferenceModel
from ovtool.models.batch_candidates import Axes, Candidates
from ovtool.models.check_inputs import random_inputs
from ovtool.models.inputs import NO_SYMBOLS, Symbols, batch_axis, check_shapes, with_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import openvino as ov

    from ovtool.models.source import Array, Inputs

# Rounding error of f32 when another batch selects other kernels.
_TOLERANCE = 1e-4
_MAX_RUN, _SEEDS = 6, 3


@dataclass(frozen=True, slots=True)
class BatchedModel:
    """A model with layouts that name the batch dimensions; the batch is dynamic if possible.

    ``note`` says why the batch is not dynamic, or which other dimension may be the batch.
    """

    model: ov.Model
    batch: Literal["dynamic", "static", "none"]
    note: str = ""


def open_batch(
    model: ov.Model,
    seed: int,
    symbols: Symbols = NO_SYMBOLS,
    accepts: Callable[[Inputs], bool] = lambda _: True,
) -> BatchedModel:
    """Return a copy of a model with a dynamic batch dimension, and set the layouts of ``model``.

    The batch stays static unless, in f32 on the CPU, a batch of two equals its samples run one by
    one.  Then a fixed batch above 1 is verified by exchanging its samples.

    Args:
        model: The model of the source; its inputs get layouts.
        seed: Seed of the random inputs.
        symbols: Names of the dimensions of inputs.
        accepts: Whether the source runs on some inputs.  On inputs that make no sense, such as an
            image of size 0, OpenVINO may end the process.
    """
    if any(port.get_partial_shape().rank.is_dynamic for port in model.inputs):
        return BatchedModel(model, "none", "an input has a dynamic rank")
    search = _Search(model, seed, symbols, accepts)
    opened = search.open()
    if opened is None:
        return search.keep_static()
    note = search.ambiguity()
    _set_layouts(model, search.axes, ())
    return BatchedModel(opened, "dynamic", note)


@dataclass(slots=True)
class _Search:
    """The search for the batch dimensions of one model."""

    model: ov.Model
    seed: int
    symbols: Symbols
    accepts: Callable[[Inputs], bool]
    axes: Axes = ()
    """The batch dimensions of the inputs, once known."""
    failure: str = ""
    """Why the most likely candidate failed."""
    _shaped: Any = field(default=None, init=False)
    _candidates: Candidates = field(init=False)

    def __post_init__(self) -> None:
        self._shaped = self.model.clone()
        self._candidates = Candidates(self.model, self.symbols)

    def open(self) -> ov.Model | None:
        """Return a copy with a dynamic batch, with layouts; None if no candidate is correct."""
        runs = 0
        for axes in self._candidates.all:
            failure = self._shape_failure(axes)
            if not failure and runs < _MAX_RUN:
                runs += 1
                opened = self._open_copy(axes)
                result = self._verify(opened, axes)
                if not isinstance(result, str):
                    _set_layouts(opened, axes, result)
                    self.axes = axes
                    return opened
                failure = result
            self.failure = self.failure or failure
        return None

    def ambiguity(self) -> str:
        """Return which other dimension passes the same checks; empty without one.

        Only a dimension that is open or 1 is tried, where the chosen one is neither named by the
        source nor 1, since every try compiles the model.
        """
        if self._candidates.named(self.axes) or self._candidates.sizes(self.axes) <= {1}:
            return ""
        for axes in self._candidates.all:
            others = [(i, a) for i, a in enumerate(axes) if a is not None and a != self.axes[i]]
            if (
                not others
                or not self._candidates.sizes(axes) <= {1, OPEN}
                or self._shape_failure(axes)
            ):
                continue
            if isinstance(self._verify(self._open_copy(axes), axes), str):
                return ""
            described = ports(self.model)["inputs"]
            names = ", ".join(f"{axis} of {described[i].name}" for i, axis in others)
            options = " ".join(
                f"--layout {described[i].name}={_letters(axis, len(described[i].shape), '?')}"
                for i, axis in others
            )
            return f"dimension {names} passes the checks of a batch too; to use it: {options}"
        return ""

    def keep_static(self) -> BatchedModel:
        """Return the model with a fixed batch, or without a batch dimension."""
        sizes = {axes: self._candidates.sizes(axes) for axes in self._candidates.all}
        fixed = [axes for axes, values in sizes.items() if len(values) == 1 and min(values) > 1]
        for axes in sorted(fixed, key=lambda axes: max(axis or 0 for axis in axes))[:_MAX_RUN]:
            outputs = self._verify_fixed(axes, min(sizes[axes]))
            if outputs is not None:
                return self._static(axes, outputs)
        likely = self._likely()
        if likely is None:
            nowhere = (None,) * len(self.model.inputs), (None,) * len(self.model.outputs)
            _set_layouts(self.model, *nowhere)
            return BatchedModel(
                self.model, "none", self.failure or "no input has a batch dimension"
            )
        shapes = [port.get_partial_shape() for port in self.model.inputs]
        closed = []
        for port, shape, axis in zip(ports(self.model)["inputs"], shapes, likely, strict=True):
            if axis is not None and shape[axis].is_dynamic:
                shape[axis] = max(1, shape[axis].get_min_length())
                closed.append(f"--layout {port.name}={'?' * len(shape)}")
        if closed:
            way_out = f"if it is no batch, keep it open: {' '.join(closed)}"
            self.failure = "; ".join(filter(None, (self.failure, way_out)))
        self.model.reshape(dict(enumerate(shapes)))
        size = min(self._candidates.sizes(likely))
        outputs = tuple(_first_axis(port.get_partial_shape(), size) for port in self.model.outputs)
        return self._static(likely, outputs)

    def _likely(self) -> Axes | None:
        """Return what the source or a layout calls the batch, or the first dimensions of 1."""
        layouts = tuple(map(batch_axis, self.model.inputs))
        declared = [axes for axes in self._candidates.all if self._candidates.named(axes)]
        if any(axis is not None for axis in layouts):
            declared.append(layouts)
        single = [axes for axes in self._candidates.all if self._candidates.sizes(axes) == {1}]
        return next(iter((*declared, *single)), None)

    def _static(self, axes: Axes, outputs: Axes) -> BatchedModel:
        _set_layouts(self.model, axes, outputs)
        return BatchedModel(self.model, "static", self.failure)

    def _shapes(self, axes: Axes, size: int) -> dict[int, ov.PartialShape]:
        shapes = {}
        for index, axis in enumerate(axes):
            shapes[index] = self.model.inputs[index].get_partial_shape()
            if axis is not None:
                shapes[index][axis] = size
        return shapes

    def _shape_failure(self, axes: Axes) -> str:
        """Return why shape inference with batches 2 and 3 rules a candidate out; empty if not."""
        inferred = []
        for size in (2, 3):
            try:
                self._shaped.reshape(self._shapes(axes, size))
            except RuntimeError as error:
                return f"the graph does not accept another batch: {shorten(reason(error), 80)}"
            inferred.append([port.get_partial_shape() for port in self._shaped.outputs])
        same = [two == three and two.is_static for two, three in zip(*inferred, strict=True)]
        dependent = _data_dependent(self.model, axes)
        for port, constant, depends in zip(
            ports(self.model)["outputs"], same, dependent, strict=True
        ):
            if constant and depends:
                return (
                    f"output {port.name!r} depends on the samples but does not grow with the batch"
                )
        return "no output has a batch dimension" if all(same) else ""

    def _open_copy(self, axes: Axes) -> ov.Model:
        opened = self.model.clone()
        opened.reshape(self._shapes(axes, OPEN))
        _set_layouts(opened, axes, ())
        return opened

    def _verify(self, opened: ov.Model, axes: Axes) -> Axes | str:
        """Return the batch dimension of each output, or how a batch differs from its samples."""
        described = ports(opened)
        names = {described["inputs"][i].name: a for i, a in enumerate(axes) if a is not None}
        dependent = _data_dependent(self.model, axes)
        leading = not any(axes)  # its outputs may be [batch * boxes, 4]
        run = ReferenceModel(opened).run
        base = with_batch(opened, check_shapes(opened, self.symbols), batch=2)
        outputs: Axes = ()
        first: list[Array] | None = None
        for seed in range(self.seed, self.seed + _SEEDS):
            pair = random_inputs(opened, base, seed)
            singles: list[Inputs] = [
                {n: np.take(a, [i], axis=names[n]) if n in names else a for n, a in pair.items()}
                for i in (0, 1)
            ]
            if not all(self._source_accepts(single, names) for single in singles):
                continue
            try:
                both, first, second = run(pair), run(singles[0]), run(singles[1])
            except InputError as error:
                return f"the graph does not run with another batch: {error}"
            matched: list[int | None] = []
            values = zip(described["outputs"], dependent, both, first, second, strict=True)
            for port, depends, together, *alone in values:
                axis = _stacked_axis(together, alone)
                if axis is not None and alone[0].shape[axis] != 1 and not (leading and axis == 0):
                    axis = None
                if axis is None and (depends or not _equal(together, alone[0])):
                    return f"output {port.name!r} of a batch of two differs from its samples"
                matched.append(axis)
            outputs = tuple(matched)
            if all(axis is None for axis in outputs):
                return "no output has a batch dimension"
            if any(not _equal(a, b) for a, b in zip(first, second, strict=True)):
                break
        else:
            return _unproven(first) or outputs
        return outputs

    def _source_accepts(self, single: Inputs, axes: Mapping[str, int]) -> bool:
        """Whether the source runs on a sample, repeated where its batch is fixed above 1.

        Only integers are tried, since shapes and counts are what a source rejects.
        """
        if all(array.dtype.kind not in "iu" for array in single.values()):
            return True
        repeated = dict(single)
        for port, name in zip(self.model.inputs, single, strict=True):
            if name in axes:
                size = max(1, port.get_partial_shape()[axes[name]].get_min_length())
                repeated[name] = np.repeat(single[name], size, axes[name])
        return self.accepts(repeated)

    def _verify_fixed(self, axes: Axes, size: int) -> Axes | None:
        """Return the batch dimension of each output of a fixed batch; None if samples mix.

        Other samples in other places must give the same outputs in those places: the batch is run
        with its samples moved by one, and with a new sample in the first place.
        """
        described = ports(self.model)
        names = {described["inputs"][i].name: a for i, a in enumerate(axes) if a is not None}
        try:
            shapes = check_shapes(self.model, self.symbols)
            run = ReferenceModel(self.model).run
            inputs, other = (random_inputs(self.model, shapes, self.seed + i) for i in (0, 1))
            moved = {n: np.roll(a, 1, names[n]) if n in names else a for n, a in inputs.items()}
            mixed = {}
            for name, array in inputs.items():
                mixed[name] = array.copy()
                if name in names:
                    np.moveaxis(mixed[name], names[name], 0)[0] = np.take(
                        other[name], 0, names[name]
                    )
            if not all(map(self.accepts, (inputs, moved, mixed))):
                return None
            results = zip(run(inputs), run(moved), run(mixed), strict=True)
        except InputError:
            return None
        dependent = _data_dependent(self.model, axes)
        outputs: list[int | None] = []
        for (plain, rolled, replaced), depends in zip(results, dependent, strict=True):
            axis = _fixed_axis(plain, rolled, replaced, size)
            if axis is None and depends:
                return None
            outputs.append(axis)
        return tuple(outputs) if any(axis is not None for axis in outputs) else None


def _unproven(outputs: Sequence[Array] | None) -> str:
    """Return why equal outputs of a sample, None if the source rejects it, are no evidence."""
    if outputs is None:
        return "the source rejects the random inputs, so no batch was checked"
    if not any(array.size for array in outputs):
        return "the outputs for random inputs are empty, so no batch was checked"
    floats = [array for array in outputs if array.dtype.kind == "f"]
    if floats and not any(np.isfinite(array).any() for array in floats):
        return "the outputs for random inputs are not finite, so no batch was checked"
    return ""


def _data_dependent(model: ov.Model, axes: Axes) -> list[bool]:
    """Return whether each output depends on values, not only shapes, of inputs with a batch."""
    pending = [port for port, axis in zip(model.inputs, axes, strict=True) if axis is not None]
    seen = set()
    while pending:
        for target in pending.pop().get_target_inputs():
            node = target.get_node()
            if node.get_type_name() != "ShapeOf" and node.get_name() not in seen:
                seen.add(node.get_name())
                pending += node.outputs()
    return [result.get_name() in seen for result in model.get_results()]


def _stacked_axis(both: Array, each: Sequence[Array]) -> int | None:
    """Return the dimension along which ``both`` is the concatenation of two arrays; else None."""
    first, second = each
    if not both.ndim == first.ndim == second.ndim:
        return None
    for axis in range(both.ndim):
        rest = [(*a.shape[:axis], *a.shape[axis + 1 :]) for a in (both, first, second)]
        if both.shape[axis] != 2 * first.shape[axis] or first.shape != second.shape:
            continue
        if rest[0] == rest[1] and _equal(both, np.concatenate([first, second], axis)):
            return axis
    return None


def _fixed_axis(plain: Array, moved: Array, mixed: Array, size: int) -> int | None:
    """Return the dimension of ``size`` samples that moves with them; None without one."""
    for axis, length in enumerate(plain.shape):
        if length != size or moved.shape != plain.shape or mixed.shape != plain.shape:
            continue
        rest = np.arange(1, size)
        follows = _equal(moved, np.roll(plain, 1, axis))
        if follows and _equal(np.take(mixed, rest, axis), np.take(plain, rest, axis)):
            return axis
    return None


def _equal(actual: Array, expected: Array) -> bool:
    if actual.shape != expected.shape:
        return False
    if actual.dtype.kind not in "fiub":
        return bool(np.array_equal(actual, expected))
    wanted = expected.astype(np.float64)
    largest = np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)
    return bool(np.allclose(actual, wanted, rtol=0, atol=_TOLERANCE * largest, equal_nan=True))


def _first_axis(shape: ov.PartialShape, size: int) -> int | None:
    """Return 0 if the first dimension has the size of the batch; else None."""
    if shape.rank.is_dynamic or not shape.rank.get_length() or shape[0].is_dynamic:
        return None
    return 0 if shape[0].get_length() == size else None


def _letters(axis: int | None, rank: int, rest: str = "") -> str:
    """Return a layout with the batch at ``axis``: ``N...``, ``?N?``, or only ``?``."""
    if axis == 0 and not rest:
        return "N..."
    return "".join("N" if place == axis else "?" for place in range(rank))


def _set_layouts(model: ov.Model, inputs: Axes, outputs: Axes) -> None:
    """Set the layouts of inputs and outputs without one in place; a scalar has none."""
    import openvino as ov

    nodes = [
        (p.get_node(), p.get_partial_shape(), a) for p, a in zip(model.inputs, inputs, strict=False)
    ]
    nodes += [
        (p.get_node(), p.get_partial_shape(), a)
        for p, a in zip(model.outputs, outputs, strict=False)
    ]
    for node, shape, axis in nodes:
        if node.layout.empty and shape.rank.is_static and shape.rank.get_length():
            node.set_layout(ov.Layout(_letters(axis, shape.rank.get_length())))
