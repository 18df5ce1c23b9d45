"""The torch network that a variant's source makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.core.errors import InputError
from ovtool.models.options import SourceOptions
from ovtool.models.source_table import SOURCES, kind_of

if TYPE_CHECKING:
    from ovtool.core.variant import Source
    from ovtool.models.network import Network

RUNS_CODE = ("torch", "torch-file")
"""Kinds of source that run code which a file names or holds."""


def makes_networks(kind: str) -> bool:
    """Whether sources of a kind are torch modules."""
    return kind in (*RUNS_CODE, "sample")


def network_of(source: Source, options: SourceOptions) -> Network:
    """Return the network of a variant's source, made anew.

    Args:
        source: As the variant recorded it.
        options: Weights and shapes that it was converted with; ``trust`` allows running the code
            that the record names.

    Raises:
        InputError: It is no torch module, it needs trust, or it changed since.
    """
    if source.kind in RUNS_CODE and not options.trust:
        raise InputError(
            f"this step trains, and so runs the code that the variant came from: "
            f"{source.reference}",
            "read it, then allow it with --trust",
        )
    network, digest = _read(source.reference, source.kind, options)
    if source.sha256 is not None and digest != source.sha256:
        raise InputError(
            f"{source.reference} is not what the variant was made from: its code or weights differ",
            "give the same --weights, or convert it again",
        )
    return network


def network_named(reference: str, options: SourceOptions) -> Network:
    """Return the network of a reference that a user gave; raises as :func:`network_of`."""
    kind = kind_of(reference)
    if kind in RUNS_CODE and not options.trust:
        raise InputError(f"{reference} runs code", "read it, then allow it with --trust")
    return _read(reference, kind, SourceOptions(trust=options.trust))[0]


def _read(reference: str, kind: str, options: SourceOptions) -> tuple[Network, str | None]:
    if not makes_networks(kind):
        raise InputError(
            f"this step needs a torch module, and {reference} is none",
            "start from module:function or a sample: model",
        )
    read = SOURCES.load(kind)(reference, options.model_copy(update={"trust": True}))
    network: Network | None = read.network
    if network is None:
        raise InputError(f"{reference} has no torch module")
    return network, read.source.sha256
