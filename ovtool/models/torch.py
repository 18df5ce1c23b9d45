"""Torch modules: a function of the user's code as a source, and conversion of any module."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ovtool.core.errors import InputError
from ovtool.core.notes import make_note
from ovtool.core.registry import missing_package, suggestion
from ovtool.core.shapes import OPEN, open_size, shape_text
from ovtool.core.third_party import captured, reason
from ovtool.core.variant import Source
from ovtool.graph.digest import graph_sha256
from ovtool.models.network import Network, flatten_outputs
from ovtool.models.source import Array, Inputs, Reference, SourceModel
from ovtool.models.torch_precise import PreciseNetwork, random_operations
from ovtool.models.torch_state import ModuleState, find_state
from ovtool.models.torch_values import Arguments, split_arguments
from ovtool.models.torch_weights import load_weights

if TYPE_CHECKING:
    from types import ModuleType

    import torch

    from ovtool.models.options import SourceOptions
    from ovtool.models.torch_trace import TracedGraph


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

    result = _use(reference, lambda function: function())
    pair = isinstance(result, tuple | list) and len(result) == 2
    module, example = result if pair else (result, None)
    module = getattr(module, "_orig_mod", module)  # what torch.compile wrapped
    if not isinstance(module, torch.nn.Module):
        raise InputError(
            f"{reference} returned {type(module).__name__}, not a torch.nn.Module",
            "return the module, or (module, example_input)",
        )
    if options.weights is not None:
        load_weights(module, options.weights)
    return from_module(module, example, options, Source(kind="torch", reference=reference))


def from_module(
    module: torch.nn.Module, example_input: object, options: SourceOptions, source: Source
) -> SourceModel:
    """Convert a module, switched to eval mode, by tracing it.

    Without an example input, ``options`` define its shapes and types.  A source without a hash
    gets that of the graph.

    Raises:
        InputError: There is no example, or tracing or conversion fails.
    """
    import torch

    example = _example(module, example_input, options, source.reference)
    tensors = {n: _resized(t, options.input_shapes.get(n, ())) for n, t in example.tensors.items()}
    network = Network(module, tensors, example.by_name, source.reference, example.structure)
    state = _find_state(network)
    network = replace(network, state=state)
    if state and isinstance(module, torch.jit.ScriptModule):
        raise InputError(
            f"{source.reference} is scripted and changes its state: {', '.join(state.names)}",
            "make the state an input and an output, or convert the module itself: module:function",
        )
    network, traced = _trace(network)
    if source.sha256 is None:
        source = source.model_copy(update={"sha256": graph_sha256(traced.model)})
    names = list(example.tensors)

    def random_names(inputs: Inputs) -> list[str]:
        tensors = {name: torch.from_numpy(np.array(inputs[name])) for name in names}
        return random_operations(lambda: network(tensors), source.reference, module)

    return SourceModel(
        source=source,
        model=traced.model,
        notes=(*traced.notes, state.note) if state else traced.notes,
        reference=eager_runtime(source.reference, names, network),
        against=f"torch {torch.__version__}, eager",
        second=eager_runtime(source.reference, names, PreciseNetwork(network)),
        random_operations=random_names,
        network=network,
    )


def _resized(tensor: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return an example of a requested shape, of repeated values; open dimensions stay.

    Tracing unrolls loops over the sizes of the example, so it has to see the requested ones.
    """
    import torch

    if len(shape) != tensor.dim():
        return tensor
    for axis, size in enumerate(shape):
        if size not in (OPEN, tensor.shape[axis]) and tensor.shape[axis]:
            tensor = tensor.index_select(axis, torch.arange(size) % tensor.shape[axis])
    return tensor


def _trace(network: Network) -> tuple[Network, TracedGraph]:
    """Trace a network; a text generator that fails is traced without its cache."""
    try:
        return network, network.trace()
    except InputError:
        config = getattr(network.module, "config", None)
        names = _parameters(network.module)
        if not getattr(config, "use_cache", False) or "use_cache" not in names:
            raise
        structure: Any = network.structure
        if not isinstance(structure, dict):
            structure = dict(zip(names, structure or (), strict=False))
        if "use_cache" in structure:
            raise
        without = replace(network, by_name=True, structure={**structure, "use_cache": False})
        traced = without.trace()
        note = make_note("outputs-left-out", "past_key_values: traced with use_cache=False")
        return without, replace(traced, notes=(*traced.notes, note))


