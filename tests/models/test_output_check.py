"""The comparison of a conversion with its source."""

from dataclasses import replace

import numpy as np
import openvino as ov
import pytest

from ovtool.core.errors import InputError
from ovtool.datasets.registry import load_samples
from ovtool.graph.reference_run import ReferenceModel
from ovtool.models import onnx as onnx_source
from ovtool.models import torch as torch_source
from ovtool.models.options import SourceOptions
from tests.models.source_models import (
    conv_onnx,
    graph_onnx,
    make,
    open_onnx,
)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [lambda y: y + 0.5, lambda y: y[:, :2]])
def test_different_outputs_leave_nothing_behind(tmp_path, monkeypatch, wrong):
    genuine = onnx_source.read

    def read(reference, options):
        source = genuine(reference, options)
        return replace(
            source, reference=lambda x: [wrong(y) for y in source.reference(x)], second=None
        )

    monkeypatch.setattr(onnx_source, "read", read)
    with pytest.raises(InputError, match="output 'y'"):
        make(conv_onnx(tmp_path / "net.onnx"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


@pytest.mark.slow
def test_tolerance_option_applies(tmp_path, monkeypatch):
    genuine = onnx_source.read

    def read(reference, options):
        source = genuine(reference, options)
        return replace(
            source, reference=lambda x: [y * 1.01 for y in source.reference(x)], second=None
        )

    monkeypatch.setattr(onnx_source, "read", read)
    source = conv_onnx(tmp_path / "net.onnx")
    with pytest.raises(InputError, match="'y'"):
        make(source, tmp_path / "out")
    assert make(source, tmp_path / "out", tolerance=0.02).record.check.tolerance == 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
    ("nodes", "status"),
    [
        ([("Tile", ["x", "none"], "y")], "empty"),
        ([("Neg", ["x"], "a"), ("Exp", ["a"], "b"), ("Neg", ["b"], "c"), ("Log", ["c"], "y")],
         "not-finite"),
        ([("Abs", ["x"], "a"), ("Neg", ["a"], "b"), ("Relu", ["b"], "y")], "constant"),
    ],
)  # fmt: skip
def test_outputs_without_evidence_are_not_checked(tmp_path, nodes, status):
    path, constants = tmp_path / "net.onnx", {"none": np.array([1, 1, 0, 1])}
    source = graph_onnx(path, nodes, {"x": [2, 3, 4, 5]}, constants=constants)
    record = make(source, tmp_path / "out").record
    assert [d.status for d in record.check.differences] == [status]
    assert record.check.max_abs_difference is None
    assert [note.id for note in record.notes] == ["conversion-not-checked"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([("Sub", ["x", "big"], "a"), ("Relu", ["a"], "y")], {"big": np.float32(100)}),
        ([("Sub", ["x", "big"], "a"), ("Log", ["a"], "y")], {"big": np.float32(20)}),
        ([("Tile", ["x", "r"], "y")], {}),
    ],
)
def test_further_inputs_are_tried_for_evidence(tmp_path, nodes, constants):
    counts = {} if constants else {"r": [2]}
    path = graph_onnx(tmp_path / "net.onnx", nodes, {"x": [2, 8]}, counts, constants=constants)
    record = make(path, tmp_path / "out").record
    assert [d.status for d in record.check.differences] == ["checked"]
    assert record.notes == ()


def hash_onnx(path):
    """Sum of the rows (id mod 1000) of a table: [batch, 8] ids of 64 bits -> [batch, 4]."""
    table = np.random.default_rng(0).standard_normal((1000, 4)).astype(np.float32)
    nodes = [
        ("Mod", ["id", "n"], "row"), ("Gather", ["t", "row"], "e"), ("ReduceSum", ["e", "a"], "y"),
    ]  # fmt: skip
    constants = {"t": table, "n": np.array(1000), "a": np.array([1])}
    return graph_onnx(path, nodes, {}, {"id": ["b", 8]}, constants=constants)


def test_wide_integers_are_tried_and_limit_the_variant(tmp_path):
    record = make(hash_onnx(tmp_path / "hash.onnx"), tmp_path / "out").record
    assert record.check.max_abs_difference < 1e-5
    assert [note.id for note in record.notes] == ["integers-limited"]
    assert 2**15 <= record.inputs[0].maximum < 2**31


