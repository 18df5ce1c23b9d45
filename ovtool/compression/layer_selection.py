"""Which layers a method applies to, by name, type and pattern: in graphs and PyTorch networks."""

from __future__ import annotations

import copy
import difflib
import re
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ovtool.compression.method import IgnoredScopeSettings
from ovtool.core.errors import InputError
from ovtool.core.registry import suggestion
from ovtool.graph.weights import LayerWeights, count_weights, find_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    import nncf
    import openvino as ov
    import torch

    from ovtool.models.network import Network


class LayerSelectionSettings(IgnoredScopeSettings):
    """Settings of methods that replace the weights of layers."""

    keep_first: bool = Field(False, description="skip the first layer")
    keep_last: bool = Field(False, description="skip the last layer")
    min_weights: int = Field(256, ge=1, description="skip layers with fewer weights")


def select_weights(
    model: ov.Model, settings: LayerSelectionSettings, *, embeddings: bool
) -> list[LayerWeights]:
    """Return the uncompressed weights of the selected layers, shared weights once.

    ``embeddings``: whether to include the tables of embeddings (Gather).

    Raises:
        InputError: An ignored name, type or pattern matches no layer.
    """
    check_ignored(model, settings)
    by_source: dict[tuple[str, int], LayerWeights] = {}
    for stored in find_weights(model):
        source = stored.layer.input_value(stored.index)
        if stored.replaceable and (embeddings or stored.layer.get_type_name() != "Gather"):
            key = (source.get_node().get_friendly_name(), source.get_index())
            by_source.setdefault(key, stored)
    large = [s for s in by_source.values() if count_weights(s.constant) >= settings.min_weights]
    first = 1 if settings.keep_first else 0
    last = len(large) - (1 if settings.keep_last else 0)
    return [stored for stored in large[first:last] if not _is_ignored(stored.layer, settings)]


def _is_ignored(layer: Any, settings: IgnoredScopeSettings) -> bool:
    name = layer.get_friendly_name()
    return (
        name in settings.ignored_names
        or layer.get_type_name() in settings.ignored_types
        or any(re.match(pattern, name) for pattern in settings.ignored_patterns)
    )


def check_ignored(model: ov.Model, settings: IgnoredScopeSettings) -> None:
    """Check that every ignored name, type and pattern matches a layer of the graph.

    Raises:
        InputError: Some match none; the message lists all of them with the nearest names.
    """
    operations = model.get_ordered_ops()
    names = [operation.get_friendly_name() for operation in operations]
    types = sorted({operation.get_type_name() for operation in operations})
    _check_known(names, types, settings)


def ignored_scope(model: ov.Model, settings: IgnoredScopeSettings) -> nncf.IgnoredScope:
    """Return NNCF's ignored scope of a graph, checked by :func:`check_ignored`."""
    check_ignored(model, settings)
    return _scope(settings)


def torch_ignored_scope(
    module: torch.nn.Module, example: Any, settings: IgnoredScopeSettings
) -> nncf.IgnoredScope:
    """Return NNCF's ignored scope of a PyTorch module, checked like :func:`ignored_scope`.

    Names are NNCF's names of calls (``conv1/conv2d/0``) and of weights (``conv1.weight``); types
    are NNCF's too (``conv2d``, ``linear``).

    The module is in eval mode and is not changed.
    """
    import nncf.torch

    wrapped = nncf.torch.wrap_model(copy.deepcopy(module), example, trace_parameters=True)
    nodes = wrapped.build_graph().get_all_nodes()
    types = sorted({node.node_type for node in nodes})
    _check_known([node.node_name for node in nodes], types, settings)
    return _scope(settings)


def _check_known(names: list[str], types: list[str], settings: IgnoredScopeSettings) -> None:
    mistakes = [
        *_unknown("layer", settings.ignored_names, names),
        *_unknown("layer type", settings.ignored_types, types),
        *(
            f"no layer matches the pattern {pattern!r}"
            for pattern in settings.ignored_patterns
            if not any(re.match(pattern, name) for name in names)
        ),
    ]
    if mistakes:
        raise InputError(f"cannot ignore: {'; '.join(mistakes)}")


def _unknown(noun: str, requested: tuple[str, ...], known: list[str]) -> list[str]:
    unknown = [name for name in requested if name not in known]
    nearest = [difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0] for name in unknown]
    return [
        f"no {noun} {name!r} (nearest: {near!r})"
        for name, near in zip(unknown, nearest, strict=True)
    ]


def _scope(settings: IgnoredScopeSettings) -> nncf.IgnoredScope:
    import nncf

    return nncf.IgnoredScope(
        names=list(settings.ignored_names),
        types=list(settings.ignored_types),
        patterns=list(settings.ignored_patterns),
    )


def find_module(network: Network, name: str, setting: str) -> torch.nn.Module:
    """Return a module of a PyTorch network by its name in ``named_modules``.

    ``setting`` is the setting that the name comes from, for the message.

    Raises:
        InputError: The network has no such module; the hint suggests the nearest name.
    """
    known = {name: module for name, module in network.module.named_modules() if name}
    if name not in known:
        raise InputError(
            f"{setting}: no layer {name!r} in {network.reference}", suggestion(name, known)
        )
    return known[name]


def find_modules(
    network: Network, names: Sequence[str], patterns: Sequence[str], setting: str
) -> dict[str, torch.nn.Module]:
    """Return the modules with these names, and those with names that match a pattern at the start.

    Raises:
        InputError: A name or a pattern matches no module.
    """
    selected = {name: find_module(network, name, setting) for name in names}
    for pattern in patterns:
        matches = {n: m for n, m in network.module.named_modules() if n and re.match(pattern, n)}
        if not matches:
            raise InputError(f"{setting}: no layer matches the pattern {pattern!r}")
        selected |= matches
    return selected
