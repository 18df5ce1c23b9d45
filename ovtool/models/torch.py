"""A torch module made by a function of the user's own code, and the conversion of any module."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.registry import missing_package, suggestion
from ovtool.core.third_party import captured, reason
from ovtool.core.variant import Source
from ovtool.models.network import Network, tensors_of
from ovtool.models.options import SourceOptions, filled
from ovtool.models.source import Array, Inputs, Reference, SourceModel

if TYPE_CHECKING:
    from types import ModuleType

    import torch


def read(reference: str, options: SourceOptions) -> SourceModel:
    """Make a module with ``module:function`` and convert it.

    The function takes no arguments and returns a module, or (module, example input), where the
    example is a tensor, a sequence of tensors, or a dict by argument name.

    Raises:
        InputError: The function cannot be found or raises, or returns something else; the weights
            do not fit; or OpenVINO cannot convert the module.
        MissingDependencyError: The user's code imports a package that is not installed.
    """
    made, code = _call(reference)
    module, given = made if isinstance(made, tuple | list) and len(made) == 2 else (made, None)
    if not _is_module(module):
        raise InputError(
            f"{reference} returned {type(module).__name__}, not a torch.nn.Module",
            "return the module, or (module, example_input)",
        )
    hashed = [code] if code else []
    if options.weights is not None:
        hashed.append(load_weights(module, options.weights))
    digest = files.sha256(*hashed) if hashed else None
    source = Source(kind="torch", reference=reference, sha256=digest)
    return from_module(module, given, options, source)


def from_module(
    module: torch.nn.Module, given: object, options: SourceOptions, source: Source
) -> SourceModel:
    """Convert a module by tracing it.

    Args:
        module: Set to eval mode.
        given: Example input, or None to make one of ``options.input_shapes``.
        options: Shapes and types of the example.
        source: What is recorded.

    Raises:
        InputError: There is no example, or the module cannot be traced or converted with it.
    """
    import torch

    example = _example(module, given, options, source.reference)
    network = Network(module, example.tensors, example.by_name, source.reference)
    return SourceModel(
        source=source,
        model=network.to_openvino(),
        reference=eager(source.reference, list(example.tensors), network),
        against=f"torch {torch.__version__}, eager",
        network=network,
    )


def eager(reference: str, names: list[str], call: Any) -> Reference:
    """Return what runs a module as torch does.

    Args:
        reference: Of the source, for messages.
        names: Names of the inputs, in their order.
        call: Takes name to tensor and returns what the module returns.
    """
    import torch

    def run(inputs: Inputs) -> list[Array]:
        tensors = {name: torch.from_numpy(np.array(inputs[name])) for name in names}
        try:
            with captured(reference), torch.no_grad():
                outputs = tensors_of(call(tensors), reference)
            return [tensor.numpy(force=True) for tensor in outputs]
        except InputError:
            raise
        except Exception as error:  # the user's code, which may raise anything
            raise InputError(f"torch cannot run {reference}: {reason(error)}") from error

    return run


@dataclass(frozen=True, slots=True)
class _Example:
    tensors: dict[str, torch.Tensor]
    by_name: bool


def _example(
    module: torch.nn.Module, given: object, options: SourceOptions, reference: str
) -> _Example:
    import torch

    parameters = _parameters(module)
    if given is None:
        return _made_example(parameters, options, reference)
    if options.input_dtypes:
        raise InputError(
            f"{reference} brings an example input, whose types are used", "drop the input types"
        )
    if isinstance(given, Mapping):
        tensors = dict(sorted(given.items(), key=lambda pair: _place(pair[0], parameters)))
    else:
        values = list(given) if isinstance(given, tuple | list) else [given]
        names = [*parameters[: len(values)]]
        names += [f"input_{i}" for i in range(len(names), len(values))]
        tensors = dict(zip(names, values, strict=True))
    for name, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(
                f"{reference}: example input {name!r} is {type(value).__name__}, not a tensor"
            )
    return _Example(tensors, by_name=isinstance(given, Mapping))


def _place(name: str, parameters: list[str]) -> int:
    return parameters.index(name) if name in parameters else len(parameters)


def _made_example(parameters: list[str], options: SourceOptions, reference: str) -> _Example:
    import openvino as ov
    import torch

    if not options.input_shapes:
        wanted = " ".join(f"--shape {name}=1x3x224x224" for name in parameters[:1] or ["input"])
        raise InputError(
            f"{reference} comes without an example input, so its shapes are not known",
            f"return (module, example_input), or give them, e.g. {wanted}",
        )
    tensors = {}
    for name in sorted(options.input_shapes, key=lambda name: _place(name, parameters)):
        if parameters and name not in parameters:
            raise InputError(f"--shape: no input {name!r}", suggestion(name, parameters))
        dtype = options.input_dtypes.get(name, "f32")
        try:
            kind = getattr(ov.Type, dtype).to_dtype()
        except AttributeError as error:
            raise InputError(f"no such type: {dtype} of input {name!r}", "e.g. f32, i64") from error
        shape = options.input_shapes[name]
        tensors[name] = torch.from_numpy(np.zeros(filled(shape), kind))
    return _Example(tensors, by_name=bool(parameters))


def _parameters(module: torch.nn.Module) -> list[str]:
    """Return the names of ``forward``'s arguments; none where it does not tell."""
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except ValueError:  # TorchScript
        return []
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in parameters if p.kind in named]


def load_weights(module: torch.nn.Module, weights: str) -> Path:
    """Load a safetensors file or state dict into a module, every key of it; return the file.

    Raises:
        InputError: The file is missing, cannot be read without running code, or does not fit.
    """
    from ovtool.models.torch_file import read_state_dict

    path = files.existing_file(weights, "weights")
    state = read_state_dict(path)
    missing = [key for key in module.state_dict() if key not in state]
    unexpected = [key for key in state if key not in module.state_dict()]
    if missing or unexpected:
        parts = [
            f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
            for keys, what in ((missing, "missing"), (unexpected, "unexpected"))
            if keys
        ]
        raise InputError(f"the weights in {path} do not fit the module: {'; '.join(parts)}")
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"the weights in {path} do not fit the module: {reason(error)}") from error
    return path


def _is_module(made: object) -> bool:
    import torch

    return isinstance(made, torch.nn.Module)


def _call(reference: str) -> tuple[Any, Path | None]:
    """Call ``module:function`` and return what it returned, and the file of its code."""
    module_name, _, function_name = reference.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        with captured(reference):
            module = importlib.import_module(module_name)
            function = _function(module, function_name)
            made = function()
    except InputError:
        raise
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise InputError(
                f"no Python module {error.name!r} for {reference}",
                f"it is looked for in {here} and among what is installed",
            ) from error
        raise missing_package(reference, error, None) from error
    except (Exception, SystemExit) as error:  # the user's code, which may raise anything
        raise InputError(f"{reference} raised {type(error).__name__}: {reason(error)}") from error
    finally:
        sys.path.remove(here)
    code = getattr(module, "__file__", None)
    return made, Path(code) if code else None


def _function(module: ModuleType, name: str) -> Callable[[], Any]:
    function = getattr(module, name, None)
    if callable(function):
        made: Callable[[], Any] = function
        return made
    known = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
    raise InputError(
        f"{module.__name__} has no function {name!r}", suggestion(name, known) if known else ""
    )
