"""Probes: small networks of one kind of operation that a calibration measures.

Probe sizes are typical of networks for images, text and tables, a few doublings apart.  One
inference takes between tens of microseconds and a few milliseconds.

Convolution probes have parallel branches.  A first convolution of three channels converts the input
to the device's internal layout, and a pooling layer that reads one corner of each output prevents a
copy of that output.  The time of the first convolution is known from earlier probes; the pooling
costs no more than a layer's overhead.  A final convolution joins the corners: layers after the last
convolution stay in f32, and without it each whole output would be converted from bf16.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.roofline.model import COMPUTE_KINDS, MEMORY_KINDS, STREAM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import openvino as ov

OVERHEAD, REORDER = "overhead", "reorder"
_MIN_FLOPS = 20e6
"""Minimum FLOPs of an inference, so that arithmetic outweighs overhead."""
_COPIES = (4, 48)
"""Minimum and maximum number of layers of a kind; fewer when layers are large."""
_LARGE_FLOPS = (40e6, 100e6)
"""FLOPs of one layer above which two layers suffice, and one layer suffices."""
_CACHED_BYTES = 8e6
"""Maximum weight bytes of a probe with several products, so that they stay in a cache."""
SINK = "sink"
"""Name prefix of the layers that consume the outputs of branches."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe network.

    Args:
        kind: A kind of the roofline model, ``stream`` or ``overhead``.
        rows: Rows of a matrix product, height and width of an image, or bytes of a memory kind.
        inputs: Input channels, or the inner dimension.
        outputs: Output channels, or columns.
        copies: Number of operations of that kind.
    """

    kind: str
    rows: int
    inputs: int = 0
    outputs: int = 0
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    copies: int = 1

    @property
    def name(self) -> str:
        """Unique name."""
        sizes = (self.rows, self.inputs, self.outputs, self.kernel, self.stride, self.groups)
        return f"{self.kind}-{'-'.join(map(str, sizes))}-x{self.copies}"

    def build(self, *, int8: bool = False) -> ov.Model:
        """Build the network with random weights; ``int8`` quantizes all of it."""
        return _BUILDERS[self.kind](self, int8)


def probes() -> list[Probe]:
    """Return all probes, by kind in evaluation order."""
    all_probes = [Probe(OVERHEAD, 8, copies=copies) for copies in (8, 128)]
    all_probes += [Probe(REORDER, side, copies=1) for side in (48, 96, 192, 384)]
    for kind in (k for k in MEMORY_KINDS if k != REORDER):
        copies = {2**16: 16, 2**18: 8, 2**20: 4, 2**22: 2}
        all_probes += [Probe(kind, size, copies=count) for size, count in copies.items()]
    all_probes += [Probe(MEMORY_KINDS[0], size, copies=1) for size in (2**24, 2**26)]
    all_probes += [Probe(STREAM, 1, 1024, 1024, copies=count) for count in (1, 4, 8, 24)]
    for kind in COMPUTE_KINDS:
        all_probes += [_with_copies(Probe(kind, *sizes)) for sizes in _SIZES[kind]]
    return all_probes


def _with_copies(probe: Probe) -> Probe:
    each = 2.0 * probe.inputs * probe.outputs * probe.kernel**2
    rows = probe.rows if probe.kind == "product" else (probe.rows / probe.stride) ** 2
    if probe.kind == "attention":
        rows = 16 * probe.rows
    count = math.ceil(_MIN_FLOPS / max(1.0, each * rows))
    minimum = 4 >> sum(each * rows > large for large in _LARGE_FLOPS)
    copies = min(max(count, minimum), _COPIES[1])
    if probe.kind == "product":  # ``stream`` measures weights that come from memory
        copies = min(copies, max(1, int(_CACHED_BYTES / (4 * probe.inputs * probe.outputs))))
    return replace(probe, copies=copies)


# The columns are those of Probe: rows, inputs, outputs, kernel, stride, groups.
_SIZES: dict[str, tuple[tuple[int, ...], ...]] = {
    "stem": (
        (28, 1, 16, 3, 1), (28, 1, 32, 5, 1), (32, 3, 32, 3, 1), (64, 3, 32, 3, 2),
        (224, 3, 32, 3, 2), (224, 3, 16, 3, 1), (112, 3, 64, 7, 2), (224, 3, 64, 7, 2),
        (128, 3, 64, 3, 1), (32, 3, 24, 3, 1), (64, 3, 8, 3, 2),
    ),
    "convolution": (
        (7, 16, 16, 3, 1), (7, 64, 64, 3, 1), (7, 256, 256, 3, 1), (7, 512, 512, 3, 1),
        (14, 32, 32, 3, 1), (14, 128, 128, 3, 1), (14, 256, 256, 3, 1), (14, 128, 256, 3, 2),
        (28, 16, 16, 3, 1), (28, 64, 64, 3, 1), (28, 128, 128, 3, 1), (28, 20, 50, 5, 1),
        (56, 16, 32, 3, 2), (56, 32, 32, 3, 1), (56, 64, 64, 3, 1), (56, 64, 128, 3, 2),
        (28, 24, 24, 3, 1), (14, 40, 40, 3, 1), (14, 8, 8, 3, 1), (56, 8, 8, 3, 1),
        (28, 8, 24, 3, 2), (7, 72, 72, 3, 1), (112, 16, 16, 3, 1), (112, 16, 32, 3, 1),
        (28, 32, 32, 5, 1), (14, 64, 64, 5, 1), (14, 96, 96, 7, 1),
    ),
    "pointwise": (
        (7, 32, 128), (7, 128, 512), (7, 512, 128), (7, 1024, 256), (7, 320, 1280),
        (14, 16, 64), (14, 64, 384), (14, 384, 64), (14, 512, 512),
        (28, 32, 192), (28, 192, 32), (28, 256, 256), (28, 40, 240),
        (56, 24, 144), (56, 144, 24), (56, 64, 256), (56, 256, 64),
        (7, 40, 200), (7, 200, 40), (14, 24, 8), (28, 8, 56), (14, 56, 20), (56, 40, 8),
        (112, 16, 96), (112, 32, 16), (112, 64, 64),
    ),
    "depthwise": tuple(
        (rows, 1, channels, kernel, stride, channels) for rows, channels, kernel, stride in (
            (7, 64, 3, 1), (7, 512, 3, 1), (7, 512, 5, 1), (7, 1152, 3, 1),
            (14, 128, 3, 1), (14, 480, 3, 1), (14, 480, 5, 1), (14, 512, 3, 2), (14, 240, 5, 2),
            (28, 96, 3, 1), (28, 240, 5, 1), (28, 192, 3, 2), (56, 144, 3, 1), (56, 144, 3, 2),
            (7, 72, 3, 1), (14, 40, 5, 1), (28, 24, 3, 1), (28, 56, 3, 2), (56, 8, 3, 1),
            (56, 144, 5, 2), (112, 32, 3, 1), (112, 96, 3, 2), (112, 128, 3, 1),
        )
    ),
    "grouped": (
        (7, 32, 512, 3, 1, 16), (14, 16, 256, 3, 1, 16), (28, 8, 128, 3, 1, 16),
        (56, 4, 128, 3, 1, 32),
    ),
    "product": tuple(
        (rows, width, width) for rows in (1, 8, 64, 512)
        for width in (64, 128, 256, 512, 1024, 2048) if rows * width * width <= 64 * 1024 * 1024
    ),
    "attention": ((16, 32, 16), (64, 32, 64), (128, 64, 128), (384, 64, 384)),
}  # fmt: skip


class _Network:
    def __init__(self, *, int8: bool = False) -> None:
        from openvino import opset15

        self.op, self.int8 = opset15, int8
        self._random = np.random.default_rng(0)

    def parameter(self, *shape: int, name: str = "x") -> Any:
        """Return an input with a layout without a batch dimension."""
        import openvino as ov

        node = self.op.parameter(list(shape), ov.Type.f32, name=name)
        node.output(0).set_names({name})
        node.set_layout(ov.Layout("?" * len(shape)))
        return node

    def weights(self, *shape: int, fan_in: int) -> Any:
        """Return random weights scaled by ``1 / sqrt(fan_in)``, to keep the activations' scale."""
        values = self._random.standard_normal(shape) / math.sqrt(fan_in)
        return self.quantized(self.op.constant(values.astype(np.float32)), levels=255)

    def quantized(self, node: Any, levels: int = 256) -> Any:
        """Return activations, or with 255 levels weights, quantized if the probe is."""
        if not self.int8:
            return node
        high = 4.0 * 127 / 128 if levels == 256 else 4.0
        ends = [self.op.constant(np.float32(v)) for v in (-4.0, high)]
        return self.op.fake_quantize(node, *ends, *ends, levels)

    def convolution(self, x: Any, probe: Probe, name: str = "") -> Any:
        """Return a convolution with its quantization, named if ``name`` is given."""
        pad = [probe.kernel // 2] * 2
        stride, ones = [probe.stride] * 2, [1, 1]
        window = (probe.kernel, probe.kernel)
        fan_in = probe.inputs * probe.kernel**2
        if probe.groups == 1:
            kernels = self.weights(probe.outputs, probe.inputs, *window, fan_in=fan_in)
            node = self.op.convolution(x, kernels, stride, pad, pad, ones)
        else:
            each = probe.outputs // probe.groups
            kernels = self.weights(probe.groups, each, probe.inputs, *window, fan_in=fan_in)
            node = self.op.group_convolution(x, kernels, stride, pad, pad, ones)
        output = self.quantized(node)
        for named in (node, output) if name else ():
            named.set_friendly_name(name)
        return output

    def model(self, results: list[Any], inputs: list[Any]) -> ov.Model:
        import openvino as ov

        for index, result in enumerate(results):
            result.output(0).set_names({f"y{index}"})
        return ov.Model([self.op.result(result) for result in results], inputs, "probe")


def _max_pool(x: Any, stride: int, pad: int, kernel: int) -> Any:
    """Return a max pooling of opset 1, which has a single output."""
    from openvino import opset1

    return opset1.max_pool(x, [stride] * 2, [pad] * 2, [pad] * 2, [kernel] * 2)


def _branches(probe: Probe, int8: bool) -> ov.Model:
    net = _Network(int8=int8)
    stem = probe.kind == "stem"
    x = net.parameter(1, probe.inputs if stem else 3, probe.rows, probe.rows)
    h = net.quantized(x)
    if not stem:
        channels = probe.inputs * probe.groups
        h = net.convolution(h, Probe("stem", probe.rows, 3, channels, kernel=3))
    corners: list[Any] = []
    for _ in range(probe.copies):
        corner = _max_pool(net.convolution(h, probe), -(-probe.rows // probe.stride), 0, 2)
        corner.set_friendly_name(f"{SINK}{len(corners)}")
        corners.append(corner)
    joined = net.op.concat(corners, 1)
    joined.set_friendly_name(f"{SINK}s")
    last = Probe("pointwise", 1, probe.outputs * probe.copies, 8)
    return net.model([net.convolution(joined, last, name=SINK)], [x])


def _product(probe: Probe, int8: bool) -> ov.Model:
    net = _Network(int8=int8)
    x = net.parameter(probe.rows, probe.inputs)
    h = net.quantized(x)
    for _ in range(probe.copies):
        rows = net.weights(probe.outputs, probe.inputs, fan_in=probe.inputs)
        h = net.quantized(net.op.matmul(h, rows, False, True))
    return net.model([h], [x])


def _attention(probe: Probe, _int8: bool) -> ov.Model:
    net = _Network()
    shape = (1, 8, probe.rows, probe.inputs)
    q, k, v = (net.parameter(*shape, name=name) for name in "qkv")
    h = q
    for _ in range(probe.copies):
        h = net.op.scaled_dot_product_attention(h, k, v)
    return net.model([h], [q, k, v])


def _moving(probe: Probe, _int8: bool) -> ov.Model:
    """Return a network of layers that each read ``rows / 2`` bytes and write the same amount."""
    net = _Network()
    channels = 16
    side = max(2, round(math.sqrt(probe.rows / 2 / 4 / channels)))
    x = net.parameter(1, channels, side, side)
    if probe.kind in ("pooling", "normalization"):
        h = x
        for index in range(probe.copies):
            if probe.kind == "pooling":
                h = _max_pool(h, 1, 1, 3)
            elif index % 2:
                h = net.op.softmax(h, 3)
            else:
                h = net.op.mvn(h, net.op.constant(np.array([3])), True, 1e-5, "inside_sqrt")
        return net.model([h], [x])
    if probe.kind == "reduce":
        return net.model(
            [net.op.reduce_mean(x, net.op.constant(np.array([2, 3])), keep_dims=True)], [x]
        )
    if probe.kind == "transpose":
        orders = tuple(itertools.permutations(range(4)))[1 : probe.copies + 1]
        return net.model([net.op.transpose(x, net.op.constant(np.array(o))) for o in orders], [x])
    # Distinct constants: OpenVINO merges identical operations.
    constants = [net.op.constant(np.float32(1 + index)) for index in range(probe.copies)]
    return net.model([net.op.add(x, constant) for constant in constants], [x])


def _reorder(probe: Probe, int8: bool) -> ov.Model:
    """Return a network that reorders an image for a convolution that reads 1 of 64 positions."""
    net = _Network(int8=int8)
    x = net.parameter(1, 3, probe.rows, probe.rows)
    output = net.convolution(x, Probe("pointwise", probe.rows, 3, 16, stride=8))
    sink = _max_pool(output, probe.rows // 8, 0, 2)
    sink.set_friendly_name(SINK)
    return net.model([sink], [x])


def _overhead(probe: Probe, _int8: bool) -> ov.Model:
    net = _Network()
    x = net.parameter(1, probe.rows)
    h = x
    for _ in range(probe.copies):
        h = net.op.softmax(h, 1)
    return net.model([h], [x])


_BUILDERS: Mapping[str, Callable[[Probe, bool], ov.Model]] = {
    OVERHEAD: _overhead,
    REORDER: _reorder,
    STREAM: _product,
    "product": _product,
    "attention": _attention,
    **{kind: _moving for kind in MEMORY_KINDS if kind != REORDER},
    **dict.fromkeys(("stem", "convolution", "pointwise", "depthwise", "grouped"), _branches),
}
