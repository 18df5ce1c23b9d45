"""Counting in a graph what is stored in how many bits."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ovtool.graph import weights as stored_weights

if TYPE_CHECKING:
    import openvino as ov


@dataclass(frozen=True, slots=True)
class Share:
    """The weights that are stored in one type."""

    type: str
    bits: int
    layers: int
    weights: int
    share_pct: float


@dataclass(frozen=True, slots=True)
class Census:
    """What a model's layers store.

    Args:
        shares: By type, the widest first.
        quantized_activations: Number of FakeQuantize operations that are not on weights.
    """

    shares: tuple[Share, ...]
    quantized_activations: int

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "weights": [asdict(share) for share in self.shares],
            "quantized_activations": self.quantized_activations,
        }


def count(model: ov.Model) -> Census:
    """Count the weights of convolutions, matrix products and embeddings by their stored type.

    Biases, scales and zero points are not counted.  Weights that several layers share count once.
    """
    found = list(stored_weights.weights(model))
    stored = {one.constant.get_friendly_name(): one.constant for one in found}
    on_weights = {node.get_friendly_name() for one in found for node in one.passed}
    by_type: dict[str, list[Any]] = {}
    for constant in stored.values():
        by_type.setdefault(constant.get_element_type().get_type_name(), []).append(constant)
    total = sum(stored_weights.size(constant) for constant in stored.values())
    shares = [
        Share(
            name,
            constants[0].get_element_type().bitwidth,
            len(constants),
            sum(map(stored_weights.size, constants)),
            round(100 * sum(map(stored_weights.size, constants)) / total, 2),
        )
        for name, constants in by_type.items()
    ]
    operations = model.get_ordered_ops()
    quantizers = {o.get_friendly_name() for o in operations if o.get_type_name() == "FakeQuantize"}
    return Census(
        tuple(sorted(shares, key=lambda share: (-share.bits, share.type))),
        len(quantizers - on_weights),
    )
