"""Which layers of a graph a compression method applies to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ovtool.compression.method import Ignoring
from ovtool.compression.nncf_session import check_ignored
from ovtool.graph.weights import Stored, size, weights

if TYPE_CHECKING:
    import openvino as ov


class Layered(Ignoring):
    """Settings of methods that put other values in place of a layer's weights."""

    keep_first: bool = Field(False, description="leave the first layer as it is")
    keep_last: bool = Field(False, description="leave the last layer as it is")
    min_weights: int = Field(256, ge=1, description="leave layers of fewer weights as they are")


def chosen(model: ov.Model, settings: Layered, *, embeddings: bool) -> list[Stored]:
    """Return the plain weights that settings do not leave as they are, each once.

    Raises:
        InputError: What is to be ignored is not in the model.
    """
    check_ignored(model, settings)
    found: dict[tuple[str, int], Stored] = {}
    for stored in weights(model):
        source = stored.layer.input_value(stored.index)
        if stored.plain and (embeddings or stored.layer.get_type_name() != "Gather"):
            found.setdefault((source.get_node().get_friendly_name(), source.get_index()), stored)
    large = [s for s in found.values() if size(s.constant) >= settings.min_weights]
    first = 1 if settings.keep_first else 0
    last = len(large) - (1 if settings.keep_last else 0)
    return [stored for stored in large[first:last] if not _ignored(stored.layer, settings)]


def _ignored(layer: Any, settings: Ignoring) -> bool:
    name = layer.get_friendly_name()
    return (
        name in settings.ignored_names
        or layer.get_type_name() in settings.ignored_types
        or any(re.match(pattern, name) for pattern in settings.ignored_patterns)
    )
