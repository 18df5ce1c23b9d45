"""Settings of quantization that follow from the target device and the graph, without a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovtool.compression.ptq import Int8Settings
from ovtool.core import units
from ovtool.devices.rules import find_narrow_int8, find_wide_int8
from ovtool.graph.operations import VIEWS
from ovtool.graph.reference_run import EXACT_PROPERTIES, FLOAT_KERNELS
from ovtool.system.host import Host

if TYPE_CHECKING:
    from collections.abc import Mapping

    import openvino as ov

    from ovtool.compression.method import MethodSettings
    from ovtool.compression.ptq import QuantizationSettings

_CPUS = ("any", "cpu")
"""Target devices that include the CPU of this machine."""
_ATTENTION = "ScaledDotProductAttention"
# Between the softmax and the product with the values.
_PASSED = frozenset({*VIEWS, "Convert", "Multiply", "Select", "Transpose"})


@dataclass(frozen=True, slots=True)
class Decision:
    """A setting that was left to ovtool, its value, and why."""

    setting: str
    value: Any
    reason: str


def decide(
    model: ov.Model, settings: QuantizationSettings, host: Host | None = None
) -> tuple[QuantizationSettings, tuple[Decision, ...]]:
    """Return the settings with those at ``auto`` decided by rules, and the decisions.

    Nothing is decided with ``effort`` none. ``host`` is the machine of the target device ``cpu``,
    by default this one.
    """
    if settings.effort == "none":
        return settings, ()
    decisions = []
    if isinstance(settings, Int8Settings) and settings.overflow_fix == "auto":
        wide = find_wide_int8(settings.target_device, host or Host())
        narrow = find_narrow_int8(host or Host()) if settings.target_device in _CPUS else None
        if wide is not None:
            decisions.append(Decision("overflow_fix", "disable", f"no overflow: {wide}"))
        elif narrow is not None:
            decisions.append(Decision("overflow_fix", "pairs", narrow))
    if isinstance(settings, Int8Settings) and settings.activation_scales == "auto":
        depthwise = count_depthwise(model)
        if depthwise:
            count = units.count_text(depthwise, "depthwise convolution")
            reason = f"{count}: ranges per channel clip what the calibration samples lack"
            decisions.append(Decision("activation_scales", "per_tensor", reason))
    if settings.model_type == "auto":
        layer = find_attention(model)
        if layer is not None:
            reason = f"the graph has attention, at {layer}"
            decisions.append(Decision("model_type", "transformer", reason))
    update = {decision.setting: decision.value for decision in decisions}
    return settings.model_copy(update=update), tuple(decisions)


def judging_properties(settings: MethodSettings, host: Host | None = None) -> Mapping[str, str]:
    """Return the OpenVINO properties of quantized graphs that are judged on this CPU.

    A target that adds products of 8 bits without overflow is judged without the INT8 kernels of
    this CPU, which may overflow: quantized layers compute in f32, as the graph states them. For
    other targets, the kernels of this CPU run. ``host`` is as for :func:`decide`.
    """
    target = settings.target_device if isinstance(settings, Int8Settings) else "any"
    wide = find_wide_int8(target, host or Host())
    return EXACT_PROPERTIES if wide is None else FLOAT_KERNELS


def count_depthwise(model: ov.Model) -> int:
    """Return the number of depthwise convolutions: each kernel reads a single channel."""
    grouped = [o for o in model.get_ordered_ops() if o.get_type_name() == "GroupConvolution"]
    # The kernels are [groups, outputs of a group, inputs of a group, ...].
    kernels = [operation.input(1).get_partial_shape() for operation in grouped]
    return sum(shape.rank.is_static and shape[2] == 1 for shape in kernels)


def find_attention(model: ov.Model) -> str | None:
    """Return the name of a layer of attention: a product with a softmax of a product; None.

    The definition is that of Vaswani et al. 2017, "Attention Is All You Need", equation 1.
    """
    for operation in model.get_ordered_ops():
        kind = operation.get_type_name()
        if kind == _ATTENTION:
            return str(operation.get_friendly_name())
        if kind != "MatMul":
            continue
        softmax = _source(operation.input_value(0).get_node(), _PASSED)
        if softmax.get_type_name() == "Softmax":
            scores = _source(softmax.input_value(0).get_node(), _PASSED | {"Add", "Divide"})
            if scores.get_type_name() == "MatMul":
                return str(operation.get_friendly_name())
    return None


def _source(node: Any, passed: frozenset[str]) -> Any:
    """Return the node before those of the passed types, along first inputs."""
    while node.get_type_name() in passed:
        node = node.input_value(0).get_node()
    return node
