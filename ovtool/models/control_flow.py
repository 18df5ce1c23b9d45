"""Python control flow that depends on the values of a module's inputs, which tracing loses.

``torch.jit.trace`` warns of every conversion of a tensor to a Python value, including sizes, which
are constants of a graph with fixed shapes.  A second run in eager mode follows the values of the
inputs through all operations, and keeps the conversions that depend on them.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import FrameType
    from warnings import WarningMessage

    import torch
    from numpy.typing import NDArray

    from ovtool.models.source import Array, Inputs, Reference

_CONVERSIONS = ("item", "tolist", "numpy", "__array__", "__bool__", "__int__", "__float__",
                "__index__", "__contains__", "__complex__")  # fmt: skip
_DATA_SHAPES = frozenset({
    "nonzero", "masked_select", "unique_consecutive", "unique_dim", "_unique", "_unique2",
    "repeat_interleave", "bincount",
})  # fmt: skip
"""Operations with an output size that depends on values."""
_VALUE_FREE = frozenset({
    "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "new_zeros",
    "new_ones", "new_empty", "new_full", "new_empty_strided", "sym_size", "sym_numel",
})  # fmt: skip
"""Operations whose output depends on the shape of their input only."""

_FACTORS = (10.0, -1.0, -10.0, 100.0, 0.1, 0.01)
_TOLERANCE = 1e-3

Place = tuple[str, int]
"""File and line."""


def tracer_warnings(caught: Iterable[WarningMessage]) -> set[Place]:
    """Return where tracing converted a tensor to a Python value."""
    import torch

    return {
        (warning.filename, warning.lineno)
        for warning in caught
        if issubclass(warning.category, torch.jit.TracerWarning)
        and "trace" in str(warning.message)
        and "might cause the trace to be incorrect" in str(warning.message)
    }


def find_control_flow(
    run: Callable[[], object], inputs: Iterable[torch.Tensor], warned: set[Place]
) -> list[str]:
    """Return the lines of user code that convert values of the inputs to Python values.

    Args:
        run: Runs the module in eager mode on the inputs.
        inputs: The inputs.
        warned: Where tracing converted tensors; other conversions are not part of the trace.
    """
    if not warned:
        return []
    watch = _watch(list(inputs))
    with watch.active():
        run()
    in_library = any(_is_library(file) for file, _ in warned)
    places = [
        user
        for inner, user in watch.conversions
        if inner in warned or (in_library and _is_library(inner[0]))
    ]
    if watch.data_shapes:  # sizes depend on values too, and eager mode has no trace of sizes
        converted = {place for both in watch.conversions for place in both}
        places += [place for place in sorted(warned - converted) if not _is_library(place[0])]
    return [f"{_shown(file)} line {line}" for file, line in dict.fromkeys(places)]


def find_difference(converted: Reference, source: Reference, example: Inputs) -> str:
    """Return where a graph that lost control flow differs from its source.

    Both run on the example times :data:`_FACTORS`; an example of zeros is replaced by N(0, 1).
    Other steps of integers are 1 larger.
    """
    generator = np.random.default_rng(0)
    worst, tried = (0.0, ""), []
    for factor in _FACTORS:
        inputs = {n: _scaled(array, factor, generator) for n, array in example.items()}
        try:
            pairs = list(zip(converted(inputs), source(inputs), strict=True))
        except InputError:  # the inputs are not valid for the model
            continue
        tried.append(f"{factor:g}")
        for index, (ours, theirs) in enumerate(pairs):
            if ours.shape != theirs.shape:
                return f"output {index} has another shape on the example times {factor:g}"
            finite = theirs.astype(np.float64)[np.isfinite(theirs)]
            scale = float(np.abs(finite).max(initial=0.0)) or 1.0
            distance = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
            ratio = float(np.nanmax(distance, initial=0.0)) / scale
            if ratio > max(worst[0], _TOLERANCE):
                text = f"output {index} differs by {100 * ratio:.3g}% on the example times"
                worst = (ratio, f"{text} {factor:g}")
    if not tried:
        return "not tried on other inputs"
    return worst[1] or f"no difference on the example times {', '.join(tried)}"


def _scaled(array: Array, factor: float, generator: np.random.Generator) -> Array:
    if array.dtype.kind == "f":
        base: NDArray[Any] = array if array.any() else generator.standard_normal(array.shape)
        return (base * factor).astype(array.dtype)
    return array + 1 if array.dtype.kind in "iu" and factor < 0 else array


def _shown(file: str) -> str:
    path = Path(file)
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def _is_library(file: str) -> bool:
    import torch

    return Path(file).is_relative_to(Path(torch.__file__).parent)


class _Values:
    """Storages whose values depend on the inputs."""

    def __init__(self, inputs: Sequence[torch.Tensor]) -> None:
        self._storages: dict[int, Any] = {}
        for tensor in inputs:
            self.add(tensor)

    def add(self, tensor: torch.Tensor) -> None:
        from torch.multiprocessing.reductions import StorageWeakRef

        with contextlib.suppress(NotImplementedError, RuntimeError):  # sparse tensors
            reference = StorageWeakRef(tensor.untyped_storage())
            # The reference keeps the address from being used again.
            self._storages[reference.cdata] = reference

    def __contains__(self, tensor: object) -> bool:
        import torch

        if not isinstance(tensor, torch.Tensor):
            return False
        try:
            return int(tensor.untyped_storage()._cdata) in self._storages  # noqa: SLF001
        except (NotImplementedError, RuntimeError):
            return True


def _watch(inputs: Sequence[torch.Tensor]) -> Any:
    """Return a watch over the conversions of values that depend on ``inputs``."""
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    values = _Values(inputs)
    conversions: list[tuple[Place, Place]] = []

    class Watch:
        data_shapes = False

        @contextlib.contextmanager
        def active(self) -> Iterator[None]:
            with torch.no_grad(), Functions(), Operations():
                yield

        @property
        def conversions(self) -> list[tuple[Place, Place]]:
            return conversions

    watch = Watch()

    class Operations(TorchDispatchMode):  # type: ignore[misc] # torch has no types here
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            result = func(*args, **kwargs)
            leaves = tree_leaves((args, kwargs))
            name = func.__name__.partition(".")[0]
            if name in _VALUE_FREE or not any(leaf in values for leaf in leaves):
                return result
            watch.data_shapes |= name in _DATA_SHAPES or _has_mask(func, args)
            for leaf in tree_leaves(result):
                if isinstance(leaf, torch.Tensor):
                    values.add(leaf)
            return result

    class Functions(TorchFunctionMode):  # type: ignore[misc] # torch has no types here
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if getattr(func, "__name__", "") in _CONVERSIONS and args and args[0] in values:
                conversions.append(_place(sys._getframe(1)))  # noqa: SLF001
            return func(*args, **(kwargs or {}))

    return watch


def _has_mask(func: Any, args: Sequence[Any]) -> bool:
    """Whether an operation selects by a mask, so that its output size depends on values."""
    import torch

    if func.__name__.partition(".")[0] != "index":
        return False
    return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])


def _place(frame: FrameType) -> tuple[Place, Place]:
    """Return the innermost place of a call and the innermost one outside of torch."""
    user = frame
    while user.f_back is not None and _is_library(user.f_code.co_filename):
        user = user.f_back
    return (
        (frame.f_code.co_filename, frame.f_lineno),
        (user.f_code.co_filename, user.f_lineno),
    )
