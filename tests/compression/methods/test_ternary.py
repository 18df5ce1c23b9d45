import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from openvino import opset15 as op

from ovtool.compression.methods import ternary
from ovtool.core.errors import InputError
from ovtool.graph.weights import find_weights
from tests.compression.samples import compress, run_graph
from tests.helpers.graphs import constant, save

SHAPES = {"conv": (32, 32, 3, 3), "grouped": (4, 8, 8, 3, 3), "turned": (32, 16, 3, 3),
          "product": (16, 64), "left": (64, 8)}  # fmt: skip
AXES = {"conv": (0,), "grouped": (0, 1), "turned": (1,), "product": (1,), "left": (1,)}


def every_kind(halved=False):
    """A convolution, a grouped, a transposed one and products with the weights on either side."""
    rng = np.random.default_rng(3)

    def weights(name):
        node = constant(rng, *SHAPES[name])
        node.set_friendly_name(f"{name}/weights")
        if halved:
            half = op.constant(node.data.astype(np.float16))
            half.set_friendly_name(f"{name}/weights")
            node = op.convert(half, "f32")
        return node

    x = op.parameter([1, 32, 8, 8], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    ones, pads = [1, 1], [1, 1]
    h = op.convolution(x, weights("conv"), ones, pads, pads, ones, name="conv")
    h = op.group_convolution(h, weights("grouped"), ones, pads, pads, ones, name="grouped")
    h = op.convolution_backprop_data(
        h, weights("turned"), ones, pads_begin=pads, pads_end=pads, dilations=ones, name="turned"
    )
    h = op.reduce_mean(h, op.constant(np.array([2, 3])), keep_dims=False)
    h = op.matmul(h, weights("product"), False, False, name="product")
    h = op.matmul(weights("left"), h, True, True, name="left")
    h.output(0).set_names({"y"})
    x.set_layout(ov.Layout("NCHW"))
    return ov.Model([op.result(h)], [x], "every")


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    return save(tmp_path_factory.mktemp("every") / "every", every_kind())


def run(model):
    x = np.random.default_rng(0).standard_normal((1, 32, 8, 8)).astype(np.float32)
    return run_graph(model, x)


def expected_model(codes_of, halved):
    """The model with weights that numpy put in few values."""
    model = every_kind(halved)
    for stored in find_weights(model):
        values = stored.values()
        axes = AXES[stored.name]
        rows = np.moveaxis(values, axes, range(len(axes)))
        flat = rows.reshape(int(np.prod(rows.shape[: len(axes)])), -1)
        codes, scales = codes_of(flat)
        few = np.moveaxis((codes * scales[:, None]).reshape(rows.shape), range(len(axes)), axes)
        stored.replace(op.constant(np.ascontiguousarray(few, np.float32)))
    return model


@pytest.mark.slow
@pytest.mark.parametrize(("method", "bits"), [("ternary", 2), ("binary", 1)])
@pytest.mark.parametrize("halved", [False, True])
def test_graph_computes_the_same_as_numpy_with_few_bits(tmp_path, method, bits, halved):
    parent = save(tmp_path / "every", every_kind(halved))
    settings = {"keep_first": False, "keep_last": False}
    compressed = compress(parent, method, settings, None, out=tmp_path / "t", name="t")
    assert compressed.record.steps[-1].details["layers"] == 5
    expected = run(expected_model(getattr(ternary, method), halved))
    assert run(compressed.xml).ravel() == pytest.approx(expected.ravel(), rel=1e-4, abs=1e-6)
    compiled = ov.Core().compile_model(compressed.xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    left = [o.get_rt_info()["runtimePrecision"].astype(str)
            for o in compiled.get_runtime_model().get_ops()]  # fmt: skip
    assert f"u{bits}" not in left, "decoded while compiling, not at each inference"
    weights = sum(int(np.prod(shape)) for shape in SHAPES.values())
    rest = compressed.record.bin_bytes - weights * bits / 8
    assert 0 < rest < 2000, "scales, axes and biases"


def test_outer_layers_stay_by_default(every, tmp_path):
    compressed = compress(every, "ternary", {}, None, out=tmp_path / "t", name="t")
    kept = [s.name for s in find_weights(ov.Core().read_model(compressed.xml)) if s.plain]
    assert kept == ["conv", "left"]


def test_layers_are_ignored_by_name_type_and_size(every, tmp_path):
    settings = {"ignored_names": "conv", "ignored_types": "GroupConvolution", "keep_last": False,
                "min_weights": 1000, "keep_first": False}  # fmt: skip
    compressed = compress(every, "binary", settings, None, out=tmp_path / "t", name="t")
    kept = [s.name for s in find_weights(ov.Core().read_model(compressed.xml)) if s.plain]
    assert kept == ["conv", "grouped", "left"]
    with pytest.raises(InputError, match=r"'konv'.*'conv'"):
        compress(every, "binary", {"ignored_names": "konv"}, None, out=tmp_path / "u", name="u")


def test_no_suitable_layer_raises(every, tmp_path):
    settings = {"ignored_patterns": "."}
    with pytest.raises(InputError, match=r"ternary .* every$"):
        compress(every, "ternary", settings, None, out=tmp_path / "t", name="t")


rows = hypothesis_numpy.arrays(
    np.float32, (3, 7), elements=st.floats(-8, 8, width=32, allow_subnormal=False)
)


@given(rows)
def test_scales_are_the_best_for_their_codes(actual):
    for codes_of in (ternary.ternary, ternary.binary):
        codes, scales = codes_of(actual)
        for row, code, scale in zip(actual.astype(float), codes.astype(float), scales, strict=True):
            best = row @ code / max(code @ code, 1)
            assert scale == pytest.approx(best, rel=1e-4, abs=1e-6)


def test_ternary_weights_are_zero_up_to_the_papers_threshold():
    codes, scales = ternary.ternary(np.array([[1.0, -0.5, 0.2, -2.0, 0.0]], np.float32))
    assert codes.tolist() == [[1, 0, 0, -1, 0]]  # 0.7 * mean = 0.518
    assert scales == pytest.approx([1.5])


@given(st.sampled_from(["u3", "u6"]), st.lists(st.integers(0, 7), min_size=8, max_size=8))
def test_packed_bytes_are_read(kind, values):
    from openvino.helpers import pack_data

    from ovtool.graph import storage

    packed = pack_data(np.array(values, np.uint8), getattr(ov.Type, kind))
    assert storage.unpack_three_bytes(packed, int(kind[1])).tolist()[:8] == values
