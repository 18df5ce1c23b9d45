"""Nested arguments and outputs of torch modules as tensors by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InputSlot:
    """The place of an input in nested arguments."""

    name: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """Arguments of a module.

    Args:
        tensors: Example inputs by name, in argument order.
        structure: The arguments, a tuple in order or a dict by name, with a slot for each tensor.
    """

    tensors: dict[str, torch.Tensor]
    structure: tuple[Any, ...] | dict[str, Any]

    @property
    def by_name(self) -> bool:
        """Whether the arguments are keyword arguments."""
        return isinstance(self.structure, dict)


def split_arguments(
    values: Sequence[Any] | Mapping[str, Any], names: Sequence[str], reference: str
) -> Arguments:
    """Separate the tensors in arguments from flags and other constants.

    ``values`` are arguments in order, with ``names`` as far as they are known, or by name.  A
    tensor in a nested argument has the name of the argument and its keys or indices.

    Raises:
        InputError: No argument has a tensor.
    """
    import torch

    tensors: dict[str, torch.Tensor] = {}

    def split(value: Any, path: Path) -> Any:
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(value)
        if isinstance(value, torch.Tensor):
            name = ".".join(path)
            tensors[name] = value.detach()
            return InputSlot(name)
        if isinstance(value, Mapping):
            return {key: split(item, (*path, str(key))) for key, item in value.items()}
        if isinstance(value, tuple | list):
            items = [split(item, (*path, str(i))) for i, item in enumerate(value)]
            named = hasattr(value, "_fields")
            return type(value)(*items) if named else type(value)(items)
        return value

    structure: tuple[Any, ...] | dict[str, Any]
    if isinstance(values, Mapping):
        ordered = sorted(values, key=lambda n: names.index(n) if n in names else len(names))
        structure = {name: split(values[name], (name,)) for name in ordered}
        known = ordered
    else:
        known = [*names[: len(values)], *(f"input_{i}" for i in range(len(names), len(values)))]
        structure = tuple(split(v, (n,)) for v, n in zip(values, known, strict=True))
    if not tensors:
        first = next(iter(values.values()) if isinstance(values, Mapping) else iter(values), None)
        name = known[0] if known else "input"
        raise InputError(
            f"{reference}: example input {name!r} is a {type(first).__name__}, not a tensor"
        )
    return Arguments(tensors, structure)


def fill_arguments(structure: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Return arguments with the tensors in their slots; raises KeyError for a missing tensor."""
    if isinstance(structure, InputSlot):
        return tensors[structure.name]
    if isinstance(structure, dict):
        return {key: fill_arguments(item, tensors) for key, item in structure.items()}
    if isinstance(structure, tuple | list):
        items = [fill_arguments(item, tensors) for item in structure]
        named = hasattr(structure, "_fields")
        return type(structure)(*items) if named else type(structure)(items)
    return structure


@dataclass(frozen=True, slots=True)
class Outputs:
    """Tensors of nested outputs, in order.

    Args:
        tensors: The tensors.
        names: Names of the tensors: keys, fields and indices; None for a tensor without a key.
        left_out: Other outputs, such as flags and caches, by name with their type.
    """

    tensors: tuple[torch.Tensor, ...]
    names: tuple[str | None, ...]
    left_out: tuple[str, ...]


def split_outputs(outputs: Any) -> Outputs:
    """Return the tensors of nested outputs: sequences, mappings and dataclasses."""
    import torch

    leaves = list(_leaves(outputs, ()))
    tensors = [(path, leaf) for path, leaf in leaves if isinstance(leaf, torch.Tensor)]
    others = [(path, leaf) for path, leaf in leaves if not isinstance(leaf, torch.Tensor)]
    return Outputs(
        tensors=tuple(tensor for _, tensor in tensors),
        names=tuple(_output_name(path) for path, _ in tensors),
        left_out=tuple(f"{'.'.join(path) or 'output'} ({type(v).__name__})" for path, v in others),
    )


def no_tensors(outputs: Outputs, reference: str) -> InputError:
    """Return the error for outputs without a tensor."""
    left_out = ", ".join(outputs.left_out) or "nothing"
    return InputError(f"{reference} returns {left_out}; outputs must be tensors")


def _output_name(path: Path) -> str | None:
    return None if all(key.isdecimal() for key in path) else ".".join(path)


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Yield the leaves of nested outputs with their paths; None is no output."""
    if value is None:
        return
    items: Any = None
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, tuple) and (fields := getattr(value, "_fields", None)):
        items = zip(fields, value, strict=True)
    elif isinstance(value, tuple | list):
        items = enumerate(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
    if items is None:
        yield path, value
        return
    for key, item in items:
        yield from _leaves(item, (*path, str(key)))
