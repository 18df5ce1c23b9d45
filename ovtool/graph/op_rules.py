"""Rules for the arithmetic of each type of operation, except for its multiply-adds.

:mod:`ovtool.graph.flops` counts the multiply-adds of convolutions, matrix products, attention and
recurrent cells. Here each addition, multiplication, comparison or function evaluation counts as
one operation; ``|x|`` is the number of values of x:

- Elementwise operations, activations, random values and color conversions: ``|output|``, one for
  each value and any function.
- Reductions, also by segments, embedding bags, scattering or overlap of columns: one for each
  reduced value. Bags count each value that is looked up, twice if weighted, and ``|output|`` for a
  mean. Greedy CTC decoding is a reduction of its classes.
- Pooling: ``|output| |K|`` (each value of a window is added or compared once); adaptive pooling
  likewise, with windows from ``floor(i I / O)`` to ``ceil((i + 1) I / O)``.
- Softmax: ``5 |x|`` (maximum, difference, exponential, sum, quotient).
- Normalization of mean and variance: ``5 |x|`` (sum, difference, square, sum of squares, quotient);
  of the mean only: ``2 |x|``; of the length only: ``3 |x|`` (square, sum, quotient); with known
  mean and variance: ``2 |x|`` (difference, quotient); by a window of neighbors (LRN):
  ``(|K| + 5) |x|`` (sum over the window; square, scale, bias, power, quotient). Scale and shift
  count as the separate operations that they are, or ``2 |x|`` more if the operation contains both,
  ``|x|`` for the scale only.
- Interpolation: ``2 |output| points``, for the points that a value depends on: 2 on each axis if
  linear, 4 if cubic, none if nearest. The same applies if a grid, offsets or regions determine the
  points; pooled samples count once more. Computing the positions is not counted. Points outside of
  the image count, as products with padding do.
- Selection and search: TopK ``|x|`` to select (linear: C++ ``std::nth_element``) and
  ``|output| ceil(log2 k)`` to sort the selection; ``ceil(log2(n + 1))`` for each search among n
  sorted values (binary search: Knuth, The Art of Computer Programming 3, 6.2.1).
- Fourier transform of N points: ``5 N log2 N``, of real ones ``2.5 N log2 N``, the convention of
  benchFFT (fftw.org/speed/method.html) for any N and any algorithm; N more with a window.
- Attention and recurrent cells: the operations of the equivalent graph, that is scale, mask and
  softmax of the scores; biases, gates and states.
- Loops: the operations of the body times the iterations, if these are known.
- Data movement (reshaping, joining, slicing, lookup, type conversion, quantization): 0.

Operations without a rule, or with unknown arithmetic, are not counted, rather than counted as zero;
:func:`explain_uncounted` returns the reason.

Results that depend on constants and shapes only are computed once, by the compiler, and are not
part of an inference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ovtool.graph import flops
from ovtool.graph import op_formulas as formulas
from ovtool.graph.op_formulas import each_input, each_output, nothing
from ovtool.graph.operations import VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RuleKind = Literal[
    "multiply-add", "pooling", "reduction", "elementwise", "normalization", "interpolation",
    "search", "transform", "movement", "view", "loop",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """How a type of operation is counted.

    A ``view`` reshapes data without moving it. ``operations`` computes the number of operations
    except multiply-adds from static shapes; None if unknown.
    """

    kind: RuleKind
    operations: Callable[[Any], int | None]


_ELEMENTWISE = (
    "Abs", "Acos", "Acosh", "Add", "Asin", "Asinh", "Atan", "Atanh", "BitwiseAnd",
    "BitwiseLeftShift", "BitwiseNot", "BitwiseOr", "BitwiseRightShift", "BitwiseXor", "Ceiling",
    "Clamp", "Cos", "Cosh", "Divide", "Elu", "Equal", "Erf", "ErfInv", "Exp", "Floor", "FloorMod",
    "Gelu", "Greater", "GreaterEqual", "HSigmoid", "HSwish", "HardSigmoid", "I420toBGR",
    "I420toRGB", "IsFinite", "IsInf", "IsNaN", "Less", "LessEqual", "Log", "LogicalAnd",
    "LogicalNot", "LogicalOr", "LogicalXor", "Maximum", "Minimum", "Mish", "Mod", "Multiply",
    "NV12toBGR", "NV12toRGB", "Negative", "NotEqual", "PRelu", "Power", "RandomUniform", "Relu",
    "Round", "Select", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "SoftPlus", "SoftSign", "Sqrt",
    "SquaredDifference", "Subtract", "Swish", "Tan", "Tanh",
)  # fmt: skip
_REDUCTIONS = (
    "CTCGreedyDecoder", "CTCGreedyDecoderSeqLen", "Col2Im", "CumSum", "ReduceL1", "ReduceL2",
    "ReduceLogicalAnd", "ReduceLogicalOr", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "SegmentMax",
)  # fmt: skip
_MOVEMENTS = (
    "Assign", "BatchToSpace", "Broadcast", "Concat", "Convert", "ConvertLike",
    "ConvertPromoteTypes", "DepthToSpace", "ExtractImagePatches", "Eye", "FakeConvert",
    "FakeQuantize", "Gather", "GatherElements", "GatherND", "GatherTree", "OneHot", "Pad", "Range",
    "ReadValue", "ReorgYolo", "ReverseSequence", "Roll", "ScatterUpdate", "ShuffleChannels",
    "Slice", "SliceScatter", "SpaceToBatch", "SpaceToDepth", "Split", "StridedSlice", "Tile",
    "Transpose", "VariadicSplit",
)  # fmt: skip
_EXCEPT_PRODUCTS: Mapping[str, Callable[[Any], int | None]] = {
    "DeformableConvolution": formulas.deformable_convolution,
    "Einsum": formulas.einsum,
    "ScaledDotProductAttention": formulas.attention,
    "LSTMCell": formulas.recurrent(17, weights=3),
    "GRUCell": formulas.recurrent(14, weights=2),
    "RNNCell": formulas.recurrent(3, weights=2),
    "LSTMSequence": formulas.recurrent(17, weights=4),
    "GRUSequence": formulas.recurrent(14, weights=3),
    "RNNSequence": formulas.recurrent(3, weights=3),
}

_OFFSET_BAG = formulas.embedding_bag(weights=4)
_PACKED_BAG = formulas.embedding_bag(weights=2)


def _share(kind: RuleKind, operations: Callable[[Any], int | None], *types: str) -> dict[str, Rule]:
    return dict.fromkeys(types, Rule(kind, operations))


# Rules by type; other types are not counted.
RULES: Mapping[str, Rule] = {
    **{name: Rule("multiply-add", _EXCEPT_PRODUCTS.get(name, nothing)) for name in flops.RULES},
    **_share("elementwise", each_output(), *_ELEMENTWISE),
    **_share("reduction", each_input(), *_REDUCTIONS),
    **_share("movement", nothing, *_MOVEMENTS),
    **_share("view", nothing, "ShapeOf", *VIEWS),
    **_share("pooling", formulas.pooling, "AvgPool", "MaxPool"),
    **_share("pooling", formulas.adaptive_pooling, "AdaptiveAvgPool", "AdaptiveMaxPool"),
    "ROIPooling": Rule("pooling", formulas.roi_pooling),
    **_share("pooling", formulas.roi_align, "ROIAlign", "ROIAlignRotated"),
    **_share(
        "pooling", formulas.position_sensitive_pooling, "PSROIPooling", "DeformablePSROIPooling"
    ),
    "BatchNormInference": Rule("normalization", each_output(4)),
    "GroupNormalization": Rule("normalization", each_input(7)),
    "MVN": Rule("normalization", formulas.mean_variance),
    "LRN": Rule("normalization", formulas.local_response),
    **_share("normalization", each_input(3), "GRN", "NormalizeL2"),
    "RMS": Rule("normalization", each_input(4)),
    **_share("normalization", each_input(5), "Softmax", "LogSoftmax"),
    "Interpolate": Rule("interpolation", formulas.interpolation),
    "GridSample": Rule("interpolation", formulas.grid_sample),
    "RegionYolo": Rule("elementwise", formulas.region_yolo),
    **_share("movement", formulas.scattering, "ScatterElementsUpdate", "ScatterNDUpdate"),
    **_share("reduction", _OFFSET_BAG, "EmbeddingBagOffsets", "EmbeddingBagOffsetsSum"),
    **_share("reduction", _PACKED_BAG, "EmbeddingBagPacked", "EmbeddingBagPackedSum"),
    "EmbeddingSegmentsSum": Rule("reduction", formulas.embedding_bag(weights=5)),
    "TopK": Rule("search", formulas.top_k),
    "Bucketize": Rule("search", formulas.binary_search(values=0, ordered=1)),
    "SearchSorted": Rule("search", formulas.binary_search(values=1, ordered=0)),
    **_share("transform", formulas.fourier, "DFT", "IDFT", "RDFT", "IRDFT"),
    "STFT": Rule("transform", formulas.short_time_fourier),
}


_BOX_SELECTIONS = (
    "DetectionOutput", "GenerateProposals", "MatrixNms", "MulticlassNms", "NMSRotated",
    "NonMaxSuppression", "Proposal",
)  # fmt: skip

NO_RULE_REASONS: Mapping[str, str] = {
    "BinaryConvolution": "products of single bits are not FLOPs",
    "CTCLoss": "the number of paths depends on the label lengths",
    "If": "the branch depends on its condition",
    "Loop": "its number of iterations, or the arithmetic of its body, is unknown",
    "TensorIterator": "its number of iterations, or the arithmetic of its body, is unknown",
    **dict.fromkeys(_BOX_SELECTIONS, "the number of comparisons depends on the boxes"),
    **dict.fromkeys(("ISTFT", "Inverse", "Multinomial"), "its algorithm has no convention"),
    **dict.fromkeys(
        ("NonZero", "SparseFillEmptyRows", "Unique"), "the size of its output depends on the values"
    ),
    **dict.fromkeys(
        ("PriorBox", "PriorBoxClustered"),
        "it depends on shapes only, but its inputs are not constant",
    ),
    **dict.fromkeys(("StringTensorPack", "StringTensorUnpack"), "strings have no fixed size"),
}
"""Reasons by type, for types without a rule."""

DYNAMIC = "a shape is dynamic"
RULE_LIMITS: Mapping[str, str] = {
    **dict.fromkeys(("DFT", "IDFT", "IRDFT", "LRN"), "its axes are not constant"),
    "Einsum": "the order of its products is undefined",
    "Interpolate": "the number of interpolated points depends on the scale",
    "PSROIPooling": "the number of averaged values depends on the regions",
    "RDFT": "its axes or sizes are not constant",
    **dict.fromkeys(
        ("ROIAlign", "ROIAlignRotated"), "the number of sampled points depends on the regions"
    ),
    "ROIPooling": "the number of compared values depends on the regions",
    "STFT": "its frame size is not constant",
}
"""Reasons by type, for types with a rule that does not cover all attributes."""


def explain_uncounted(kind: str, *, static: bool) -> str:
    """Return why an operation of a type, with or without static shapes, is not counted."""
    if kind in NO_RULE_REASONS:
        return NO_RULE_REASONS[kind]
    if not static:
        return DYNAMIC
    return RULE_LIMITS.get(kind, "its type has no rule")