@pytest.mark.slow
@pytest.mark.parametrize(("largest", "agrees"), [(2**20, True), (2**60, False)])
def test_integers_of_the_users_samples_decide(tmp_path, largest, agrees):
    ids = np.random.default_rng(1).integers(largest // 2, largest, (20, 8))
    np.savez(tmp_path / "ids.npz", id=ids)
    source, data = hash_onnx(tmp_path / "hash.onnx"), str(tmp_path / "ids.npz")
    if agrees:
        check = make(source, tmp_path / "out", data=data).record.check
        assert "id 14x8" in check.inputs
    else:
        with pytest.raises(InputError, match=r"id has integers up to \d{18}"):
            make(source, tmp_path / "out", data=data)


def test_later_samples_above_the_limit_are_refused(tmp_path):
    variant = make(hash_onnx(tmp_path / "hash.onnx"), tmp_path / "out")
    np.savez(tmp_path / "ids.npz", id=np.full((1, 8), 2**40))
    samples = load_samples(str(tmp_path / "ids.npz"), variant.record.inputs, None)
    with pytest.raises(InputError, match=str(2**40)):
        list(samples)


def test_bounded_token_ids_have_no_limit(tmp_path):
    nodes = [("Gather", ["t", "id"], "y")]
    table = np.eye(7, dtype=np.float32)
    path = graph_onnx(tmp_path / "e.onnx", nodes, {}, {"id": ["b", 8]}, constants={"t": table})
    record = make(path, tmp_path / "out").record
    assert (record.inputs[0].maximum, record.notes) == (None, ())


@pytest.mark.slow
def test_fixed_value_fills_an_input(tmp_path):
    """The logarithm of rate - 8000 is NaN for the rates that would be drawn."""
    nodes = [("Sub", ["rate", "low"], "a"), ("Log", ["a"], "b"), ("Mul", ["x", "b"], "y")]
    constants = {"low": np.float32(8000)}
    path = graph_onnx(tmp_path / "net.onnx", nodes, {"x": [1, 6], "rate": []}, constants=constants)
    assert make(path, tmp_path / "a").record.check.max_abs_difference is None
    check = make(path, tmp_path / "b", values={"rate": 16000}).record.check
    assert check.differences[0].largest_value > 1
    with pytest.raises(InputError, match="'rat'"):
        make(path, tmp_path / "c", values={"rat": 16000})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("padding", "ids"), [("head", ["mask-limited"]), ("tail", None), ("none", [])]
)
def test_padding_at_the_start_of_a_mask_that_fails_is_a_warning(
    tmp_path, monkeypatch, padding, ids
):
    genuine = onnx_source.read

    def read(reference, options):
        source = genuine(reference, options)

        def run(inputs):
            wrong = {"head": 0, "tail": -1}.get(padding)
            fails = wrong is not None and (inputs["mask"][:, wrong] == 0).any()
            return [y + fails for y in source.reference(inputs)]

        return replace(source, reference=run, second=None)

    monkeypatch.setattr(onnx_source, "read", read)
    path = graph_onnx(
        tmp_path / "net.onnx", [("Mul", ["x", "mask"], "y")], {"x": ["b", 8], "mask": ["b", 8]}
    )
    if ids is None:
        with pytest.raises(InputError, match="'y'"):
            make(path, tmp_path / "out")
    else:
        assert [note.id for note in make(path, tmp_path / "out").record.notes] == ids


@pytest.mark.slow
def test_loop_over_an_open_dimension_keeps_the_traced_size(nets, tmp_path):
    record = make("nets:loop", tmp_path / "out", input_shapes={"x": (-1, -1, 4)}).record
    assert record.inputs[0].shape == (-1, 10, 4)
    assert record.batch == "dynamic"
    assert [note.id for note in record.notes] == ["size-fixed"]
    assert record.check.max_abs_difference < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("pads", [True, False])
def test_dimensions_that_are_right_together_stay_open(tmp_path, monkeypatch, pads):
    genuine = onnx_source.read

    def read(reference, options):
        source = genuine(reference, options)

        def run(inputs):
            x, mask = inputs["x"], inputs["mask"]
            if pads:  # to the length of x, as Hugging Face encoders do
                mask = np.pad(mask, [(0, 0), (0, max(0, x.shape[1] - mask.shape[1]))])
                mask = mask[:, : x.shape[1]]
            return source.reference({"x": x, "mask": mask})

        return replace(source, reference=run, second=None)

    monkeypatch.setattr(onnx_source, "read", read)
    path = graph_onnx(
        tmp_path / "net.onnx", [("Mul", ["x", "mask"], "y")], {"x": ["b", "s"], "mask": ["b", "t"]}
    )
    record = make(path, tmp_path / "out").record
    assert [port.shape for port in record.inputs] == [(-1, -1), (-1, -1)]
    tied = [note for note in record.notes if note.id == "sizes-tied"]
    assert [note.id for note in record.notes] == (["sizes-tied"] if pads else [])
    assert all("1 of x" in note.evidence and "1 of mask" in note.evidence for note in tied)


