"""What each type of operation does: how many operations beside multiply-adds, and what it moves.

The multiply-adds of convolutions, matrix products, attention and recurrent cells are those of
:mod:`ovtool.graph.flops`.  Everything else counts one for each addition, multiplication,
comparison or function evaluated; ``|x|`` is the number of values of x:

- elementwise operations, activations, random values and conversions of color: ``|output|``, one for
  each value, whatever the function.
- reduction, also by segments, by embedding bags, by scattering or by the overlap of columns:
  one for each value that goes into a result; bags count each value looked up, twice where it is
  weighted, and ``|output|`` for a mean.  Greedy CTC decoding is the reduction of its classes.
- pooling: ``|output| |K|`` (each value of a window is added or compared once); adaptive pooling
  the same with windows of ``floor(i I / O)`` to ``ceil((i + 1) I / O)``.
- softmax: ``5 |x|`` (largest, difference, exponential, sum, quotient).
- normalization: of mean and variance ``5 |x|`` (sum, difference, square, sum of these, quotient),
  of the mean alone ``2 |x|``, of the length alone ``3 |x|`` (square, sum, quotient), with mean and
  variance given ``2 |x|`` (difference, quotient), by a window of neighbours (LRN)
  ``(|K| + 5) |x|`` (the sum over the window; square, scale, bias, power, quotient).  Scale and
  shift are operations of their own in the graph, and count there, but where the operation holds
  them: ``2 |x|`` more, for the scale alone ``|x|``.
- interpolation: ``2 |output| points`` for the points that a value is mixed from: 2 an axis where
  linear, 4 where cubic, none where the nearest one is taken.  Where a grid, offsets or regions say
  which points, the same, and samples that are pooled count once more; where they lie is not
  counted.  What lies outside is mixed as well, as what is multiplied with padding counts.
- selection and search: TopK ``|x|`` to select (linear: C++ ``std::nth_element``) and
  ``|output| ceil(log2 k)`` to sort what is selected; of n sorted values ``ceil(log2(n + 1))`` for
  each that is looked for (binary search: Knuth, The Art of Computer Programming 3, 6.2.1).
- Fourier transform of N points: ``5 N log2 N``, of real ones ``2.5 N log2 N``, the convention of
  benchFFT (fftw.org/speed/method.html) for any N and any algorithm; with a window N more.
- attention and recurrent cells, beside their multiply-adds: what the graph that they stand for
  counts, that is scale, mask and softmax of the scores; biases, gates and states.
- data movement (reshaping, joining, cutting, looking up, changing type or quantizing): 0.

What has no rule, and what a rule cannot tell, is not counted, never taken as zero:
:mod:`ovtool.graph.uncounted` says why.

What the graph computes from constants and shapes alone is done once, when it is compiled, and is
not work of an inference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ovtool.graph import flops
from ovtool.graph import op_formulas as formulas
from ovtool.graph.geometry import EACH_TIME
from ovtool.graph.op_formulas import each_input, each_output, nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Kind = Literal[
    "multiply-add", "pooling", "reduction", "elementwise", "normalization", "interpolation",
    "search", "transform", "movement", "view",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """How a type of operation is counted.

    Args:
        kind: A ``view`` moves no data, it is only looked at in another shape.
        operations: Of an operation with static shapes: how many beside multiply-adds; None where
            its attributes or inputs do not tell.
    """

    kind: Kind
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
_VIEWS = ("Identity", "Reshape", "ShapeOf", "Squeeze", "Unsqueeze")
_BESIDE_PRODUCTS: Mapping[str, Callable[[Any], int | None]] = {
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

# From the type of an operation to how it is counted; a type that is not here is not counted.
RULES: Mapping[str, Rule] = {
    **{name: Rule("multiply-add", _BESIDE_PRODUCTS.get(name, nothing)) for name in flops.RULES},
    **{name: Rule("elementwise", each_output()) for name in _ELEMENTWISE},
    **{name: Rule("reduction", each_input()) for name in _REDUCTIONS},
    **{name: Rule("movement", nothing) for name in _MOVEMENTS},
    **{name: Rule("view", nothing) for name in _VIEWS},
    "AvgPool": Rule("pooling", formulas.pooling),
    "MaxPool": Rule("pooling", formulas.pooling),
    "AdaptiveAvgPool": Rule("pooling", formulas.adaptive_pooling),
    "AdaptiveMaxPool": Rule("pooling", formulas.adaptive_pooling),
    "ROIPooling": Rule("pooling", formulas.roi_pooling),
    "ROIAlign": Rule("pooling", formulas.roi_align),
    "ROIAlignRotated": Rule("pooling", formulas.roi_align),
    "PSROIPooling": Rule("pooling", formulas.position_sensitive_pooling),
    "DeformablePSROIPooling": Rule("pooling", formulas.position_sensitive_pooling),
    "BatchNormInference": Rule("normalization", each_output(4)),
    "GroupNormalization": Rule("normalization", each_input(7)),
    "MVN": Rule("normalization", formulas.mean_variance),
    "LRN": Rule("normalization", formulas.neighbours),
    "GRN": Rule("normalization", each_input(3)),
    "NormalizeL2": Rule("normalization", each_input(3)),
    "RMS": Rule("normalization", each_input(4)),
    "Softmax": Rule("normalization", each_input(5)),
    "LogSoftmax": Rule("normalization", each_input(5)),
    "Interpolate": Rule("interpolation", formulas.interpolation),
    "GridSample": Rule("interpolation", formulas.grid_sample),
    "RegionYolo": Rule("elementwise", formulas.region_yolo),
    "ScatterElementsUpdate": Rule("movement", formulas.scattering),
    "ScatterNDUpdate": Rule("movement", formulas.scattering),
    "EmbeddingBagOffsets": Rule("reduction", formulas.embedding_bag(weights=4)),
    "EmbeddingBagOffsetsSum": Rule("reduction", formulas.embedding_bag(weights=4)),
    "EmbeddingBagPacked": Rule("reduction", formulas.embedding_bag(weights=2)),
    "EmbeddingBagPackedSum": Rule("reduction", formulas.embedding_bag(weights=2)),
    "EmbeddingSegmentsSum": Rule("reduction", formulas.embedding_bag(weights=5)),
    "TopK": Rule("search", formulas.top_k),
    "Bucketize": Rule("search", formulas.binary_search(values=0, ordered=1)),
    "SearchSorted": Rule("search", formulas.binary_search(values=1, ordered=0)),
    "DFT": Rule("transform", formulas.fourier),
    "IDFT": Rule("transform", formulas.fourier),
    "RDFT": Rule("transform", formulas.fourier),
    "IRDFT": Rule("transform", formulas.fourier),
    "STFT": Rule("transform", formulas.short_time_fourier),
}


_SHAPES = ("i32", "i64")
"""Types of shapes, axes and places; weights in whole numbers are of fewer bits."""


def at_compile_time(operation: Any, known: set[str]) -> bool:
    """Whether an operation needs nothing that an inference brings.

    Args:
        operation: One of a graph in topological order.
        known: Names of those before it of which this is so.
    """
    kind = operation.get_type_name()
    if kind == "Constant":
        return True
    if kind in EACH_TIME:
        return False
    if kind == "ShapeOf":
        return bool(operation.input_value(0).get_partial_shape().is_static)
    inputs = [value.get_source_output().get_node() for value in operation.inputs()]
    return bool(inputs) and all(node.get_friendly_name() in known for node in inputs)


def constants_behind(output: Any) -> Iterator[Any]:
    """Yield the constants that a value is made of, each once, without those of shapes and axes."""
    seen: set[str] = set()
    front = [output.get_node()]
    while front:
        node = front.pop()
        if node.get_friendly_name() in seen:
            continue
        seen.add(node.get_friendly_name())
        if node.get_type_name() == "Constant":
            if node.get_element_type().get_type_name() not in _SHAPES:
                yield node
        elif node.get_type_name() != "ShapeOf":
            front += [value.get_source_output().get_node() for value in node.inputs()]
