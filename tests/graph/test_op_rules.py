"""Rules of all types of operations, with counts by hand."""

import importlib
import math
from itertools import count

import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset1, opset2, opset4, opset16, opset17
from openvino import opset15 as ops

from ovtool.graph import flops
from ovtool.graph.counts import analyze
from ovtool.graph.op_rules import DYNAMIC, NO_RULE_REASONS, RULE_LIMITS, RULES, explain_uncounted

X = (2, 3, 8, 8)
"""The shape of most inputs, of 384 values."""
small = st.integers(1, 6)


def data(*shape, kind=np.float32):
    return ops.parameter(list(shape), kind)


def ids(*shape):
    return data(*shape, kind=np.int32)


def count_node(node):
    """Counts of the last operation of a graph."""
    inputs, stack = {}, [node]
    while stack:
        source = stack.pop()
        stack += [value.get_node() for value in source.input_values()]
        if source.get_type_name() == "Parameter":
            inputs[source.get_name()] = source
    results = [ops.result(output) for output in node.outputs()]
    layers = analyze(ov.Model(results, list(inputs.values()), "m")).layers
    (counts,) = (layer for layer in layers if layer.name == node.get_friendly_name())
    return counts


def other_flops(node):
    """Operations except multiply-adds."""
    counts = count_node(node)
    assert counts.uncounted is None
    return counts.other_flops


def is_rule_limit(node):
    """Whether an operation is not counted because its rule does not cover it."""
    counts = count_node(node)
    assert (counts.counted, counts.macs, counts.other_flops) == (False, None, None)
    assert counts.flops is None
    return counts.uncounted == RULE_LIMITS[node.get_type_name()]


@pytest.mark.parametrize(
    ("k", "sort", "expected"),
    [
        (1, "value", 384),  # as ArgMax
        (2, "value", 384 + 2 * 48 * 1),
        (8, "value", 384 + 8 * 48 * 3),
        (5, "index", 384 + 5 * 48 * 3),
        (8, "none", 384),
    ],
)
def test_top_k_selects_and_sorts(k, sort, expected):
    assert other_flops(ops.topk(data(*X), np.int64(k), 3, "max", sort)) == expected
    assert other_flops(opset1.topk(data(*X), np.int64(k), -1, "min", sort)) == expected


@given(rows=small, n=st.integers(1, 70))
def test_search_is_binary(rows, n):
    steps, left = 0, n
    while left:  # worst case after a comparison with the middle
        steps, left = steps + 1, left // 2
    assert other_flops(ops.search_sorted(data(rows, n), data(rows, 5))) == rows * 5 * steps
    assert other_flops(ops.bucketize(data(rows, 5), data(n))) == rows * 5 * steps


@pytest.mark.parametrize(("mode", "points"), [("bilinear", 4), ("bicubic", 16), ("nearest", 0)])
def test_grid_sampling_counts_its_points(mode, points):
    attributes = {"align_corners": False, "mode": mode, "padding_mode": "zeros"}
    node = ops.grid_sample(data(*X), data(2, 4, 5, 2), attributes)
    assert other_flops(node) == 2 * points * (2 * 3 * 4 * 5)


def test_grid_sampling_counts_as_the_same_interpolation():
    sizes = ops.constant(np.array([16, 16]))
    axes = ops.constant(np.array([2, 3]))
    same = ops.interpolate(data(*X), sizes, "linear_onnx", "sizes", axes=axes)
    attributes = {"align_corners": False, "mode": "bilinear", "padding_mode": "border"}
    node = ops.grid_sample(data(*X), data(2, 16, 16, 2), attributes)
    assert other_flops(node) == other_flops(same) == 2 * 4 * (2 * 3 * 16 * 16)


@pytest.mark.parametrize(
    ("mode", "antialias", "side"),
    [("bilinear_pillow", False, 16), ("bicubic_pillow", False, 4), ("linear", True, 4)],
)
def test_interpolation_is_not_counted_if_its_points_depend_on_the_scale(mode, antialias, side):
    axes, sizes = ops.constant(np.array([2, 3])), ops.constant(np.array([side, side]))
    node = ops.interpolate(data(*X), sizes, mode, "sizes", axes=axes, antialias=antialias)
    assert is_rule_limit(node)


