"""Trainable torch networks: conversion to OpenVINO, weights on disk, and loading from a source."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ovtool.core.errors import InputError
from ovtool.core.third_party import reason
from ovtool.core.variant import assign_stable_names
from ovtool.models.options import SourceOptions
from ovtool.models.registry import SOURCES, kind_of
from ovtool.models.torch_trace import TracedGraph, trace
from ovtool.models.torch_values import fill_arguments, no_tensors, split_outputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import openvino as ov
    import torch

    from ovtool.core.ports import Port
    from ovtool.core.variant import Source
    from ovtool.models.torch_state import ModuleState

RUNS_CODE = ("torch", "torch-file")
"""Kinds of source that run code named by, or contained in, a file."""
NETWORK_OPTIONS = ("weights", "input_shapes", "input_dtypes")
"""Options that a network is built with, recorded with the source."""


@dataclass(frozen=True, slots=True)
class Network:
    """A torch module with example inputs; modify a :meth:`copy` only."""

    module: torch.nn.Module
    example: dict[str, torch.Tensor]
    """Argument name to tensor, in argument order."""
    by_name: bool
    """Whether inputs are keyword arguments."""
    reference: str
    """Name of the source, for messages."""
    structure: tuple[Any, ...] | dict[str, Any] | None = None
    """Arguments with flags and nested values, see :class:`Arguments`; None: only tensors."""
    state: ModuleState | None = None
    """Initial state of a module whose outputs depend on earlier runs."""

    def arguments(self, inputs: Mapping[str, torch.Tensor]) -> Any:
        """Return the arguments of the module for tensors by name: a dict by name, or a tuple."""
        if self.structure is not None:
            return fill_arguments(self.structure, inputs)
        if self.by_name:
            return {name: inputs[name] for name in self.example}
        return tuple(inputs[name] for name in self.example)

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> Any:
        """Run the module on tensors by name, from its initial state; return what it returns."""
        if self.state is not None:
            self.state.restore(self.module)
        arguments = self.arguments(inputs)
        return self.module(**arguments) if self.by_name else self.module(*arguments)

    def copy(self) -> Network:
        """Return a deep copy."""
        return replace(self, module=copy.deepcopy(self.module))

    def to_openvino(self, inputs: Sequence[Port] = ()) -> ov.Model:
        """Convert the module by tracing it in eval mode.

        The ports of a variant of the same network set shapes and layouts; by default the graph has
        the shapes of the example.

        Raises:
            InputError: Tracing or conversion failed.
        """
        return self.trace(inputs).model

    def trace(self, inputs: Sequence[Port] = ()) -> TracedGraph:
        """Do the same as :meth:`to_openvino`, with warnings about the trace."""
        import openvino as ov

        try:
            traced = trace(self.module, self, self.example, self.reference)
        except InputError:
            raise
        except Exception as error:  # tracing runs user code, which can raise anything
            raise conversion_error(self.reference, error) from error
        model = traced.model
        shapes = {name: tuple(tensor.shape) for name, tensor in self.example.items()}
        name_inputs(model, shapes, self.reference)
        if inputs:
            model.reshape({port.name: ov.PartialShape(list(port.shape)) for port in inputs})
        for port, parameter in zip(inputs, model.get_parameters(), strict=bool(inputs)):
            if port.layout:
                parameter.set_layout(ov.Layout(port.layout))
        assign_stable_names(model, numbered=True)
        return traced

    def save(self, path: Path) -> None:
        """Write the weights as safetensors; shared weights are written once per module."""
        from safetensors.torch import save_file

        state = self.module.state_dict().items()
        save_file({name: t.detach().cpu().contiguous().clone() for name, t in state}, path)

    def load(self, path: Path) -> None:
        """Load weights written by :meth:`save`.

        Raises:
            InputError: The file is damaged or belongs to another network.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            self.module.load_state_dict(load_file(path), strict=True)
        except (SafetensorError, RuntimeError, OSError) as error:
            raise InputError(
                f"the weights in {path} do not fit {self.reference}: {reason(error)}"
            ) from error


def conversion_error(reference: str, error: Exception) -> InputError:
    """Return the error for a module that OpenVINO does not convert."""
    return InputError(
        f"OpenVINO cannot convert {reference}: {reason(error)}",
        "check the shapes and types of its inputs, or export the model to .pt2 or ONNX",
    )


def name_inputs(model: ov.Model, shapes: Mapping[str, tuple[int, ...]], reference: str) -> None:
    """Name a converted module's inputs after its arguments, and set their shapes.

    Raises:
        InputError: An argument is not an input of the converted model.
    """
    import openvino as ov

    if len(model.inputs) != len(shapes):
        raise InputError(
            f"{reference} has the arguments {', '.join(shapes)}; the converted model has "
            f"{len(model.inputs)} inputs",
            "remove unused arguments from the example",
        )
    for port, name in zip(model.inputs, shapes, strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_friendly_name(name)
    model.reshape({name: ov.PartialShape(list(shape)) for name, shape in shapes.items()})


def flatten_outputs(outputs: Any, reference: str) -> list[torch.Tensor]:
    """Return the tensors of nested outputs, in trace order.

    Raises:
        InputError: No output is a tensor.
    """
    split = split_outputs(outputs)
    if not split.tensors:
        raise no_tensors(split, reference)
    return list(split.tensors)


def is_torch_kind(kind: str) -> bool:
    """Whether sources of a kind are torch modules."""
    return kind in (*RUNS_CODE, "sample")


def load_source_network(source: Source, options: SourceOptions) -> Network:
    """Return the network of a variant's source, with the weights and shapes of the conversion.

    Raises:
        InputError: The source is not a torch module, requires trust, or has changed.
    """
    if source.kind in RUNS_CODE and not options.trust:
        raise InputError(
            f"this step trains the source, which runs its code: {source.reference}",
            "review the code, then pass --trust",
        )
    recorded = {n: getattr(options, n) or getattr(source, n) for n in NETWORK_OPTIONS}
    options = options.model_copy(update=recorded)
    network, digest = _load(source.reference, source.kind, options)
    if source.sha256 is not None and digest != source.sha256:
        raise InputError(
            f"{source.reference} has changed since the conversion: its graph or weights differ",
            "pass the same --weights, seed random weights (torch.manual_seed), or convert it again",
        )
    return network


def load_network(reference: str, options: SourceOptions) -> Network:
    """Return the network of a reference; raises as :func:`load_source_network`."""
    kind = kind_of(reference)
    if kind in RUNS_CODE and not options.trust:
        raise InputError(f"{reference} runs code", "review the code, then pass --trust")
    return _load(reference, kind, SourceOptions(trust=options.trust))[0]


def _load(reference: str, kind: str, options: SourceOptions) -> tuple[Network, str | None]:
    if not is_torch_kind(kind):
        raise InputError(
            f"this step needs a PyTorch module; {reference} is not one",
            "start from module:function or a sample: model",
        )
    read = SOURCES.load(kind)(reference, options.model_copy(update={"trust": True}))
    network: Network | None = read.network
    if network is None:
        raise InputError(f"{reference} has no PyTorch module")
    return network, read.source.sha256
