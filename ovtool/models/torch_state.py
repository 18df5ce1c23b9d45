"""State of torch modules: buffers and attributes that a run changes and the next run reads.

Tracing runs a module several times, and the check of a conversion runs it again.  Each of these
runs has to start from the state in which the module was given, as a converted model does.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovtool.core.notes import Note, make_note
from ovtool.models.torch_values import split_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

_CONTAINERS = (list, tuple, dict)
_PLAIN = (bool, int, float, str, type(None))
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class ModuleState:
    """The initial values of what a run changes, by the path of a submodule and the name in it."""

    values: dict[tuple[str, str], Any]

    @property
    def names(self) -> list[str]:
        """The names, such as ``encoder.hidden``."""
        return [".".join(filter(None, key)) for key in self.values]

    @property
    def note(self) -> Note:
        """The note that a conversion drops the state."""
        return make_note("state-not-converted", ", ".join(self.names))

    def restore(self, module: torch.nn.Module) -> None:
        """Set a module, or a copy of it, to its initial state; traced runs begin with a copy."""
        for (path, name), value in self.values.items():
            # Scripted modules have no get_submodule.
            owner = functools.reduce(getattr, filter(None, path.split(".")), module)
            if value is not _ABSENT:
                setattr(owner, name, _copy(value))
            elif hasattr(owner, name):
                delattr(owner, name)


def find_state(module: torch.nn.Module, run: Callable[[], Any]) -> ModuleState | None:
    """Return the state of a module in eval mode; None if its outputs do not depend on earlier runs.

    ``run`` runs the module on fixed inputs.  The module is left in its initial state.  Outputs that
    also differ from the same state, as those of random operations, show no state.

    Raises:
        Exception: Any, from the module's code.
    """
    given = dict(_read(module))
    before = {key: _copy(value) for key, value in given.items()}

    def outputs() -> list[Any]:  # copies: an output may be a buffer that the next run changes
        return [_copy(tensor) for tensor in split_outputs(run()).tensors]

    first = outputs()
    after = dict(_read(module))
    keys = [key for key in {**before, **after} if not _same(before.get(key), after.get(key))]
    if not keys:
        return None
    second = outputs()
    _write_back(given, before)  # a converted graph may share the memory of the tensors
    state = ModuleState({key: before.get(key, _ABSENT) for key in keys})
    state.restore(module)
    again = outputs()
    state.restore(module)
    return state if not _same(first, second) and _same(first, again) else None


def _read(module: torch.nn.Module) -> Iterator[tuple[tuple[str, str], Any]]:
    """Yield the buffers and the plain attributes of a module and its submodules."""
    import torch

    internal = torch.nn.Module().__dict__.keys()
    for path, owner in module.named_modules():
        for name, buffer in owner.named_buffers(recurse=False):
            yield (path, name), buffer
        for name, value in owner.__dict__.items():
            if name not in internal and _is_value(value):
                yield (path, name), value


def _write_back(given: dict[tuple[str, str], Any], before: dict[tuple[str, str], Any]) -> None:
    """Undo changes that a run has made in place to tensors."""
    import torch

    with torch.no_grad():
        for key, value in given.items():
            if isinstance(value, torch.Tensor) and not _same(value, before[key]):
                value.copy_(before[key])


def _is_value(value: Any) -> bool:
    import torch

    if isinstance(value, dict):
        return all(map(_is_value, value.values()))
    if isinstance(value, _CONTAINERS):
        return all(map(_is_value, value))
    return isinstance(value, (torch.Tensor, *_PLAIN))


def _copy(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_copy, value))
    return copy.copy(value)


def _same(a: Any, b: Any) -> bool:
    import torch

    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return (
            a.shape == b.shape
            and a.dtype == b.dtype
            and bool(torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)))
        )
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and bool(a == b)