def test_interpolation_by_areas_is_not_counted():
    attributes = {"axes": [2, 3], "mode": "area"}
    assert is_rule_limit(opset1.interpolate(data(*X), np.array([4, 4]), attributes))


def test_regions():
    """Four regions, three channels, 2x2 outputs: 48 values; a linear sample takes 8."""
    where, which = data(4, 4), ids(4)
    for mode in ("avg", "max"):
        node = ops.roi_align(data(*X), where, which, 2, 2, 3, 1.0, mode)
        assert other_flops(node) == 48 * 9 * (8 + 1)
    rotated = ops.roi_align_rotated(data(*X), data(4, 5), which, 2, 2, 3, 1.0, True)
    assert other_flops(rotated) == 48 * 9 * (8 + 1)
    assert other_flops(ops.roi_pooling(data(*X), data(4, 5), [2, 2], 1.0, "bilinear")) == 48 * 8
    sampled = ops.psroi_pooling(data(1, 18, 8, 8), data(4, 5), 3, 2, 1.0, 2, 3, "bilinear")
    assert other_flops(sampled) == 48 * 6 * (8 + 1)
    deformed = ops.deformable_psroi_pooling(
        data(1, 12, 8, 8),
        data(4, 5),
        3,
        1.0,
        2,
        "bilinear_deformable",
        2,
        3,
        0.1,
        2,
        data(4, 2, 2, 2),
    )
    assert other_flops(deformed) == 48 * 6 * (8 + 1)


def test_regions_are_not_counted_if_the_data_determines_the_samples():
    where, which = data(4, 4), ids(4)
    assert is_rule_limit(ops.roi_align(data(*X), where, which, 2, 2, 0, 1.0, "avg"))
    rotated = ops.roi_align_rotated(data(*X), data(4, 5), which, 2, 2, 0, 1.0, True)
    assert is_rule_limit(rotated)
    assert is_rule_limit(ops.roi_pooling(data(*X), data(4, 5), [2, 2], 1.0, "max"))
    averaged = ops.psroi_pooling(data(1, 12, 8, 8), data(4, 5), 3, 2, 1.0, 1, 1, "average")
    assert is_rule_limit(averaged)


def test_deformable_convolution_samples_and_multiplies():
    """Six kernels of 3x3 over two images of four channels of 8x8, in two groups."""
    kernels, ones = data(6, 2, 3, 3), [1, 1]
    node = ops.deformable_convolution(
        data(2, 4, 8, 8), data(2, 18, 8, 8), kernels, ones, ones, ones, ones, None, "explicit", 2
    )
    counts = count_node(node)
    assert counts.macs == 2 * 6 * 8 * 8 * 2 * 9
    assert counts.other_flops == 2 * 4 * 9 * 64 * 8
    masked = ops.deformable_convolution(
        data(2, 4, 8, 8), data(2, 18, 8, 8), kernels, ones, ones, ones, ones, data(2, 9, 8, 8),
        "explicit", 2,
    )  # fmt: skip
    assert count_node(masked).macs == counts.macs
    assert count_node(masked).other_flops == 2 * 4 * 9 * 64 * (8 + 1)


def test_normalization():
    x = data(*X)
    parameters = [data(3) for _ in range(4)]
    for module in (opset1, ops):  # the first version takes its data third
        assert other_flops(module.batch_norm_inference(x, *parameters, 1e-5)) == 4 * 384
    axes = ops.constant(np.array([2, 3]))
    assert other_flops(ops.mvn(x, axes, True, 1e-5, "inside_sqrt")) == 5 * 384
    assert other_flops(ops.mvn(x, axes, False, 1e-5, "inside_sqrt")) == 2 * 384
    assert other_flops(opset2.mvn(x, False, False, 1e-5)) == 2 * 384
    assert other_flops(ops.lrn(x, ops.constant(np.array([1])), size=5)) == (5 + 5) * 384
    assert other_flops(ops.lrn(x, axes, size=3)) == (9 + 5) * 384
    assert other_flops(ops.grn(x, 0.1)) == 3 * 384
    assert is_rule_limit(ops.lrn(x, ids(1), size=3))


