"""Weights that share few values: a table a layer, found by k-means (Han et al. 2016).

Deep Compression's steps: centroids of a layer's weights, every weight the nearest of them, and
then training of the centroids alone, each with the sum of its weights' gradients.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from pydantic import Field, model_validator

from ovtool.compression import kmeans, tied
from ovtool.compression.codebook import Table, write
from ovtool.compression.layer_selection import Layered, chosen
from ovtool.compression.method import Compressed, Method, Work, missing
from ovtool.compression.methods.distillation import Distilling, finish, retrain
from ovtool.core.errors import InputError
from ovtool.graph.weights import weights

if TYPE_CHECKING:
    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.compression.method import Need
    from ovtool.graph.weights import Stored
    from ovtool.models.network import Network

_CLUSTERS = 16


class Assign(Protocol):
    """Makes a table of a layer's weights; ``place`` is the layer's among those that are shared."""

    def __call__(self, values: NDArray[np.float32], place: int) -> Table:
        """Return the table."""


class TabledSettings(Layered, Distilling):
    """Settings of methods that keep weights in tables."""

    epochs: int = Field(
        0, ge=0, description="passes over the training data, for the shared values; 0: none"
    )


class SharingSettings(TabledSettings):
    """Settings of weight sharing."""

    clusters: int | None = Field(
        None, ge=2, le=256, description="values that the weights of a layer share; none: 16"
    )
    bits: int | None = Field(None, ge=1, le=8, description="in place of clusters: 2^bits of them")
    start: Literal["linear", "density", "random"] = Field(
        "linear", description="first centroids: over the range, over the weights, some of them"
    )
    keep_zeros: bool = Field(
        True, description="zero is a value of its own where there are zeros, so they stay"
    )
    iterations: int = Field(200, ge=1, description="of k-means at most")

    @model_validator(mode="after")
    def _one_number(self) -> SharingSettings:
        if self.bits is not None and self.clusters is not None:
            raise ValueError("bits and clusters say the same: give one of them")
        return self

    @property
    def most(self) -> int:
        """The most values that a layer has."""
        return 2**self.bits if self.bits is not None else self.clusters or _CLUSTERS


def clustered(values: NDArray[np.float32], settings: SharingSettings) -> Table:
    """Return the table of k-means, and of each weight the nearest of its values.

    Weights of few enough values keep them as they are.
    """
    flat = values.ravel().astype(np.float64)
    zeros = flat == 0
    held = settings.keep_zeros and bool(zeros.any())
    ordered = np.sort(flat[~zeros] if held else flat)
    room = settings.most - held
    if not len(ordered):
        return Table(np.zeros(1, np.float32), np.zeros(values.shape, np.int64), held)
    distinct = np.unique(ordered)
    if len(distinct) <= room:
        centroids = distinct
    else:
        first = kmeans.starts(ordered, room, settings.start, settings.seed)
        centroids = kmeans.lloyd(ordered, first, settings.iterations)
    places = kmeans.nearest(flat, centroids)
    if held:
        centroids = np.concatenate([[0.0], centroids])
        places = np.where(zeros, 0, places + 1)
    return Table(centroids.astype(np.float32), places.reshape(values.shape), held)


def shared(work: Work[Any], assign: Assign) -> Compressed:
    """Put tables in place of weights, and train their values where the settings ask for it.

    Args:
        work: Of a method whose settings are :class:`TabledSettings`.
        assign: Makes a layer's table.

    Raises:
        InputError: What training needs is not there, or no layer is one of the torch network.
    """
    tally = _Tally(assign)
    found = chosen(work.model, work.settings, embeddings=True)
    if work.settings.epochs:
        return _trained(work, found, tally)
    work.progress.start("sharing weights", len(found))
    for stored in found:
        tally.write(stored)
        work.progress.advance()
    return Compressed(work.model, tally.to_json())


class _Tally:
    """Makes tables and keeps what came of them."""

    def __init__(self, assign: Assign) -> None:
        self._assign = assign
        self.layers = self.left = self.weights = self.values = 0
        self._place = 0
        self._error = self._total = 0.0

    def table(self, stored: Stored, values: NDArray[np.float32]) -> Table | None:
        """Return a table of a layer's weights, None where it takes no less than they do."""
        table = self._assign(values, self._place)
        self._place += 1
        bits = int(stored.constant.get_element_type().bitwidth)
        if table.stored_bits >= table.places.size * bits:
            self.left += 1
            return None
        self.layers += 1
        self.weights += table.places.size
        self.values += len(table.values)
        self._error += float(np.square(values - table.weights()).sum(dtype=np.float64))
        self._total += float(np.square(values).sum(dtype=np.float64))
        return table

    def write(self, stored: Stored) -> None:
        """Put a table in place of a layer's weights."""
        table = self.table(stored, stored.values())
        if table is not None:
            write(stored, table)

    def to_json(self) -> dict[str, Any]:
        """Return the step's details; the error is that before any training."""
        return {
            "shared_layers": self.layers,
            "layers_that_would_not_shrink": self.left,
            "shared_weights": self.weights,
            "table_values": self.values,
            "relative_error": float(np.sqrt(self._error / self._total)) if self._total else 0.0,
        }