def test_open_dimension_is_checked_at_other_sizes(tmp_path):
    record = make(open_onnx(tmp_path / "net.onnx"), tmp_path / "out").record
    assert record.inputs[0].shape == (-1, -1, 5)
    assert all(f"x 1x{size}x5" in record.check.inputs for size in (8, 12, 5))


@pytest.mark.slow
@pytest.mark.parametrize("net", ["narrow", "autocast"])
def test_narrow_floats_of_the_source_are_its_own_error(nets, tmp_path, net):
    check = make(f"nets:{net}", tmp_path / "out").record.check
    [difference] = check.differences
    assert difference.checked
    # More than the tolerance allows, and less than some steps of bfloat16.
    assert 1e-3 < difference.max_abs_difference / difference.largest_value < 2**-5


def qdq_onnx(path, weight=None):
    """A convolution that onnxruntime quantized, in pairs of QuantizeLinear and its inverse."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            rng = np.random.default_rng(0)
            self.samples = iter(
                {"x": rng.standard_normal((1, 3, 8, 8)).astype(np.float32)} for _ in range(4)
            )

        def get_next(self):
            return next(self.samples, None)

    original = path.with_name("float.onnx")
    if weight is None:
        conv_onnx(original)
    else:
        graph_onnx(
            original, [("Conv", ["x", "w"], "y")], {"x": ["N", 3, 8, 8]}, constants={"w": weight}
        )
    quantization.quantize_static(
        original, path, Reader(), quant_format=quantization.QuantFormat.QDQ
    )
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "right"), [(1.0, True), (1.1, False)])
def test_tolerance_of_a_quantized_source_is_its_step(tmp_path, monkeypatch, factor, right):
    genuine = onnx_source.read

    def read(reference, options):
        source = genuine(reference, options)
        scaled = [
            lambda x, run=run: [factor * y for y in run(x)]
            for run in (source.reference, source.second)
        ]
        return replace(source, reference=scaled[0], second=scaled[1])

    source = qdq_onnx(tmp_path / "qdq.onnx")
    monkeypatch.setattr(onnx_source, "read", read)
    if right:
        [difference] = make(source, tmp_path / "out").record.check.differences
        assert difference.checked
        step = 2 / 127 * difference.largest_value
        assert difference.max_abs_difference <= max(difference.source_error or 0, step)
    else:
        with pytest.raises(InputError, match="'y'"):
            make(source, tmp_path / "out")


@pytest.mark.slow
def test_products_of_8_bits_that_a_cpu_saturates_are_not_a_wrong_conversion(tmp_path):
    """Without VNNI, 8-bit kernels add pairs of products in 16 bits: 2 * 255 * 127 > 32767."""
    rng = np.random.default_rng(0)
    weight = (1 - rng.random((8, 3, 3, 3)) / 50).astype(np.float32)
    source = qdq_onnx(tmp_path / "qdq.onnx", weight)
    record = make(source, tmp_path / "out").record
    [difference] = record.check.differences
    assert difference.checked
    assert difference.max_abs_difference < 0.02 * difference.largest_value
    x = rng.standard_normal((4, 3, 8, 8)).astype(np.float32)
    [expected] = onnx_source.read(str(source), SourceOptions()).reference({"x": x})
    [actual] = ReferenceModel(ov.Core().read_model(tmp_path / "out" / "model.xml")).run({"x": x})
    saturated = np.abs(actual - expected).max() > 0.02 * np.abs(expected).max()
    assert ("integer-kernels-differ" in {note.id for note in record.notes}) == saturated


@pytest.mark.slow
def test_real_error_beyond_narrow_floats_is_refused(nets, tmp_path, monkeypatch):
    genuine = torch_source.read

    def read(reference, options):
        source = genuine(reference, options)
        wrong = [
            lambda x, run=run: [1.2 * y for y in run(x)]
            for run in (source.reference, source.second)
        ]
        return replace(source, reference=wrong[0], second=wrong[1])

    monkeypatch.setattr(torch_source, "read", read)
    with pytest.raises(InputError, match="'output_0'"):
        make("nets:narrow", tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "statuses", "operation"),
    [
        ("dropout", ["random", "checked"], "aten.bernoulli"),
        ("noise", ["random"], "RandomUniform"),
    ],
)
def test_random_outputs_are_named_and_not_compared(nets, tmp_path, net, statuses, operation):
    record = make(f"nets:{net}", tmp_path / "out").record
    assert [d.status for d in record.check.differences] == statuses
    [note] = record.notes
    assert operation in note.evidence