@given(st.lists(st.sampled_from([1, 2, 4, 8, 16]), min_size=1, max_size=3), small)
def test_fourier_transforms_of_powers_of_two(sizes, batch):
    n = math.prod(sizes)
    levels = sum(size.bit_length() - 1 for size in sizes)
    axes = np.arange(1, len(sizes) + 1)
    for make in (ops.dft, ops.idft):
        assert other_flops(make(data(batch, *sizes, 2), axes)) == batch * 5 * n * levels
    expected = round(batch * 2.5 * n * levels)
    assert other_flops(ops.rdft(data(batch, *sizes), axes)) == expected
    assert other_flops(ops.rdft(data(batch, *sizes), axes - len(sizes) - 1)) == expected
    half = data(batch, *sizes[:-1], sizes[-1] // 2 + 1, 2)
    signal = np.array(sizes)
    assert other_flops(ops.irdft(half, axes, signal)) == expected


def test_fourier_transforms_of_any_size():
    each = round(2 * 2.5 * 6 * math.log2(6))
    twice = round(2 * 5 * 6 * math.log2(6))
    assert other_flops(ops.rdft(data(2, 8), np.array([-1]), np.array([6]))) == each
    assert other_flops(ops.rdft(data(2, 6), np.array([-1]), np.array([-1]))) == each
    assert other_flops(ops.dft(data(2, 8, 2), np.array([-1]), np.array([6]))) == twice
    assert is_rule_limit(ops.dft(data(2, 8, 2), ids(1), None))


@pytest.mark.parametrize("transposed", [True, False])
def test_short_time_fourier_transform_is_a_window_and_a_transform_for_each_frame(transposed):
    node = ops.stft(data(2, 64), data(12), np.int64(16), np.int64(8), transposed)
    frames = 2 * 7
    assert other_flops(node) == frames * (16 + 2.5 * 16 * 4)


@pytest.mark.parametrize("weighted", [False, True])
def test_embedding_bags_add_their_rows(weighted):
    table, each = data(10, 4), 6 * 4 * (1 + weighted)
    last = [data(6)] if weighted else []
    none = [ops.constant(np.int32(0))] if weighted else []
    bags = table, ids(6), ids(3), *none, *last
    packed = table, ids(3, 2), *([data(3, 2)] if weighted else [])
    assert other_flops(ops.embedding_bag_offsets_sum(*bags)) == each
    assert other_flops(ops.embedding_bag_packed_sum(*packed)) == each
    assert other_flops(ops.embedding_bag_packed(*packed)) == each
    segments = table, ids(6), ids(6), ops.constant(np.int32(3)), *none, *last
    assert other_flops(ops.embedding_segments_sum(*segments)) == each
    if not weighted:
        node = ops.embedding_bag_offsets(table, ids(6), ids(3), reduction="mean")
        assert other_flops(node) == each + 3 * 4


def test_scattering_with_a_reduction_is_counted():
    x, where, new = data(*X), ids(2, 3, 2, 8), data(2, 3, 2, 8)
    for reduction in ("sum", "prod", "min", "max", "mean"):
        node = ops.scatter_elements_update(x, where, new, np.int64(2), reduction)
        assert other_flops(node) == 96
    assert other_flops(ops.scatter_elements_update(x, where, new, np.int64(2))) == 0
    assert other_flops(opset4.scatter_elements_update(x, where, new, np.int64(2))) == 0
    assert other_flops(ops.scatter_nd_update(data(10), ids(3, 1), data(3), "sum")) == 3
    assert other_flops(opset4.scatter_nd_update(data(10), ids(3, 1), data(3))) == 0


def test_detection_by_anchors():
    """YOLOv2 has a softmax of the classes, YOLOv3 a sigmoid of each class."""
    second = ops.region_yolo(data(1, 125, 13, 13), 4, 20, 5, True, [0], 1, 3)
    assert other_flops(second) == 13 * 13 * 5 * (3 + 5 * 20)
    third = ops.region_yolo(data(1, 255, 13, 13), 4, 80, 9, False, [0, 1, 2], 1, 3)
    assert other_flops(third) == 13 * 13 * 3 * (3 + 80)


def test_one_operation_for_each_value():
    letters = data(6, 2, 5)
    assert other_flops(ops.ctc_greedy_decoder(letters, data(6, 2), True)) == 60
    assert other_flops(ops.ctc_greedy_decoder_seq_len(data(2, 6, 5), ids(2), None)) == 60
    columns = ops.col2im(data(3, 12, 225), np.array([16, 16]), np.array([2, 2]))
    assert other_flops(columns) == 3 * 12 * 225
    segments = ops.constant(np.array([0, 0, 1, 1, 2, 2]))
    assert other_flops(opset16.segment_max(data(6, 4), segments, np.int64(3), "ZERO")) == 24
    image = data(1, 12, 8, 1, kind=np.uint8)
    for make in (ops.nv12_to_rgb, ops.nv12_to_bgr, ops.i420_to_rgb, ops.i420_to_bgr):
        assert other_flops(make(image)) == 8 * 8 * 3
    assert other_flops(opset17.erfinv(data(*X))) == 384
    whole = ids(*X)
    assert other_flops(ops.bitwise_left_shift(whole, whole)) == 384
    assert other_flops(ops.bitwise_right_shift(whole, whole)) == 384
    assert (
        other_flops(ops.random_uniform(np.array([2, 3]), np.float32(0), np.float32(1), "f32")) == 6
    )


def test_data_movement_is_not_arithmetic():
    x = data(*X)
    assert other_flops(ops.extract_image_patches(x, [2, 2], [2, 2], [1, 1], "valid")) == 0
    assert other_flops(ops.reorg_yolo(data(1, 4, 8, 8), [2])) == 0
    assert other_flops(ops.slice_scatter(data(8), data(2), ids(1), ids(1), np.array([1]))) == 0
    assert other_flops(ops.gather_tree(ids(4, 2, 3), ids(4, 2, 3), ids(2), np.int32(0))) == 0
    assert other_flops(ops.convert_promote_types(x, data(*X, kind=np.int16))) == 0
    three = ops.constant(np.int32(3))
    assert other_flops(ops.eye(three, three, ids(1), "f32")) == 0


NO_WORK = {"Parameter", "Constant", "Result"}
OTHER_NAMES = {"absolute": "abs", "ceil": "ceiling", "ifop": "if"}
"""Aliases of functions that create an operation, and keywords of Python."""
NO_FUNCTION = {"RMS"}
"""Operations that only the passes of plugins create."""


def normalize(name):
    return name.replace("_", "").lower()


def opsets():
    for version in count(1):
        try:
            yield importlib.import_module(f"openvino.opset{version}")
        except ModuleNotFoundError:
            return


def opset_types():
    """Types of the operations of all opsets, in lower case."""
    names = {
        normalize(name)
        for opset in opsets()
        for name, member in vars(opset).items()
        if callable(member) and not name.startswith("_")
    }
    return {OTHER_NAMES.get(name, name) for name in names}


def test_opsets_are_listed():
    assert len(list(opsets())) >= 16
    assert {"convolution", "istft", "topk"} <= opset_types()


def test_every_type_has_a_rule_or_a_reason():
    known = {normalize(name) for name in {*RULES, *NO_RULE_REASONS, *NO_WORK}}
    assert opset_types() - known == set()


def test_every_rule_and_reason_has_a_type():
    assert {
        name for name in {*RULES, *NO_RULE_REASONS} if normalize(name) not in opset_types()
    } == NO_FUNCTION


def test_types_without_a_rule_have_a_reason_and_limits_need_a_rule():
    assert set(NO_RULE_REASONS).isdisjoint(RULES)
    assert set(RULE_LIMITS) <= set(RULES)
    assert set(flops.RULES) <= set(RULES)


@pytest.mark.parametrize(
    ("kind", "static", "reason"),
    [
        ("NonMaxSuppression", False, NO_RULE_REASONS["NonMaxSuppression"]),
        ("ROIAlign", True, RULE_LIMITS["ROIAlign"]),
        ("ROIAlign", False, DYNAMIC),
        ("MatMul", False, DYNAMIC),
    ],
)
def test_reason_is_the_most_specific(kind, static, reason):
    assert explain_uncounted(kind, static=static) == reason


def test_unknown_type_has_a_reason():
    known = {DYNAMIC, *NO_RULE_REASONS.values(), *RULE_LIMITS.values()}
    assert explain_uncounted("SomethingNew", static=True) not in known
