"""Why operations are not counted: nothing in the graph tells how much they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_BOXES = "how many boxes are compared depends on the boxes"
_VALUES = "how much it writes depends on the values"
_ORDER = "no convention for its algorithm"
_SHAPES = "made of shapes alone, when the graph is compiled; here its inputs are no constants"

NEVER: Mapping[str, str] = {
    "BinaryConvolution": "products of single bits, which are no FLOPs",
    "CTCLoss": "how many paths it sums depends on the lengths of the labels",
    "DetectionOutput": _BOXES,
    "GenerateProposals": _BOXES,
    "ISTFT": _ORDER,
    "If": "which branch runs depends on its condition",
    "Inverse": _ORDER,
    "Loop": "how often its body runs depends on its condition",
    "MatrixNms": _BOXES,
    "MulticlassNms": _BOXES,
    "Multinomial": _ORDER,
    "NMSRotated": _BOXES,
    "NonMaxSuppression": _BOXES,
    "NonZero": _VALUES,
    "PriorBox": _SHAPES,
    "PriorBoxClustered": _SHAPES,
    "Proposal": _BOXES,
    "SparseFillEmptyRows": _VALUES,
    "StringTensorPack": "texts have no fixed size",
    "StringTensorUnpack": "texts have no fixed size",
    "TensorIterator": "its body is a graph of its own, run once for each slice",
    "Unique": _VALUES,
}
"""By types that have no rule."""

OPEN = "a shape stays open"
SOMETIMES: Mapping[str, str] = {
    "DFT": "its axes are no constants",
    "Einsum": "the order of its products is open",
    "IDFT": "its axes are no constants",
    "IRDFT": "its axes are no constants",
    "Interpolate": "the points that a value is mixed from depend on the scale",
    "LRN": "its axes are no constants",
    "PSROIPooling": "how many values are averaged depends on the regions",
    "RDFT": "its axes or sizes are no constants",
    "ROIAlign": "how many points are sampled depends on the regions",
    "ROIAlignRotated": "how many points are sampled depends on the regions",
    "ROIPooling": "how many values are compared depends on the regions",
    "STFT": "its frame size is no constant",
}
"""By types whose rule cannot tell them all."""


def why(kind: str, *, static: bool) -> str:
    """Return why an operation is not counted.

    Args:
        kind: Its type.
        static: Whether all its shapes are known.
    """
    if kind in NEVER:
        return NEVER[kind]
    if not static:
        return OPEN
    return SOMETIMES.get(kind, "no rule for this type")
