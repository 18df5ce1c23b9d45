"""Tracing of torch modules to OpenVINO graphs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovtool.core.notes import Note, make_note
from ovtool.core.third_party import captured
from ovtool.models.control_flow import find_control_flow, tracer_warnings
from ovtool.models.torch_values import Outputs, no_tensors, split_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import openvino as ov
    import torch

_SCOPES = ("__module.traced", "self.traced")
"""Prefixes of the names of operations and of weights."""


@dataclass(frozen=True, slots=True)
class TracedGraph:
    """A graph and the outputs of the example run."""

    model: ov.Model
    outputs: Outputs
    notes: tuple[Note, ...]


def trace(
    module: torch.nn.Module,
    call: Callable[[Mapping[str, torch.Tensor]], Any],
    example: Mapping[str, torch.Tensor],
    reference: str,
) -> TracedGraph:
    """Trace a module in eval mode and convert the trace.

    ``call`` runs the module on tensors by name.  The graph has an input for each tensor of the
    example, and an output for each tensor of the outputs.

    Raises:
        Exception: Any, from the module's code or the converter.
    """
    import openvino as ov
    import torch

    module.eval()
    adapter, seen = _adapter(module, call, list(example))
    with captured(reference) as caught, torch.no_grad():
        try:
            model = ov.convert_model(adapter, example_input=tuple(example.values()))
        except Exception as error:
            if seen and not seen[-1].tensors:
                raise no_tensors(seen[-1], reference) from error
            raise
    _strip_scope(model)
    outputs: Outputs = seen[-1]
    _name_outputs(model, outputs)
    notes = []
    if places := _control_flow(call, example, tracer_warnings(caught), reference):
        notes.append(make_note("traced-control-flow", "; ".join(places)))
    if outputs.left_out:
        notes.append(make_note("outputs-left-out", ", ".join(outputs.left_out)))
    return TracedGraph(model, outputs, tuple(notes))


def _adapter(
    module: torch.nn.Module, call: Callable[[Mapping[str, torch.Tensor]], Any], names: list[str]
) -> tuple[torch.nn.Module, list[Outputs]]:
    """Return a module from tensors to tensors, and the list of the outputs of its runs."""
    import torch

    seen: list[Outputs] = []

    class Adapter(torch.nn.Module):  # type: ignore[misc] # torch has no types here
        def __init__(self) -> None:
            super().__init__()
            self.traced = module
            if hasattr(module, "config"):  # the converter reads it
                self.config = module.config

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            outputs = split_outputs(call(dict(zip(names, tensors, strict=True))))
            seen.append(outputs)
            return outputs.tensors

    return Adapter().eval(), seen


def _strip_scope(model: ov.Model) -> None:
    """Remove the adapter from the names of operations and weights."""
    for operation in model.get_ops():
        name = operation.get_friendly_name()
        for scope in _SCOPES:
            if name.startswith(scope):
                operation.set_friendly_name(scope.removesuffix(".traced") + name[len(scope) :])


def _name_outputs(model: ov.Model, outputs: Outputs) -> None:
    import openvino as ov

    named = {port.get_node().get_name() for port in model.inputs}
    for port in model.outputs:
        result, producer = port.get_node(), port.get_node().input_value(0)
        place = f"{producer.get_node().get_name()} {producer.get_index()}"
        if producer.get_node().get_name() in named or place in named:
            # An input or an output again: the names of a Result are also those of its producer.
            producer = ov.opset13.convert(producer, port.get_element_type().to_string()).output(0)
            result.input(0).replace_source_output(producer)
        named.add(place)
        producer.get_tensor().set_names(set())  # names of the trace, such as "224"
    for port, name in zip(model.outputs, outputs.names, strict=True):
        port.get_tensor().set_names({name} if name else set())


def _control_flow(
    call: Callable[[Mapping[str, torch.Tensor]], Any],
    example: Mapping[str, torch.Tensor],
    warned: set[tuple[str, int]],
    reference: str,
) -> list[str]:
    if not warned:
        return []
    tensors = {name: tensor.clone() for name, tensor in example.items()}
    with captured(reference):
        return find_control_flow(lambda: call(tensors), tensors.values(), warned)