def _find_state(network: Network) -> ModuleState | None:
    import torch

    network.module.eval()
    # A sum or a mean over time stays as it is on an example of zeros.
    inputs = {
        name: tensor if tensor.any() or not tensor.is_floating_point() else torch.ones_like(tensor)
        for name, tensor in network.example.items()
    }
    try:
        with captured(network.reference), torch.no_grad():
            return find_state(
                network.module, lambda: network({n: t.clone() for n, t in inputs.items()})
            )
    except InputError:
        raise
    except Exception as error:  # user code can raise anything
        shapes = ", ".join(f"{name} {shape_text(t.shape)}" for name, t in inputs.items())
        raise InputError(
            f"{network.reference} does not run on {shapes}: {reason(error)}",
            "check the module and its example input, or set other shapes: --shape",
        ) from error


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


def _example(
    module: torch.nn.Module, example_input: object, options: SourceOptions, reference: str
) -> Arguments:
    parameters = _parameters(module)
    if example_input is None:
        return _zeros_example(parameters, options, reference)
    if options.input_dtypes:
        raise InputError(
            f"{reference} has an example input, which defines the types", "remove --dtype"
        )
    values: Any = [example_input]
    if isinstance(example_input, Mapping) and _takes(module, example_input):
        values = example_input
    elif isinstance(example_input, tuple | list):
        values = list(example_input)
    return split_arguments(values, parameters, reference)


def _takes(module: torch.nn.Module, example: Mapping[str, object]) -> bool:
    """Whether the keys of a mapping are arguments, not the content of the only argument."""
    try:
        inspect.signature(module.forward).bind(**example)
    except (TypeError, ValueError):  # ValueError: TorchScript has no signature
        names = _parameters(module)
        return len(names) != 1 or set(names) == set(example)
    return True


def _zeros_example(parameters: list[str], options: SourceOptions, reference: str) -> Arguments:
    import openvino as ov
    import torch

    if not options.input_shapes:
        names = parameters or ["input"]
        raise InputError(
            f"{reference} has no example input: the shapes of {', '.join(names)} are unknown",
            f"set them, and types other than f32: --shape {names[0]}=1x128 --dtype {names[0]}=i64",
        )
    tensors = {}
    size = open_size(map(len, options.input_shapes.values()))
    for name in options.input_shapes:
        if parameters and name not in parameters:
            raise InputError(f"--shape: no input {name!r}", suggestion(name, parameters))
    for name in options.input_dtypes:
        if name not in options.input_shapes:
            raise InputError(f"--dtype {name}: no --shape of this input", "set its shape too")
    for name in options.input_shapes:
        dtype = options.input_dtypes.get(name, "f32")
        try:
            kind = getattr(ov.Type, dtype).to_dtype()
        except AttributeError as error:
            raise InputError(
                f"--dtype {name}={dtype}: unknown type", "types: f32, i64, i32, u8, boolean, ..."
            ) from error
        shape = options.input_shapes[name]
        filled = [s if s != OPEN else 1 if axis == 0 else size for axis, s in enumerate(shape)]
        tensors[name] = torch.from_numpy(np.zeros(filled, kind))
    values = tensors if parameters else list(tensors.values())
    return split_arguments(values, parameters or list(tensors), reference)


def _parameters(module: torch.nn.Module) -> list[str]:
    """Return the argument names of ``forward``; empty when unknown."""
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        arguments = module.forward.schema.arguments[1:]  # the first one is the module
        return [a.name for a in arguments if isinstance(a.type, torch.TensorType)]
    parameters = inspect.signature(module.forward).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in parameters if p.kind in named]


def import_function(reference: str) -> Callable[..., Any]:
    """Return the function ``module:function`` of the user's code.

    Raises:
        InputError: The module or the function does not exist, or the module raises.
        MissingDependencyError: The user's code imports a package that is not installed.
    """
    return cast("Callable[..., Any]", _use(reference, lambda function: function))


def _use(reference: str, use: Callable[[Callable[[], Any]], Any]) -> Any:
    """Return the result of ``use`` for the function ``module:function``."""
    module_name, _, function_name = reference.partition(":")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        with captured(reference):
            module = importlib.import_module(module_name)
            function = _function(module, function_name)
            return use(function)
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


def _function(module: ModuleType, name: str) -> Callable[[], Any]:
    function = getattr(module, name, None)
    if callable(function):
        return cast("Callable[[], Any]", function)
    known = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
    raise InputError(
        f"{module.__name__} has no function {name!r}", suggestion(name, known) if known else ""
    )
