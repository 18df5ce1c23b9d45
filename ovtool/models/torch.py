"""Torch modules: a function of the user's code as a source, and conversion of any module."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.registry import missing_package, suggestion
from ovtool.core.third_party import captured, reason
from ovtool.core.variant import Source
from ovtool.models.network import Network, flatten_outputs
from ovtool.models.options import SourceOptions, fill_shape
from ovtool.models.source import Array, Inputs, Reference, SourceModel
from ovtool.models.torch_weights import load_weights

if TYPE_CHECKING:
    from types import ModuleType

    import torch


def read(reference: str, options: SourceOptions) -> SourceModel:
    """Call ``module:function`` and convert the module that it returns.

    The function has no arguments and returns a module, or (module, example input).  The example is
    a tensor, a sequence of tensors, or a dict by argument name.

    Raises:
        InputError: The function does not exist, raises, or returns another type; the weights do not
            fit; or the conversion fails.
        MissingDependencyError: The user's code imports a package that is not installed.
    """
    import torch

    result, code = _call(reference)
    pair = isinstance(result, tuple | list) and len(result) == 2
    module, example = result if pair else (result, None)
    if not isinstance(module, torch.nn.Module):
        raise InputError(
            f"{reference} returned {type(module).__name__}, not a torch.nn.Module",
            "return the module, or (module, example_input)",
        )
    hashed = [code] if code else []
    if options.weights is not None:
        hashed.append(load_weights(module, options.weights))
    digest = files.sha256(*hashed) if hashed else None
    source = Source(kind="torch", reference=reference, sha256=digest)
    return from_module(module, example, options, source)


def from_module(
    module: torch.nn.Module, example_input: object, options: SourceOptions, source: Source
) -> SourceModel:
    """Convert a module, switched to eval mode, by tracing it.

    Without an example input, ``options`` define its shapes and types.

    Raises:
        InputError: There is no example, or tracing or conversion fails.
    """
    import torch

    example = _example(module, example_input, options, source.reference)
    network = Network(module, example.tensors, example.by_name, source.reference)
    return SourceModel(
        source=source,
        model=network.to_openvino(),
        reference=eager_runtime(source.reference, list(example.tensors), network),
        against=f"torch {torch.__version__}, eager",
        network=network,
    )


def eager_runtime(reference: str, names: list[str], call: Any) -> Reference:
    """Return a reference run by torch; ``call`` maps tensors by name to the module's outputs."""
    import torch

    def run(inputs: Inputs) -> list[Array]:
        tensors = {name: torch.from_numpy(np.array(inputs[name])) for name in names}
        try:
            with captured(reference), torch.no_grad():
                outputs = flatten_outputs(call(tensors), reference)
            return [tensor.numpy(force=True) for tensor in outputs]
        except InputError:
            raise
        except Exception as error:  # user code can raise anything
            raise InputError(f"torch cannot run {reference}: {reason(error)}") from error

    return run


@dataclass(frozen=True, slots=True)
class _Example:
    tensors: dict[str, torch.Tensor]
    by_name: bool


def _example(
    module: torch.nn.Module, example_input: object, options: SourceOptions, reference: str
) -> _Example:
    import torch

    parameters = _parameters(module)
    if example_input is None:
        return _zeros_example(parameters, options, reference)
    if options.input_dtypes:
        raise InputError(
            f"{reference} has an example input, which defines the types", "remove the input types"
        )
    if isinstance(example_input, Mapping):
        names = sorted(example_input, key=lambda name: _position(name, parameters))
        tensors = {name: example_input[name] for name in names}
    else:
        values: list[Any] = [example_input]
        if isinstance(example_input, tuple | list):
            values = list(example_input)
        names = parameters[: len(values)]
        names += [f"input_{i}" for i in range(len(names), len(values))]
        tensors = dict(zip(names, values, strict=True))
    for name, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(
                f"{reference}: example input {name!r} is a {type(value).__name__}, not a tensor"
            )
    return _Example(tensors, by_name=isinstance(example_input, Mapping))


def _position(name: str, parameters: list[str]) -> int:
    return parameters.index(name) if name in parameters else len(parameters)


def _zeros_example(parameters: list[str], options: SourceOptions, reference: str) -> _Example:
    import openvino as ov
    import torch

    if not options.input_shapes:
        shapes = " ".join(f"--shape {name}=1x3x224x224" for name in parameters[:1] or ["input"])
        raise InputError(
            f"{reference} has no example input, so its shapes are unknown",
            f"return (module, example_input), or set the shapes, e.g. {shapes}",
        )
    tensors = {}
    for name in sorted(options.input_shapes, key=lambda name: _position(name, parameters)):
        if parameters and name not in parameters:
            raise InputError(f"--shape: no input {name!r}", suggestion(name, parameters))
        dtype = options.input_dtypes.get(name, "f32")
        try:
            kind = getattr(ov.Type, dtype).to_dtype()
        except AttributeError as error:
            raise InputError(f"unknown type {dtype} of input {name!r}", "e.g. f32, i64") from error
        shape = options.input_shapes[name]
        tensors[name] = torch.from_numpy(np.zeros(fill_shape(shape), kind))
    return _Example(tensors, by_name=bool(parameters))


def _parameters(module: torch.nn.Module) -> list[str]:
    """Return the argument names of ``forward``; empty when unknown."""
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except ValueError:  # TorchScript
        return []
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in parameters if p.kind in named]


def _call(reference: str) -> tuple[Any, Path | None]:
    """Call ``module:function``, and return its result and its source file."""
    module_name, _, function_name = reference.partition(":")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        with captured(reference):
            module = importlib.import_module(module_name)
            function = _function(module, function_name)
            result = function()
    except InputError:
        raise
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise InputError(
                f"no Python module {error.name!r} for {reference}",
                f"searched: {folder} and the installed packages",
            ) from error
        raise missing_package(reference, error, None) from error
    except (Exception, SystemExit) as error:  # user code can raise anything
        raise InputError(f"{reference} raised {type(error).__name__}: {reason(error)}") from error
    finally:
        sys.path.remove(folder)
    code = getattr(module, "__file__", None)
    return result, Path(code) if code else None


def _function(module: ModuleType, name: str) -> Callable[[], Any]:
    function = getattr(module, name, None)
    if callable(function):
        return cast("Callable[[], Any]", function)
    known = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
    raise InputError(
        f"{module.__name__} has no function {name!r}", suggestion(name, known) if known else ""
    )
