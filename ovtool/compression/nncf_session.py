"""Running NNCF without its chatter, and turning what it raises into one clear line."""

from __future__ import annotations

import contextlib
import copy
import difflib
import io
import logging
import re
import sys
import warnings
from typing import TYPE_CHECKING, Any

from ovtool.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import nncf
    import openvino as ov
    import torch

    from ovtool.compression.method import Ignoring

LOG = logging.getLogger("ovtool.nncf")


class _ToLog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        LOG.log(record.levelno, record.getMessage())


class _TextToLog(io.StringIO):
    """A file whose lines go to the log."""

    def write(self, text: str) -> int:
        for line in filter(str.strip, text.splitlines()):
            LOG.debug(line.rstrip())
        return len(text)


@contextlib.contextmanager
def quiet_nncf(what: str) -> Iterator[None]:
    """Run NNCF inside: its log, bars and warnings go to the ``ovtool.nncf`` logger.

    Args:
        what: What is being done, for the message of an error.

    Raises:
        InputError: NNCF or OpenVINO refused the model or the settings.
    """
    nncf_logger, refusals = _import_nncf()
    handlers = nncf_logger.handlers
    nncf_logger.handlers = [_ToLog()]

    def show(message: Warning | str, *_: object, **__: object) -> None:
        LOG.warning("%s", message)

    try:
        with _quiet_bars(), warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = show
            yield
    except refusals as error:
        raise InputError(f"{what} failed: {_first_sentence(error)}") from error
    finally:
        nncf_logger.handlers = handlers


@contextlib.contextmanager
def _quiet_bars() -> Iterator[None]:
    """Send what NNCF draws with rich's own console to the log.

    ``sys.stdout`` stays: whoever follows the progress may print there.
    """
    import rich

    console = rich.get_console()
    before = console.file
    console.file = _TextToLog()
    try:
        yield
    finally:
        # None is rich's default, today's sys.stdout; a file of somebody's choice is put back.
        console.file = None if before is sys.stdout else before  # type: ignore[assignment]


def _import_nncf() -> tuple[logging.Logger, tuple[type[Exception], ...]]:
    """Return NNCF's logger and what it raises for models and settings that it cannot take."""
    original = logging.getLoggerClass()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its dependencies, about themselves
            import nncf
    finally:
        logging.setLoggerClass(original)  # nncf makes every later logger one of its own class
    kinds = [value for value in vars(nncf.errors).values() if isinstance(value, type)]
    # OpenVINO raises RuntimeError, and NNCF NotImplementedError for models with If.
    return nncf.nncf_logger, (*kinds, RuntimeError, NotImplementedError)


def _first_sentence(error: Exception) -> str:
    """Return what an error says in one line, without OpenVINO's source positions."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not re.match(r"(Exception from|Check ')", line)]
    return (telling or [type(error).__name__])[0].rstrip(".")


def check_ignored(model: ov.Model, settings: Ignoring) -> None:
    """Check that what is to be left as it is exists in the model.

    Raises:
        InputError: A name, type or pattern fits no layer; all of them, with the nearest names.
    """
    operations = model.get_ordered_ops()
    names = [operation.get_friendly_name() for operation in operations]
    types = sorted({operation.get_type_name() for operation in operations})
    _check_known(names, types, settings)


def hookable(module: torch.nn.Module) -> torch.nn.Module:
    """Return a module that NNCF may add its own to, with the same weights by the same names.

    An ``nn.Sequential`` would call what NNCF adds as its last layer.
    """
    import torch

    if type(module).forward is not torch.nn.Sequential.forward:
        return module

    class Chain(torch.nn.Module):  # type: ignore[misc] # torch is not followed
        def __init__(self) -> None:
            super().__init__()
            self.order = [name for name, _ in module.named_children()]
            for name in self.order:
                self.add_module(name, module.get_submodule(name))

        def forward(self, input: torch.Tensor) -> Any:  # noqa: A002 - as nn.Sequential has it
            for name in self.order:
                input = self.get_submodule(name)(input)  # noqa: A001
            return input

    return Chain().train(module.training)


def ignored_in_torch(
    module: torch.nn.Module, example: Any, settings: Ignoring
) -> nncf.IgnoredScope:
    """Do what :func:`ignored_scope` does for a torch module.

    Names are NNCF's, of calls (``conv1/conv2d/0``) and of weights (``conv1.weight``), and so are
    types (``conv2d``, ``linear``).

    Args:
        module: In eval mode; it stays as it is.
        example: A dict or a tuple of its inputs.
        settings: What is ignored.
    """
    import nncf.torch

    wrapped = nncf.torch.wrap_model(copy.deepcopy(module), example, trace_parameters=True)
    nodes = wrapped.build_graph().get_all_nodes()
    types = sorted({node.node_type for node in nodes})
    _check_known([node.node_name for node in nodes], types, settings)
    return _scope(settings)


def _check_known(names: list[str], types: list[str], settings: Ignoring) -> None:
    mistakes = [
        *_unknown("layer", settings.ignored_names, names),
        *_unknown("type of layer", settings.ignored_types, types),
        *(
            f"no layer fits the pattern {pattern!r}"
            for pattern in settings.ignored_patterns
            if not any(re.match(pattern, name) for name in names)
        ),
    ]
    if mistakes:
        raise InputError(f"cannot ignore: {'; '.join(mistakes)}")


def ignored_scope(model: ov.Model, settings: Ignoring) -> nncf.IgnoredScope:
    """Return what NNCF is to leave alone, checked as by :func:`check_ignored`."""
    check_ignored(model, settings)
    return _scope(settings)


def _scope(settings: Ignoring) -> nncf.IgnoredScope:
    import nncf

    return nncf.IgnoredScope(
        names=list(settings.ignored_names),
        types=list(settings.ignored_types),
        patterns=list(settings.ignored_patterns),
    )


def _unknown(what: str, wanted: tuple[str, ...], known: list[str]) -> list[str]:
    missing = [name for name in wanted if name not in known]
    nearest = [difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0] for name in missing]
    return [
        f"no {what} {name!r}, the nearest is {near!r}"
        for name, near in zip(missing, nearest, strict=True)
    ]
