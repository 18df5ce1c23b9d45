"""Shared weights: codebooks in place of the weights of layers, with values that can be trained.

Training ties the weights of PyTorch modules to their codebooks. The modules are matched with the
layers of the graph by the weights themselves.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from ovtool.compression.codebook import Codebook, write_codebook
from ovtool.compression.distillation import DistillationSettings, retrain
from ovtool.compression.layer_selection import LayerSelectionSettings, select_weights
from ovtool.compression.method import MethodContext, MethodResult
from ovtool.compression.networks import convert_network
from ovtool.core.errors import InputError
from ovtool.graph.weights import find_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import openvino as ov
    import torch
    from numpy.typing import NDArray

    from ovtool.compression.method import Need
    from ovtool.graph.weights import LayerWeights
    from ovtool.models.network import Network

    BuildCodebook = Callable[[NDArray[np.float32], int], Codebook]
    """Returns the codebook of a layer from its weights and its number."""

_TOLERANCE = 1e-5  # of the largest weight: f32 arithmetic of merging a normalization
_MIN_WEIGHTS_PER_CHANNEL = 4


class SharedWeightsSettings(LayerSelectionSettings, DistillationSettings):
    """Settings of methods that share weights."""

    epochs: int = Field(0, ge=0, description="epochs of training the shared values; 0: none")


def shared_training_needs(settings: SharedWeightsSettings) -> frozenset[Need]:
    """Return the inputs that training of the shared values requires."""
    return frozenset({"training", "network"}) if settings.epochs else frozenset()


def share_weights(context: MethodContext[Any], build: BuildCodebook) -> MethodResult:
    """Replace weights by codebooks, and train their values if the settings have epochs.

    The context is of a method with :class:`SharedWeightsSettings`.

    Raises:
        InputError: Training inputs are missing, or no layer matches a module of the network.
    """
    writer = _CodebookWriter(build)
    selected = select_weights(context.model, context.settings, embeddings=True)
    if context.settings.epochs:
        return _train_values(context, selected, writer)
    context.progress.start("sharing weights", len(selected))
    for stored in selected:
        writer.write(stored)
        context.progress.advance()
    return MethodResult(context.model, writer.details())


class _CodebookWriter:
    """Builds and writes codebooks, and sums up the details of the step."""

    def __init__(self, build: BuildCodebook) -> None:
        self._build = build
        self.layers = self.skipped = self.weights = self.values = 0
        self._index = 0
        self._error = self._total = 0.0

    def codebook(self, stored: LayerWeights, values: NDArray[np.float32]) -> Codebook | None:
        """Return the codebook of a layer; None if it is not smaller than the weights."""
        codebook = self._build(values, self._index)
        self._index += 1
        bits = int(stored.constant.get_element_type().bitwidth)
        if codebook.stored_bits >= codebook.indices.size * bits:
            self.skipped += 1
            return None
        self.layers += 1
        self.weights += codebook.indices.size
        self.values += len(codebook.values)
        self._error += float(np.square(values - codebook.weights()).sum(dtype=np.float64))
        self._total += float(np.square(values).sum(dtype=np.float64))
        return codebook

    def write(self, stored: LayerWeights) -> None:
        codebook = self.codebook(stored, stored.values())
        if codebook is not None:
            write_codebook(stored, codebook)

    def details(self) -> dict[str, Any]:  # the error is the error before training
        return {
            "shared_layers": self.layers,
            "layers_that_would_not_shrink": self.skipped,
            "shared_weights": self.weights,
            "table_values": self.values,
            "relative_error": float(np.sqrt(self._error / self._total)) if self._total else 0.0,
        }


def _train_values(
    context: MethodContext[SharedWeightsSettings],
    selected: list[LayerWeights],
    writer: _CodebookWriter,
) -> MethodResult:
    network = context.create_network("retraining")
    context.progress.start("sharing weights", len(selected))
    modules = shareable_modules(network)
    matches = {stored.name: match_module(stored, modules) for stored in selected}
    codebooks: dict[str, Codebook] = {}
    for stored in selected:
        match = matches[stored.name]
        if match is not None:
            codebook = writer.codebook(stored, module_weights(modules[match.module], stored))
            if codebook is not None:
                codebooks[match.module] = codebook
        context.progress.advance()
    if not codebooks:
        raise InputError(
            f"no selected layer has the weights of a module of {network.reference}",
            "share weights without training: --set epochs=0",
        )
    for name, codebook in codebooks.items():
        tie(modules[name], codebook)
    trained = retrain(network, context, stage="training shared values")
    for name, codebook in codebooks.items():
        codebooks[name] = untie(modules[name], codebook)
    result = convert_network(context, network, {})
    unmatched = [name for name, match in matches.items() if match is None]
    _write_all(result.model, network, codebooks, unmatched, writer)
    if unmatched:
        names = ", ".join(unmatched)
        context.progress.note(f"shared but not trained, no module has these weights: {names}")
    details = {**writer.details(), "training": trained.to_json() if trained else None}
    return MethodResult(result.model, details, None if unmatched else network)


def _write_all(
    model: ov.Model,
    network: Network,
    codebooks: dict[str, Codebook],
    unmatched: list[str],
    writer: _CodebookWriter,
) -> None:
    """Write codebooks into a graph that was converted from the trained network."""
    modules = {n: module for n, module in shareable_modules(network).items() if n in codebooks}
    remaining = set(codebooks)
    replaced = set()
    for stored in find_weights(model):
        source = stored.layer.input_value(stored.index).get_node().get_friendly_name()
        usable = stored.replaceable and source not in replaced
        match = match_module(stored, modules) if usable else None
        if match is not None:
            codebook = codebooks[match.module]
            indices = codebook.indices.reshape(stored.values().shape)
            write_codebook(stored, replace(codebook, indices=indices), match.scale)
            replaced.add(source)
            remaining.discard(match.module)
        elif stored.replaceable and stored.name in unmatched:
            writer.write(stored)
    if remaining:
        raise InputError(
            f"the converted graph lacks the shared weights of {', '.join(sorted(remaining))}",
            "skip these layers: ignored_names",
        )


@dataclass(frozen=True, slots=True)
class ModuleMatch:
    """The module with the weights of a layer of the graph.

    ``scale`` is a factor of each output channel from a normalization that the conversion merged; it
    broadcasts.
    """

    module: str
    scale: NDArray[np.float32] | None


def shareable_modules(network: Network) -> dict[str, torch.nn.Module]:
    """Return the modules with weights of their own that can be shared, by name."""
    import torch
    from torch.nn.utils import parametrize

    kinds = (torch.nn.modules.conv._ConvNd, torch.nn.Linear, torch.nn.Embedding)  # noqa: SLF001 - the one base of all convolutions
    candidates = {
        name: module
        for name, module in network.module.named_modules()
        if isinstance(module, kinds) and not parametrize.is_parametrized(module)
    }
    users = Counter(id(module.weight) for module in candidates.values())
    return {name: module for name, module in candidates.items() if users[id(module.weight)] == 1}


def match_module(
    stored: LayerWeights, modules: Mapping[str, torch.nn.Module]
) -> ModuleMatch | None:
    """Return the module with these weights; None without a match.

    The conversion may have multiplied each output channel by a factor, which is estimated and
    verified.
    """
    values = stored.values()
    for name, module in modules.items():
        weight: Any = module.weight
        if weight.numel() != values.size:
            continue
        ours = module_weights(module, stored)
        if np.array_equal(ours, values):
            return ModuleMatch(name, None)
        channels = math.prod(values.shape[axis] for axis in stored.channel_axes)
        if values.size < _MIN_WEIGHTS_PER_CHANNEL * channels:
            continue  # a factor per channel would fit any weights
        scale = _fit_scale(values, ours, stored.channel_axes)
        if np.abs(values - ours * scale).max() <= _TOLERANCE * np.abs(values).max():
            return ModuleMatch(name, scale)
    return None


def module_weights(module: Any, stored: LayerWeights) -> NDArray[np.float32]:
    """Return the weights of a module in the shape that a layer of the graph reads.

    Grouped convolutions have one more axis in the graph, with the same order of weights.
    """
    array: NDArray[np.float32] = module.weight.detach().cpu().float().numpy()
    return array.reshape(list(stored.layer.input(stored.index).get_shape())).copy()


def _fit_scale(
    values: NDArray[np.float32], ours: NDArray[np.float32], axes: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return the least-squares factor of each channel; 1 for channels of zeros."""
    others = tuple(axis for axis in range(values.ndim) if axis not in axes)
    above = (values.astype(np.float64) * ours).sum(others, keepdims=True)
    below = np.square(ours, dtype=np.float64).sum(others, keepdims=True)
    scale: NDArray[Any] = np.divide(above, below, out=np.ones_like(below), where=below > 0)
    return scale.astype(np.float32)


def tie(module: torch.nn.Module, codebook: Codebook) -> None:
    """Tie the weights of a module to a codebook, so that training updates its values.

    The gradient of a value is the sum of the gradients of its weights, as in Deep Compression.
    """
    import torch
    from torch.nn.utils import parametrize

    class Shared(torch.nn.Module):  # type: ignore[misc] # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            free = torch.ones(len(codebook.values))
            if codebook.zero_first:
                free[0] = 0
            # Not part of checkpoints: they follow from the same weights.
            self.register_buffer("free", free, persistent=False)
            indices = torch.from_numpy(codebook.indices.ravel())
            self.register_buffer("indices", indices, persistent=False)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return (values * self.free).index_select(0, self.indices).view(shape)

        def right_inverse(self, _: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(codebook.values).to(dtype)

    weight: Any = module.weight
    shape, dtype = weight.shape, weight.dtype
    parametrize.register_parametrization(module, "weight", Shared())


def untie(module: Any, codebook: Codebook) -> Codebook:
    """Give a module plain weights again; return its codebook with the trained values."""
    from torch.nn.utils import parametrize

    values = module.parametrizations.weight.original.detach().float().numpy().copy()
    if codebook.zero_first:
        values[0] = 0
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return replace(codebook, values=values)
