"""What a method brought: arithmetic and parameters before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovtool import flops, variant
from ovtool.samples import sample_axis

if TYPE_CHECKING:
    import openvino as ov
    import torch


def sample_flops(model: ov.Model) -> int | None:
    """Return the FLOPs of one sample, zeros counted as any other weight (1 MAC = 2 FLOPs).

    None where they depend on more than the batch.
    """
    import openvino as ov

    alone = model.clone()
    shapes = []
    for port in variant.ports(alone)["inputs"]:
        axis = sample_axis(port)
        shapes.append([1 if place == axis else size for place, size in enumerate(port.shape)])
    try:
        alone.reshape(
            {port: ov.PartialShape(shape) for port, shape in zip(alone.inputs, shapes, strict=True)}
        )
    except RuntimeError:  # a graph may hold a batch of its own, e.g. in a Reshape
        return None
    return flops.work(alone).total


def parameters(module: torch.nn.Module) -> int:
    """Return the number of a module's parameters; those that layers share count once."""
    return sum(parameter.numel() for parameter in module.parameters())


def arithmetic(before: ov.Model, after: ov.Model) -> dict[str, Any]:
    """Return the FLOPs of one sample of both, as JSON types; None is not known."""
    return {"flops_before": sample_flops(before), "flops_after": sample_flops(after)}
