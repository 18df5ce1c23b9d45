"""Candidates for the batch dimensions of a model's inputs, the most likely first."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ovtool.core.shapes import OPEN
from ovtool.models.inputs import batch_axis

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import openvino as ov

    from ovtool.models.inputs import Symbols

Axes = tuple[int | None, ...]
"""The batch dimension of each input or output; None without one."""

_BATCH_NAME = re.compile(r"(n|b|bs|bsz|(.*_)?batch(_?size)?)(_\d+)?", re.IGNORECASE)
_MAX_ASSIGNMENTS, _MAX_CANDIDATES = 4096, 48


@dataclass(frozen=True)
class Candidates:
    """The batch dimensions that the inputs of a model may have.

    A layout decides for its input.  ``symbols`` are the names of dimensions in the source: those
    called ``batch``, ``N`` or the like come first.  The fixed sizes of the chosen dimensions, and
    the names of open ones, agree.
    """

    model: ov.Model
    symbols: Symbols

    @cached_property
    def all(self) -> tuple[Axes, ...]:
        """The candidates; each has a batch dimension in at least one input."""
        options = [self._options(index) for index in range(len(self.model.inputs))]
        distinct = dict.fromkeys((*self._by_name(options), *self._assignments(options)))
        complete = filter(self._covers_names, distinct)
        return tuple(itertools.islice(complete, _MAX_CANDIDATES))

    def named(self, axes: Axes) -> bool:
        """Whether a layout, or a name of the source, says that these are batch dimensions."""
        return any(
            axis is not None
            and (
                self._has_layout(index)
                or _BATCH_NAME.fullmatch(self._symbol(index, axis) or "") is not None
            )
            for index, axis in enumerate(axes)
        )

    def sizes(self, axes: Sequence[int | None]) -> set[int]:
        """Return the sizes of the batch dimensions; -1 is an open one."""
        return {self._lengths(index)[axis] for index, axis in enumerate(axes) if axis is not None}

    def _has_layout(self, index: int) -> bool:
        return not self.model.inputs[index].get_node().layout.empty

    def _options(self, index: int) -> list[int]:
        """Return the possible batch dimensions of an input: the one of its layout, or several.

        They are open or 1, or the first dimension.  The second dimension of [length, batch, ...],
        or of indices [length, batch], may have another size, unless every input has a dimension of
        1: that is the batch then.
        """
        port = self.model.inputs[index]
        if self._has_layout(index):
            axis = batch_axis(port)
            return [] if axis is None else [axis]
        likely = set(self._open_or_one(index))
        sizes = self._lengths(index)
        if sizes and OPEN not in sizes:
            likely.add(0)
        features = port.get_element_type().is_real()
        if len(sizes) >= (3 if features else 2) and OPEN not in sizes and not self._single:
            likely.add(1)
        return sorted(likely)

    @cached_property
    def _single(self) -> bool:
        """Whether every input but scalars has a dimension that is open or 1."""
        indices = range(len(self.model.inputs))
        return all(self._open_or_one(i) for i in indices if self._lengths(i))

    def _lengths(self, index: int) -> list[int]:
        shape = self.model.inputs[index].get_partial_shape()
        return [d.get_length() if d.is_static else OPEN for d in shape]

    def _open_or_one(self, index: int) -> list[int]:
        return [axis for axis, size in enumerate(self._lengths(index)) if size in (OPEN, 1)]

    def _by_name(self, options: Sequence[Sequence[int]]) -> Iterator[Axes]:
        """Yield the dimensions that share the name of a batch."""
        names = dict.fromkeys(
            name
            for index, axes in enumerate(options)
            for axis in axes
            if (name := self._symbol(index, axis)) and _BATCH_NAME.fullmatch(name)
        )
        for name in names:
            yield tuple(
                next((a for a in axes if name == self._symbol(index, a)), None)
                if not self._has_layout(index)
                else next(iter(axes), None)
                for index, axes in enumerate(options)
            )

    def _assignments(self, options: Sequence[Sequence[int]]) -> Iterator[Axes]:
        """Yield combinations of dimensions; inputs of equal shapes and names share a choice.

        Inputs without a batch dimension come last, and before them the higher dimensions.
        """
        groups: dict[object, list[int]] = {}
        for index, port in enumerate(self.model.inputs):
            names = [self._symbol(index, axis) for axis in options[index]]
            key = str(port.get_partial_shape()), tuple(names), tuple(options[index])
            groups.setdefault(key, []).append(index)
        choices = [[*options[members[0]], None] for members in groups.values()]
        while math.prod(map(len, choices)) > _MAX_ASSIGNMENTS:
            longest = max(choices, key=len)
            del longest[-2 if len(longest) > 2 else -1]

        def order(chosen: Sequence[int | None]) -> tuple[int, int, int]:
            without = sum(a is None and len(c) > 1 for a, c in zip(chosen, choices, strict=True))
            axes = [axis or 0 for axis in chosen]
            return without, max(axes, default=0), sum(axes)

        for chosen in sorted(itertools.product(*choices), key=order):
            axes: list[int | None] = [None] * len(options)
            for axis, members in zip(chosen, groups.values(), strict=True):
                for index in members:
                    axes[index] = axis
            if any(axis is not None for axis in axes) and self._agree(axes):
                yield tuple(axes)

    def _agree(self, axes: Sequence[int | None]) -> bool:
        """Whether the fixed sizes agree, and the names of open dimensions."""
        names = {self._symbol(i, axis) for i, axis in enumerate(axes) if axis is not None}
        return len(self.sizes(axes) - {OPEN}) <= 1 and len(names - {None}) <= 1

    def _covers_names(self, axes: Axes) -> bool:
        """Whether no other dimension has the name, and so the size, of a batch dimension.

        The rows of an adjacency matrix [nodes, nodes] are no batch.  A layout decides against it.
        """
        names = {
            self._symbol(index, axis)
            for index, axis in enumerate(axes)
            if axis is not None and not self._has_layout(index)
        }
        others = {
            self._symbol(index, axis)
            for index, chosen in enumerate(axes)
            for axis in range(len(self._lengths(index)))
            if axis != chosen and not self._has_layout(index)
        }
        return not (names & others) - {None}

    def _symbol(self, index: int, axis: int) -> str | None:
        for name in sorted(self.model.inputs[index].get_names()):
            if name in self.symbols and axis < len(self.symbols[name]):
                return self.symbols[name][axis]
        return None