def _trained(work: Work[TabledSettings], found: list[Stored], tally: _Tally) -> Compressed:
    if work.material.network is None:
        raise missing("retraining", ["network"])
    network = work.material.network()
    work.progress.start("sharing weights", len(found))
    modules = tied.modules(network)
    pairs = {stored.name: tied.twin(stored, modules) for stored in found}
    tables: dict[str, Table] = {}
    for stored in found:
        pair = pairs[stored.name]
        if pair is not None:
            table = tally.table(stored, tied.weights_of(modules[pair.module], stored))
            if table is not None:
                tables[pair.module] = table
        work.progress.advance()
    if not tables:
        raise InputError(
            f"no layer to share has its weights from a module of {network.reference}",
            "share without training: --set epochs=0",
        )
    for name, table in tables.items():
        tied.tie(modules[name], table)
    trained = retrain(network, work, stage="training shared values")
    for name, table in tables.items():
        tables[name] = tied.untie(modules[name], table)
    done = finish(work, network, {})
    alone = [name for name, pair in pairs.items() if pair is None]
    _write_all(done.model, network, tables, alone, tally)
    if alone:
        work.progress.note(f"shared but not trained, no module's weights alone: {', '.join(alone)}")
    details = {**tally.to_json(), "training": trained.to_json() if trained else None}
    return Compressed(done.model, details, None if alone else network)


def _write_all(
    model: ov.Model, network: Network, tables: dict[str, Table], alone: list[str], tally: _Tally
) -> None:
    """Put tables into a graph converted from a network of shared weights."""
    modules = {name: module for name, module in tied.modules(network).items() if name in tables}
    left = set(tables)
    replaced = set()
    for stored in weights(model):
        source = stored.layer.input_value(stored.index).get_node().get_friendly_name()
        pair = tied.twin(stored, modules) if stored.plain and source not in replaced else None
        if pair is not None:
            table = tables[pair.module]
            places = table.places.reshape(stored.values().shape)
            write(stored, replace(table, places=places), pair.scale)
            replaced.add(source)
            left.discard(pair.module)
        elif stored.plain and stored.name in alone:
            tally.write(stored)
    if left:
        raise InputError(
            f"the shared weights of {', '.join(sorted(left))} are not in the converted graph",
            "leave these layers as they are: ignored_names",
        )


def trained_with(settings: TabledSettings) -> frozenset[Need]:
    """Return what training the shared values needs."""
    return frozenset({"training", "network"}) if settings.epochs else frozenset()


def _apply(work: Work[SharingSettings]) -> Compressed:
    return shared(work, lambda values, _: clustered(values, work.settings))


WEIGHT_SHARING = Method(
    SharingSettings,
    frozenset(),
    _apply,
    "size; the plugins look the weights up while compiling, so speed stays",
    also=trained_with,
)
