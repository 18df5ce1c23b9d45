"""Quantized ONNX files as ONNX Runtime writes them, from a small perceptron."""

import itertools
import logging

import numpy as np

SIZES = (32, 48, 24, 10)
"""Widths of the perceptron: three layers."""
PARAMETERS = sum(a * b + b for a, b in itertools.pairwise(SIZES))


def save_mlp(path, seed=0):
    """Write ``x`` [N, 32] -> three layers -> ``y`` [N, 10]."""
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(seed)
    nodes, weights, last = [], [], "x"
    for index, (before, after) in enumerate(itertools.pairwise(SIZES)):
        rows = rng.standard_normal((before, after)) / np.sqrt(before)
        bias = rng.standard_normal(after) / 10
        for name, values in ((f"w{index}", rows), (f"b{index}", bias)):
            weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        final = index == len(SIZES) - 2
        target = "y" if final else f"h{index}"
        nodes.append(helper.make_node("Gemm", [last, f"w{index}", f"b{index}"], [target]))
        last = target
        if not final:
            nodes.append(helper.make_node("Relu", [target], [f"r{index}"]))
            last = f"r{index}"

    def port(name, size):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size])

    graph = helper.make_graph(nodes, "mlp", [port("x", SIZES[0])], [port("y", SIZES[-1])], weights)
    opsets = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def samples(count=32, seed=1):
    """[count, 32]."""
    shape = (count, SIZES[0])
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def write_qdq(source, target, **options):
    """Quantize weights and activations statically, as pairs of QuantizeLinear and its inverse."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rows = iter(samples())

        def get_next(self):
            row = next(self.rows, None)
            return None if row is None else {"x": row[None]}

    with _quiet():
        quantize_static(source, target, Reader(), quant_format=QuantFormat.QDQ, **options)
    return target


def write_dynamic(source, target, **options):
    """Quantize weights to 8 bits, and activations by their range in each inference."""
    from onnxruntime.quantization import quantize_dynamic

    with _quiet():
        quantize_dynamic(source, target, **options)
    return target


def run(path, values):
    """Return the outputs of a file in ONNX Runtime."""
    import onnxruntime

    return onnxruntime.InferenceSession(path).run(None, {"x": values})[0]


class _quiet:  # noqa: N801 - a context
    """ONNX Runtime advises on the root logger."""

    def __enter__(self):
        logging.disable(logging.WARNING)

    def __exit__(self, *_):
        logging.disable(logging.NOTSET)
