"""A torch network that can be trained, and its way into an OpenVINO graph and back to disk."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ovtool.core.errors import InputError
from ovtool.core.third_party import captured, reason
from ovtool.core.variant import name_the_unnamed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import openvino as ov
    import torch

    from ovtool.core.variant import Port


@dataclass(frozen=True, slots=True)
class Network:
    """A torch module with an example of its inputs.

    Args:
        module: The network; methods change copies of it, see :meth:`copy`.
        example: Argument name to tensor, in the order of the arguments.
        by_name: Whether inputs are passed as keyword arguments.
        reference: What the user called it, for messages.
    """

    module: torch.nn.Module
    example: dict[str, torch.Tensor]
    by_name: bool
    reference: str

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> Any:
        """Run the module on tensors by argument name and return what it returns."""
        if self.by_name:
            return self.module(**{name: inputs[name] for name in self.example})
        return self.module(*(inputs[name] for name in self.example))

    def copy(self) -> Network:
        """Return a network of its own weights, whose module may be changed."""
        return replace(self, module=copy.deepcopy(self.module))

    def to_openvino(self, inputs: Sequence[Port] = ()) -> ov.Model:
        """Convert the module by tracing it in eval mode.

        Args:
            inputs: Ports of a variant of the same network, whose shapes and layouts the graph
                gets; without them it has the shapes of the example.

        Raises:
            InputError: The module cannot be traced or converted.
        """
        import openvino as ov
        import torch

        self.module.eval()
        example = dict(self.example) if self.by_name else tuple(self.example.values())
        try:
            with captured(self.reference), torch.no_grad():
                model = ov.convert_model(self.module, example_input=example)
        except Exception as error:  # tracing runs the user's code, which may raise anything
            raise unconverted(self.reference, error) from error
        shapes = {name: tuple(tensor.shape) for name, tensor in self.example.items()}
        name_inputs(model, shapes, self.reference)
        if inputs:
            model.reshape({port.name: ov.PartialShape(list(port.shape)) for port in inputs})
        for port, parameter in zip(inputs, model.get_parameters(), strict=bool(inputs)):
            if port.layout:
                parameter.set_layout(ov.Layout(port.layout))
        name_the_unnamed(model, numbered=True)
        return model

    def save(self, path: Path) -> None:
        """Write the weights as safetensors; those that modules share are written for each."""
        from safetensors.torch import save_file

        state = self.module.state_dict()
        save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in
                   state.items()}, path)  # fmt: skip

    def load(self, path: Path) -> None:
        """Load weights that :meth:`save` wrote.

        Raises:
            InputError: The file is damaged or of another network.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            self.module.load_state_dict(load_file(path), strict=True)
        except (SafetensorError, RuntimeError, OSError) as error:
            raise InputError(
                f"the weights in {path} do not fit {self.reference}: {reason(error)}"
            ) from error


def unconverted(reference: str, error: Exception) -> InputError:
    """Return the error of a module that OpenVINO does not take."""
    return InputError(
        f"OpenVINO cannot convert {reference}: {reason(error)}",
        "do the example input's shapes fit the model? An operation that is not supported may be "
        "in its ONNX export",
    )


def name_inputs(model: ov.Model, shapes: Mapping[str, tuple[int, ...]], reference: str) -> None:
    """Name a converted module's inputs as its arguments, and set their shapes.

    Raises:
        InputError: An argument is not an input of the converted model.
    """
    import openvino as ov

    if len(model.inputs) != len(shapes):
        raise InputError(
            f"{reference} takes {', '.join(shapes)}, but {len(model.inputs)} of these are "
            "inputs of the converted model",
            "leave arguments that are not used out of the example",
        )
    for port, name in zip(model.inputs, shapes, strict=True):
        port.get_tensor().set_names({name})
    model.reshape({name: ov.PartialShape(list(shape)) for name, shape in shapes.items()})


def tensors_of(outputs: Any, reference: str) -> list[torch.Tensor]:
    """Return the tensors of nested outputs, in the order in which a trace has them.

    Raises:
        InputError: Something among them is no tensor.
    """
    import torch

    if outputs is None:
        return []
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    if isinstance(outputs, Mapping):
        outputs = list(outputs.values())
    if isinstance(outputs, tuple | list):
        return [tensor for output in outputs for tensor in tensors_of(output, reference)]
    raise InputError(f"{reference} returns {type(outputs).__name__} among its outputs, no tensor")
