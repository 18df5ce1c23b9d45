"""The operations beside multiply-adds of one operation each, worked out by hand."""

import math

import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset1, opset2, opset4, opset16, opset17
from openvino import opset15 as ops

from ovtool.graph.counts import analyze

X = (2, 3, 8, 8)
"""The shape of most inputs, of 384 values."""
small = st.integers(1, 6)


def data(*shape, kind=np.float32):
    return ops.parameter(list(shape), kind)


def ids(*shape):
    return data(*shape, kind=np.int32)


def counted(node):
    """What is counted for the last operation of a graph."""
    inputs, front = [], [node]
    while front:
        one = front.pop()
        front += [value.get_node() for value in one.input_values()]
        inputs += [one] if one.get_type_name() == "Parameter" and one not in inputs else []
    results = [ops.result(output) for output in node.outputs()]
    names = {one.get_name(): one for one in inputs}
    layers = analyze(ov.Model(results, list(names.values()), "m")).layers
    (found,) = (one for one in layers if one.name == node.get_friendly_name())
    return found


def others(node):
    """The operations beside multiply-adds."""
    found = counted(node)
    assert found.uncounted is None
    return found.other_flops


def refused(node):
    """Why an operation is not counted."""
    found = counted(node)
    assert (found.counted, found.macs, found.other_flops, found.flops) == (False, None, None, None)
    return found.uncounted


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
    assert others(ops.topk(data(*X), np.int64(k), 3, "max", sort)) == expected
    assert others(opset1.topk(data(*X), np.int64(k), -1, "min", sort)) == expected


@given(rows=small, n=st.integers(1, 70))
def test_a_search_halves_what_is_ordered(rows, n):
    steps, left = 0, n
    while left:  # what is left in the worst case after a comparison with the middle
        steps, left = steps + 1, left // 2
    assert others(ops.search_sorted(data(rows, n), data(rows, 5))) == rows * 5 * steps
    assert others(ops.bucketize(data(rows, 5), data(n))) == rows * 5 * steps


@pytest.mark.parametrize(("mode", "points"), [("bilinear", 4), ("bicubic", 16), ("nearest", 0)])
def test_a_grid_says_which_points_are_mixed(mode, points):
    told = {"align_corners": False, "mode": mode, "padding_mode": "zeros"}
    node = ops.grid_sample(data(*X), data(2, 4, 5, 2), told)
    assert others(node) == 2 * points * (2 * 3 * 4 * 5)


def test_a_grid_counts_as_the_interpolation_that_it_describes():
    sizes = ops.constant(np.array([16, 16]))
    axes = ops.constant(np.array([2, 3]))
    same = ops.interpolate(data(*X), sizes, "linear_onnx", "sizes", axes=axes)
    told = {"align_corners": False, "mode": "bilinear", "padding_mode": "border"}
    node = ops.grid_sample(data(*X), data(2, 16, 16, 2), told)
    assert others(node) == others(same) == 2 * 4 * (2 * 3 * 16 * 16)


@pytest.mark.parametrize(
    ("mode", "antialias", "side"),
    [("bilinear_pillow", False, 16), ("bicubic_pillow", False, 4), ("linear", True, 4)],
)
def test_interpolation_whose_points_depend_on_the_scale_is_not_counted(mode, antialias, side):
    axes, sizes = ops.constant(np.array([2, 3])), ops.constant(np.array([side, side]))
    node = ops.interpolate(data(*X), sizes, mode, "sizes", axes=axes, antialias=antialias)
    assert "scale" in refused(node)


def test_interpolation_by_areas_is_not_counted():
    told = {"axes": [2, 3], "mode": "area"}
    assert "scale" in refused(opset1.interpolate(data(*X), np.array([4, 4]), told))


def test_regions():
    """Four regions, three channels, 2x2 outputs: 48 values; a linear sample takes 8."""
    where, which = data(4, 4), ids(4)
    for mode in ("avg", "max"):
        node = ops.roi_align(data(*X), where, which, 2, 2, 3, 1.0, mode)
        assert others(node) == 48 * 9 * (8 + 1)
    rotated = ops.roi_align_rotated(data(*X), data(4, 5), which, 2, 2, 3, 1.0, True)
    assert others(rotated) == 48 * 9 * (8 + 1)
    assert others(ops.roi_pooling(data(*X), data(4, 5), [2, 2], 1.0, "bilinear")) == 48 * 8
    sampled = ops.psroi_pooling(data(1, 18, 8, 8), data(4, 5), 3, 2, 1.0, 2, 3, "bilinear")
    assert others(sampled) == 48 * 6 * (8 + 1)
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
    assert others(deformed) == 48 * 6 * (8 + 1)


