"""What a network costs: the arithmetic of its graph and its parameters, before and after a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovtool.core import variant
from ovtool.datasets.samples import sample_axis
from ovtool.graph import flops

if TYPE_CHECKING:
    import openvino as ov
    import torch


def closed(model: ov.Model, batch: int = 1) -> ov.Model:
    """Return a copy of a graph whose open batch has a size; other dimensions stay as they are."""
    import openvino as ov

    shapes = {}
    for place, port in enumerate(variant.ports(model)["inputs"]):
        axis = sample_axis(port)
        sizes = [batch if at == axis and size < 0 else size for at, size in enumerate(port.shape)]
        shapes[place] = ov.PartialShape(sizes)
    copied = model.clone()
    copied.reshape(shapes)
    return copied


def graph_flops(model: ov.Model) -> int | None:
    """Return the FLOPs of one inference of a graph, with one sample where its batch is open.

    None where they cannot be told: another dimension is open too, or see :mod:`ovtool.graph.flops`.
    """
    try:
        alone = closed(model)
    except RuntimeError:  # a graph may hold a batch of its own, e.g. in a Reshape
        return None
    return flops.work(alone).total


def parameters(module: torch.nn.Module) -> int:
    """Return the number of trainable values of a module; those that are shared count once."""
    return sum(parameter.numel() for parameter in module.parameters())


def compared(before: ov.Model, after: ov.Model) -> dict[str, Any]:
    """Return what a step's details say of the arithmetic: FLOPs of one inference (1 MAC = 2)."""
    return {"flops_before": graph_flops(before), "flops_after": graph_flops(after)}
