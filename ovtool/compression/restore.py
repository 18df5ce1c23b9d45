"""The torch network behind a variant: the source's, with every step's structure and weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.compression.method import load
from ovtool.core import files, variant
from ovtool.core.errors import InputError

if TYPE_CHECKING:
    from ovtool.core.variant import Variant
    from ovtool.models.network import Network


def trainable(found: Variant) -> bool:
    """Whether a variant's graph has a torch network that belongs to it."""
    return not found.record.steps or found.record.network_sha256 is not None


def restore(source: Network, found: Variant) -> Network:
    """Turn the source's network into that of a variant made from it.

    Args:
        source: A fresh network, as the source makes it; its module is changed.
        found: The variant.

    Raises:
        InputError: A step left torch, or the weights were changed.
    """
    if not trainable(found):
        last = found.record.steps[-1].method
        raise InputError(
            f"variant {found.name} cannot be trained: {last} made a graph without a torch network",
            f"train before {last}",
        )
    for step in found.record.steps:
        rebuild = load(step.method).rebuild
        if rebuild is not None:
            rebuild(source, step)
    if found.record.steps:
        weights = files.existing_file(found.folder / variant.NETWORK, "weights")
        if files.sha256(weights) != found.record.network_sha256:
            raise InputError(f"{weights} was changed since it was made", "compress again")
        source.load(weights)
    return source
