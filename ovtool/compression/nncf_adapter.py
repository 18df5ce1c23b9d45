"""Running NNCF: its output goes to the log, its errors become one line, it reads our samples."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import sys
import warnings
from typing import TYPE_CHECKING, Any

from ovtool.core import places, steps
from ovtool.core.errors import InputError
from ovtool.core.ports import fixed_batch
from ovtool.core.registry import missing_package
from ovtool.core.third_party import relevant_lines
from ovtool.datasets.samples import Sample, Samples, batches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from ovtool.core.ports import Port
    from ovtool.core.progress import Progress

LOG = logging.getLogger("ovtool.nncf")


class _ToLog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        LOG.log(record.levelno, record.getMessage())


class _TextToLog(io.StringIO):
    """A text stream that sends its lines to the log."""

    def write(self, text: str) -> int:
        for line in filter(str.strip, text.splitlines()):
            LOG.debug(line.rstrip())
        return len(text)


@contextlib.contextmanager
def quiet_nncf(task: str) -> Iterator[None]:
    """Run NNCF inside; its log, progress bars and warnings go to the ``ovtool.nncf`` logger.

    ``task`` is part of the message of an error.

    Raises:
        InputError: NNCF or OpenVINO rejected the model or the settings.
        MissingDependencyError: NNCF is not installed.
    """
    nncf_logger, rejections = _import_nncf(task)
    handlers = nncf_logger.handlers
    nncf_logger.handlers = [_ToLog()]

    def show(message: Warning | str, *_: object, **__: object) -> None:
        LOG.warning("%s", message)

    try:
        with _quiet_bars(), warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = show
            yield
    except rejections as error:
        raise InputError(f"{task} failed: {_first_sentence(error)}") from error
    finally:
        nncf_logger.handlers = handlers


@contextlib.contextmanager
def _quiet_bars() -> Iterator[None]:
    """Send the progress bars that NNCF draws on rich's global console to the log.

    ``sys.stdout`` is not replaced: a progress listener may print to it.
    """
    import rich

    console = rich.get_console()
    before, in_notebook = console.file, console.is_jupyter
    console.file = _TextToLog()
    console.is_jupyter = False  # a notebook's console draws widgets, whatever its file is
    try:
        yield
    finally:
        console.is_jupyter = in_notebook
        # None is rich's default, the current sys.stdout; a file that the caller set is restored.
        console.file = None if before is sys.stdout else before  # type: ignore[assignment]


def _import_nncf(task: str) -> tuple[logging.Logger, tuple[type[Exception], ...]]:
    """Return NNCF's logger and the errors it raises for rejected models and settings.

    Raises:
        MissingDependencyError: NNCF is not installed.
    """
    places.provide_home()  # its import needs one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of its dependencies about themselves
        try:
            import nncf
        except ModuleNotFoundError as error:
            raise missing_package(task, error, "compress") from error
    # The import of NNCF, here or in other code, makes its own class that of every later logger.
    if logging.getLoggerClass() is type(nncf.nncf_logger):
        logging.setLoggerClass(logging.Logger)
    errors = [value for value in vars(nncf.errors).values() if isinstance(value, type)]
    # OpenVINO raises RuntimeError, and NNCF NotImplementedError for models with If.
    return nncf.nncf_logger, (*errors, RuntimeError, NotImplementedError)


def _first_sentence(error: Exception) -> str:
    """Return an error's message in one line, without OpenVINO's source positions."""
    return (relevant_lines(str(error)) or [type(error).__name__])[0].rstrip(".")


def make_hookable(module: torch.nn.Module) -> torch.nn.Module:
    """Return a module that NNCF can add submodules to, with the same weights by the same names.

    ``nn.Sequential`` would call the added submodule as its last layer.
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


class CalibrationFeed:
    """Calibration batches as NNCF iterates over them, of at most ``limit`` samples.

    NNCF iterates once for each algorithm that needs statistics and drops the iterator when it has
    enough samples. Then it computes without counting: ``next_task`` names that work.
    """

    def __init__(
        self,
        samples: Samples,
        inputs: Sequence[Port],
        limit: int,
        progress: Progress,
        next_task: str = "quantizing and correcting",
    ) -> None:
        self._samples, self._inputs, self._progress = samples, inputs, progress
        self._next_task = next_task
        self.count = min(limit, len(samples))
        self._batch = fixed_batch(inputs) or 1

    def limited(self, limit: int) -> CalibrationFeed:
        """Return a feed of at most ``limit`` of the samples, evenly spread over the data."""
        if self.count <= limit:
            return self
        return CalibrationFeed(self._samples, self._inputs, limit, self._progress, self._next_task)

    def __len__(self) -> int:
        """Return the number of batches."""
        return math.ceil(self.count / self._batch)

    def __iter__(self) -> Iterator[dict[int, Any]]:
        """Yield batches as arrays by the index of the input."""
        self._progress.start("calibrating", self.count)
        try:
            with steps.limited("calibrating on the CPU"):  # each batch again
                for batch in batches(self._spread(), self._inputs, self._batch):
                    self._progress.advance(batch.count)
                    steps.report()
                    yield {i: batch.inputs[port.name] for i, port in enumerate(self._inputs)}
        finally:
            self._progress.start(self._next_task)

    def _spread(self) -> Iterator[Sample]:
        """Yield samples evenly spread over the data.

        The first samples of a folder sorted by class would cover only its first classes.
        """
        total = len(self._samples)
        selected = {index * total // self.count for index in range(self.count)}
        return (sample for index, sample in enumerate(self._samples) if index in selected)
