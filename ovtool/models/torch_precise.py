"""Runs of a PyTorch module in f64, and the operations of a module that draw random numbers."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ovtool.core.third_party import captured

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    from ovtool.models.network import Network


class PreciseNetwork:
    """A network of which every operation computes in f64.

    Also where the module converts to a narrow type itself, such as under autocast.  The copy of the
    weights in f64 is made by the first call.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._precise: Network | None = None

    def __call__(self, tensors: Mapping[str, torch.Tensor]) -> Any:
        """Run the module on tensors by argument name and return what it returns."""
        if self._precise is None:
            module = copy.deepcopy(self._network.module).double()
            self._precise = replace(self._network, module=module)
        wide = {n: t.double() if t.is_floating_point() else t for n, t in tensors.items()}
        with _f64_mode():
            return self._precise(wide)


def _f64_mode() -> TorchDispatchMode:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_map

    def is_real(value: Any) -> bool:
        return isinstance(value, torch.Tensor) and value.is_floating_point()

    def widened(value: Any) -> Any:
        if isinstance(value, torch.dtype):
            return torch.float64 if value.is_floating_point else value
        return value.to(torch.float64) if is_real(value) else value

    class F64(TorchDispatchMode):  # type: ignore[misc]  # torch does not type it
        def __torch_dispatch__(
            self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            if not func._schema.is_mutable:  # noqa: SLF001  (torch has no public name for it)
                results = func(*tree_map(widened, args), **tree_map(widened, kwargs))
                return tree_map(widened, results)
            target: Any = args[0] if args else None
            if not is_real(target):
                return func(*args, **kwargs)

            def fitting(value: Any) -> Any:  # written in place, so the target keeps its type
                return value.to(target.dtype) if is_real(value) else value

            return func(target, *tree_map(fitting, args[1:]), **tree_map(fitting, kwargs))

    return F64()


def random_operations(
    call: Callable[[], Any], reference: str, module: torch.nn.Module | None = None
) -> list[str]:
    """Return the names of the operations of a call that draw random numbers, dropout first.

    Args:
        call: Runs the source.
        reference: The source, for the log.
        module: Its module; a scripted one is searched for dropout, whose calls are not visible.
    """
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode

    drawn: dict[str, None] = {}
    dropped = dict.fromkeys(_scripted_dropout(module) if module is not None else ())

    class Record(TorchDispatchMode):  # type: ignore[misc]  # torch does not type it
        draws = 0

        def __torch_dispatch__(
            self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if torch.Tag.nondeterministic_seeded in func.tags:
                self.draws += 1
                drawn[str(func.overloadpacket)] = None
            return func(*args, **(kwargs or {}))

    class Functions(TorchFunctionMode):  # type: ignore[misc]  # torch does not type it
        def __torch_function__(
            self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            before = record.draws
            result = func(*args, **(kwargs or {}))
            name = getattr(func, "__name__", "")
            if record.draws > before and ("dropout" in name or "attention" in name):
                dropped["dropout" if "dropout" in name else f"dropout of {name}"] = None
            return result

    record = Record()
    with captured(reference), torch.no_grad(), record, Functions():
        call()
    return [*dropped, *drawn] if drawn else []


def _scripted_dropout(module: torch.nn.Module) -> list[str]:
    """Return the name of dropout if the graph of a scripted module drops values."""
    import torch

    if not isinstance(module, torch.jit.ScriptModule):
        return []
    kinds = ("dropout", "dropout_", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
    graph = module.inlined_graph  # its nodes live no longer
    nodes = [n for kind in kinds for n in graph.findAllNodes(f"aten::{kind}")]
    return ["dropout"] if any(list(node.inputs())[2].toIValue() for node in nodes) else []
