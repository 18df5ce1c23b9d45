"""Layers of a torch network as a user names them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ovtool.core.errors import InputError
from ovtool.core.registry import suggestion

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from ovtool.models.network import Network


def layer(network: Network, name: str, setting: str) -> torch.nn.Module:
    """Return the module of a name.

    Args:
        network: That has it.
        name: As ``named_modules`` gives it, e.g. ``layer4.0.conv1``.
        setting: Where the user gave it, for the message.

    Raises:
        InputError: There is none; the hint suggests the nearest.
    """
    known = {name: module for name, module in network.module.named_modules() if name}
    if name not in known:
        raise InputError(f"{setting}: no layer {name!r} in {network.reference}",
                         suggestion(name, dict(known)))  # fmt: skip
    return known[name]


def matching(
    network: Network, names: Sequence[str], patterns: Sequence[str], setting: str
) -> dict[str, torch.nn.Module]:
    """Return the modules of names, and those whose names regular expressions fit from the start.

    Raises:
        InputError: A name or a pattern fits none.
    """
    found = {name: layer(network, name, setting) for name in names}
    for pattern in patterns:
        fitting = {n: m for n, m in network.module.named_modules() if n and re.match(pattern, n)}
        if not fitting:
            raise InputError(f"{setting}: no layer fits the pattern {pattern!r}")
        found |= fitting
    return found


def exchange(network: Network, old: torch.nn.Module, new: torch.nn.Module) -> None:
    """Put a module in another one's place, everywhere it is used."""
    places = [
        name
        for name, module in network.module.named_modules(remove_duplicate=False)
        if module is old
    ]
    for name in places:
        parent, _, leaf = name.rpartition(".")
        setattr(network.module.get_submodule(parent), leaf, new)