def test_regions_that_say_how_much_is_read_are_not_counted():
    where, which = data(4, 4), ids(4)
    assert "regions" in refused(ops.roi_align(data(*X), where, which, 2, 2, 0, 1.0, "avg"))
    rotated = ops.roi_align_rotated(data(*X), data(4, 5), which, 2, 2, 0, 1.0, True)
    assert "regions" in refused(rotated)
    assert "regions" in refused(ops.roi_pooling(data(*X), data(4, 5), [2, 2], 1.0, "max"))
    averaged = ops.psroi_pooling(data(1, 12, 8, 8), data(4, 5), 3, 2, 1.0, 1, 1, "average")
    assert "regions" in refused(averaged)


def test_a_deformable_convolution_samples_then_multiplies():
    """Six kernels of 3x3 over two images of four channels of 8x8, in two groups."""
    kernels, ones = data(6, 2, 3, 3), [1, 1]
    node = ops.deformable_convolution(
        data(2, 4, 8, 8), data(2, 18, 8, 8), kernels, ones, ones, ones, ones, None, "explicit", 2
    )
    found = counted(node)
    assert found.macs == 2 * 6 * 8 * 8 * 2 * 9
    assert found.other_flops == 2 * 4 * 9 * 64 * 8
    masked = ops.deformable_convolution(
        data(2, 4, 8, 8), data(2, 18, 8, 8), kernels, ones, ones, ones, ones, data(2, 9, 8, 8),
        "explicit", 2,
    )  # fmt: skip
    assert counted(masked).macs == found.macs
    assert counted(masked).other_flops == 2 * 4 * 9 * 64 * (8 + 1)


def test_normalization():
    x = data(*X)
    one = [data(3) for _ in range(4)]
    for module in (opset1, ops):  # the first version takes its data third
        assert others(module.batch_norm_inference(x, *one, 1e-5)) == 4 * 384
    axes = ops.constant(np.array([2, 3]))
    assert others(ops.mvn(x, axes, True, 1e-5, "inside_sqrt")) == 5 * 384
    assert others(ops.mvn(x, axes, False, 1e-5, "inside_sqrt")) == 2 * 384
    assert others(opset2.mvn(x, False, False, 1e-5)) == 2 * 384
    assert others(ops.lrn(x, ops.constant(np.array([1])), size=5)) == (5 + 5) * 384
    assert others(ops.lrn(x, axes, size=3)) == (9 + 5) * 384
    assert others(ops.grn(x, 0.1)) == 3 * 384
    assert "constants" in refused(ops.lrn(x, ids(1), size=3))


