"""PyTorch networks of variants: restoring, editing, counting their cost, converting to a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovtool.compression.method import MethodContext, MethodResult
from ovtool.compression.registry import load_method
from ovtool.core import files, variant
from ovtool.core.errors import InputError
from ovtool.core.ports import ports
from ovtool.core.third_party import captured, reason
from ovtool.graph import flops

if TYPE_CHECKING:
    import openvino as ov
    import torch

    from ovtool.compression.training import TrainingResult
    from ovtool.core.variant import Variant
    from ovtool.models.network import Network


def is_trainable(candidate: Variant) -> bool:
    """Return whether a variant has a PyTorch network that matches its graph."""
    return not candidate.record.steps or candidate.record.network_sha256 is not None


def restore_network(source: Network, target: Variant) -> Network:
    """Turn a fresh network of a source in place into the network of a variant made from the source.

    Raises:
        InputError: A step left PyTorch, or the saved weights were changed.
    """
    if not is_trainable(target):
        last = target.record.steps[-1].method
        raise InputError(
            f"variant {target.name} cannot be trained: step {last} left no PyTorch network",
            f"train before {last}",
        )
    for step in target.record.steps:
        rebuild = load_method(step.method).rebuild
        if rebuild is not None:
            rebuild(source, step)
    if target.record.steps:
        weights = files.existing_file(target.folder / variant.NETWORK, "weights")
        if files.sha256(weights) != target.record.network_sha256:
            raise InputError(f"{weights} was changed after it was written", "compress again")
        source.load(weights)
    return source


def run_example(network: Network, failure: str, hint: str = "") -> None:
    """Run a network on its example in eval mode; an InputError has the message and hint."""
    import torch

    try:
        network.module.eval()
        with captured(network.reference), torch.no_grad():
            network(network.example)
    except Exception as error:  # the user's code may raise anything
        raise InputError(f"{failure}: {reason(error)}", hint) from error


def replace_module(network: Network, old: torch.nn.Module, new: torch.nn.Module) -> None:
    """Replace a module everywhere it is used."""
    names = [
        name
        for name, module in network.module.named_modules(remove_duplicate=False)
        if module is old
    ]
    for name in names:
        parent, _, leaf = name.rpartition(".")
        setattr(network.module.get_submodule(parent), leaf, new)


def count_parameters(module: torch.nn.Module) -> int:
    """Return the number of parameters of a module; shared parameters count once."""
    return sum(parameter.numel() for parameter in module.parameters())


def close_batch(model: ov.Model, batch: int = 1) -> ov.Model:
    """Return a copy of a graph with a fixed size for an open batch; other dimensions stay."""
    import openvino as ov

    shapes = {}
    for index, port in enumerate(ports(model)["inputs"]):
        axis = port.batch_axis
        sizes = [batch if at == axis and size < 0 else size for at, size in enumerate(port.shape)]
        shapes[index] = ov.PartialShape(sizes)
    copied = model.clone()
    copied.reshape(shapes)
    return copied


def count_flops(model: ov.Model) -> int | None:
    """Return the FLOPs of one inference of a graph, with one sample where the batch is open.

    None where they are unknown: another dimension is open, or see :mod:`ovtool.graph.flops`.
    """
    try:
        closed = close_batch(model)
    except RuntimeError:  # a graph may have a fixed batch inside, e.g. in a Reshape
        return None
    return flops.compute_cost(closed).total


def convert_network(
    context: MethodContext[Any], network: Network, details: dict[str, Any]
) -> MethodResult:
    """Return the result of a method that changed a network, with the ports of the parent.

    Raises:
        InputError: OpenVINO cannot convert the network.
    """
    context.progress.start("converting")
    return MethodResult(network.to_openvino(context.parent.record.inputs), details, network)


def convert_with_cost(
    context: MethodContext[Any],
    network: Network,
    parameters_before: int,
    trained: TrainingResult | None,
    details: dict[str, Any] | None = None,
) -> MethodResult:
    """Do the same as :func:`convert_network`, with parameters, FLOPs and training in details."""
    result = convert_network(context, network, {
        **(details or {}),
        "parameters_before": parameters_before,
        "parameters_after": count_parameters(network.module),
        **training_details(trained),
    })  # fmt: skip
    result.details.update(compare_flops(context.model, result.model))
    return result


def compare_flops(before: ov.Model, after: ov.Model) -> dict[str, Any]:
    """Return the details of a step about FLOPs of one inference (1 MAC = 2 FLOPs)."""
    return {"flops_before": count_flops(before), "flops_after": count_flops(after)}


def training_details(result: TrainingResult | None) -> dict[str, Any]:
    """Return the details of a step about its training; empty without one."""
    return {} if result is None else {"training": result.to_json()}
