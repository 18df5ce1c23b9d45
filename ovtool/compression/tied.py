"""Torch modules whose weights are entries of a table, and which weights of a graph are theirs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from numpy.typing import NDArray

    from ovtool.compression.codebook import Table
    from ovtool.graph.weights import Stored
    from ovtool.models.network import Network

_TOLERANCE = 1e-5  # of the largest weight: f32 arithmetic of merging a normalization

_LEAST_A_CHANNEL = 4


@dataclass(frozen=True, slots=True)
class Twin:
    """The module whose weights a layer of the graph has.

    Args:
        module: Its name.
        scale: What the conversion multiplied each output channel by, where it merged a
            normalization; in a shape that broadcasts. None: by nothing.
    """

    module: str
    scale: NDArray[np.float32] | None


def modules(network: Network) -> dict[str, torch.nn.Module]:
    """Return the modules with weights of their own that can be shared, by name."""
    import torch
    from torch.nn.utils import parametrize

    kinds = (torch.nn.modules.conv._ConvNd, torch.nn.Linear, torch.nn.Embedding)  # noqa: SLF001 - the one base of all convolutions
    found = {
        name: module
        for name, module in network.module.named_modules()
        if isinstance(module, kinds) and not parametrize.is_parametrized(module)
    }
    users: dict[int, int] = {}
    for module in found.values():
        users[id(module.weight)] = users.get(id(module.weight), 0) + 1
    return {name: module for name, module in found.items() if users[id(module.weight)] == 1}


def twin(stored: Stored, among: Mapping[str, torch.nn.Module]) -> Twin | None:
    """Return the module whose weights these are, by the values themselves; None if there is none.

    A conversion may have multiplied each output channel by a factor, which is found and checked.
    """
    values = stored.values()
    for name, module in among.items():
        weight: Any = module.weight
        if weight.numel() != values.size:
            continue
        ours = weights_of(module, stored)
        if np.array_equal(ours, values):
            return Twin(name, None)
        if values.size < _LEAST_A_CHANNEL * _channels(values, stored.channel_axes):
            continue  # a factor a channel would make any weights of any others
        scale = _scale(values, ours, stored.channel_axes)
        if np.abs(values - ours * scale).max() <= _TOLERANCE * np.abs(values).max():
            return Twin(name, scale)
    return None


def weights_of(module: torch.nn.Module, stored: Stored) -> NDArray[np.float32]:
    """Return a module's weights in the shape that a layer of the graph reads.

    Grouped convolutions have an axis more in the graph, in the same order of weights.
    """
    weight: Any = module.weight
    array: NDArray[np.float32] = weight.detach().cpu().float().numpy()
    return array.reshape(list(stored.layer.input(stored.index).get_shape())).copy()


def _channels(values: NDArray[np.float32], axes: tuple[int, ...]) -> int:
    return math.prod(values.shape[axis] for axis in axes)


def _scale(
    values: NDArray[np.float32], ours: NDArray[np.float32], axes: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return the factor of each channel that fits best; 1 where there are only zeros."""
    others = tuple(axis for axis in range(values.ndim) if axis not in axes)
    above = (values.astype(np.float64) * ours).sum(others, keepdims=True)
    below = np.square(ours, dtype=np.float64).sum(others, keepdims=True)
    scale: NDArray[Any] = np.divide(above, below, out=np.ones_like(below), where=below > 0)
    return scale.astype(np.float32)


def tie(module: torch.nn.Module, table: Table) -> None:
    """Let a module's weights be entries of a table, whose values are trained in their place.

    The gradient of a value is the sum of those of its weights, as in Deep Compression.
    """
    import torch
    from torch.nn.utils import parametrize

    class Shared(torch.nn.Module):  # type: ignore[misc] # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            free = torch.ones(len(table.values))
            if table.held:
                free[0] = 0
            # Not in checkpoints: they are made again from the same weights.
            self.register_buffer("free", free, persistent=False)
            places = torch.from_numpy(table.places.ravel())
            self.register_buffer("places", places, persistent=False)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return (values * self.free).index_select(0, self.places).view(shape)

        def right_inverse(self, _: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(table.values).to(dtype)

    weight: Any = module.weight
    shape, dtype = weight.shape, weight.dtype
    parametrize.register_parametrization(module, "weight", Shared())


def untie(module: Any, table: Table) -> Table:
    """Give a module plain weights again; returns its table with the values of now."""
    from torch.nn.utils import parametrize

    values = module.parametrizations.weight.original.detach().float().numpy().copy()
    if table.held:
        values[0] = 0
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return replace(table, values=values)