@given(st.lists(st.sampled_from([1, 2, 4, 8, 16]), min_size=1, max_size=3), small)
def test_fourier_transforms_of_powers_of_two(sizes, batch):
    n = math.prod(sizes)
    levels = sum(size.bit_length() - 1 for size in sizes)
    axes = np.arange(1, len(sizes) + 1)
    for make in (ops.dft, ops.idft):
        assert others(make(data(batch, *sizes, 2), axes)) == batch * 5 * n * levels
    expected = round(batch * 2.5 * n * levels)
    assert others(ops.rdft(data(batch, *sizes), axes)) == expected
    assert others(ops.rdft(data(batch, *sizes), axes - len(sizes) - 1)) == expected
    half = data(batch, *sizes[:-1], sizes[-1] // 2 + 1, 2)
    told = np.array(sizes)
    assert others(ops.irdft(half, axes, told)) == expected


def test_fourier_transforms_of_other_sizes():
    each = round(2 * 2.5 * 6 * math.log2(6))
    twice = round(2 * 5 * 6 * math.log2(6))
    assert others(ops.rdft(data(2, 8), np.array([-1]), np.array([6]))) == each, "cut to 6"
    assert others(ops.rdft(data(2, 6), np.array([-1]), np.array([-1]))) == each, "as it is"
    assert others(ops.dft(data(2, 8, 2), np.array([-1]), np.array([6]))) == twice
    assert "constants" in refused(ops.dft(data(2, 8, 2), ids(1), None))


@pytest.mark.parametrize("transposed", [True, False])
def test_a_short_time_fourier_transform_is_a_window_and_a_transform_a_frame(transposed):
    node = ops.stft(data(2, 64), data(12), np.int64(16), np.int64(8), transposed)
    frames = 2 * 7
    assert others(node) == frames * (16 + 2.5 * 16 * 4)


@pytest.mark.parametrize("weighted", [False, True])
def test_embedding_bags_add_what_they_look_up(weighted):
    table, each = data(10, 4), 6 * 4 * (1 + weighted)
    last = [data(6)] if weighted else []
    none = [ops.constant(np.int32(0))] if weighted else []
    bags = table, ids(6), ids(3), *none, *last
    packed = table, ids(3, 2), *([data(3, 2)] if weighted else [])
    assert others(ops.embedding_bag_offsets_sum(*bags)) == each
    assert others(ops.embedding_bag_packed_sum(*packed)) == each
    assert others(ops.embedding_bag_packed(*packed)) == each
    segments = table, ids(6), ids(6), ops.constant(np.int32(3)), *none, *last
    assert others(ops.embedding_segments_sum(*segments)) == each
    if not weighted:
        node = ops.embedding_bag_offsets(table, ids(6), ids(3), reduction="mean")
        assert others(node) == each + 3 * 4


def test_a_scattering_that_reduces_is_no_movement():
    x, where, new = data(*X), ids(2, 3, 2, 8), data(2, 3, 2, 8)
    for reduction in ("sum", "prod", "min", "max", "mean"):
        node = ops.scatter_elements_update(x, where, new, np.int64(2), reduction)
        assert others(node) == 96
    assert others(ops.scatter_elements_update(x, where, new, np.int64(2))) == 0
    assert others(opset4.scatter_elements_update(x, where, new, np.int64(2))) == 0
    assert others(ops.scatter_nd_update(data(10), ids(3, 1), data(3), "sum")) == 3
    assert others(opset4.scatter_nd_update(data(10), ids(3, 1), data(3))) == 0


def test_detection_by_anchors():
    """The second YOLO takes the softmax of classes, the third the logistic function of each."""
    second = ops.region_yolo(data(1, 125, 13, 13), 4, 20, 5, True, [0], 1, 3)
    assert others(second) == 13 * 13 * 5 * (3 + 5 * 20)
    third = ops.region_yolo(data(1, 255, 13, 13), 4, 80, 9, False, [0, 1, 2], 1, 3)
    assert others(third) == 13 * 13 * 3 * (3 + 80)


def test_one_for_each_value():
    letters = data(6, 2, 5)
    assert others(ops.ctc_greedy_decoder(letters, data(6, 2), True)) == 60
    assert others(ops.ctc_greedy_decoder_seq_len(data(2, 6, 5), ids(2), None)) == 60
    columns = ops.col2im(data(3, 12, 225), np.array([16, 16]), np.array([2, 2]))
    assert others(columns) == 3 * 12 * 225
    segments = ops.constant(np.array([0, 0, 1, 1, 2, 2]))
    assert others(opset16.segment_max(data(6, 4), segments, np.int64(3), "ZERO")) == 24
    image = data(1, 12, 8, 1, kind=np.uint8)
    for make in (ops.nv12_to_rgb, ops.nv12_to_bgr, ops.i420_to_rgb, ops.i420_to_bgr):
        assert others(make(image)) == 8 * 8 * 3
    assert others(opset17.erfinv(data(*X))) == 384
    whole = ids(*X)
    assert others(ops.bitwise_left_shift(whole, whole)) == 384
    assert others(ops.bitwise_right_shift(whole, whole)) == 384
    assert others(ops.random_uniform(np.array([2, 3]), np.float32(0), np.float32(1), "f32")) == 6


def test_movements():
    x = data(*X)
    assert others(ops.extract_image_patches(x, [2, 2], [2, 2], [1, 1], "valid")) == 0
    assert others(ops.reorg_yolo(data(1, 4, 8, 8), [2])) == 0
    assert others(ops.slice_scatter(data(8), data(2), ids(1), ids(1), np.array([1]))) == 0
    assert others(ops.gather_tree(ids(4, 2, 3), ids(4, 2, 3), ids(2), np.int32(0))) == 0
    assert others(ops.convert_promote_types(x, data(*X, kind=np.int16))) == 0
    three = ops.constant(np.int32(3))
    assert others(ops.eye(three, three, ids(1), "f32")) == 0
