"""The ``ovtool`` command: the table of verbs, and how errors become lines and exit codes."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from ovtool import __version__
from ovtool.cli.command import QUIET, VERBOSE, LazyGroup, format_exit_codes, is_from_environment
from ovtool.core import files, steps, system_errors, terminal, units
from ovtool.core.errors import CRASH, InputError, OvtoolError
from ovtool.core.escaping import quote_controls

LOGGER = logging.getLogger("ovtool")
VERBS = {
    "Prepare a model": {
        "convert": "Convert a model to OpenVINO IR and verify its outputs.",
        "methods": "List the compression methods and their settings.",
        "compress": "Compress a model by one method.",
        "sensitivity": "Measure the accuracy cost of quantizing each layer.",
    },
    "Inspect models and devices": {
        "devices": "List the devices, diagnose missing ones, calibrate.",
        "analyze": "Count operations, parameters and bytes of each layer.",
        "check": "Compile a variant for a device without running it.",
        "profile": "Measure the time and precision of each layer.",
        "why": "Explain why a compressed model is not faster.",
        "evaluate": "Measure quality against labels or against a baseline.",
    },
    "Measure and choose": {
        "sweep": "Measure variants over devices, batches and loads.",
        "report": "Write an offline page with tables and charts.",
        "choose": "Recommend a configuration under your limits.",
        "compare": "Compare two sweeps and detect regressions.",
        "deploy": "Write the chosen model as a bundle, and verify it.",
        "fleet": "Measure on many hosts: start, list and stop them.",
    },
    "Run everything": {
        "run": "Compress, measure and choose: for a model or a recipe.",
        "recipes": "List, print and validate recipes.",
    },
}
"""Each verb and its summary, by group; the verb itself is ``ovtool.cli.commands.<verb>``."""

app = typer.Typer(
    name="ovtool",
    cls=LazyGroup,
    help="Take a trained model to the Intel hardware that it should run on: compress, convert to"
    " OpenVINO, measure on CPU, GPU and NPU, report, choose.",
    pretty_exceptions_enable=False,
    epilog="Example: ovtool run efficientnet-lite0\n\n"
    "Variables such as OVTOOL_DEVICE set defaults of options: the help of each verb lists them."
    f"\n\n{format_exit_codes()}",
)
for _group, _verbs in VERBS.items():
    for _verb, _summary in _verbs.items():
        app.command(_verb, help=_summary, rich_help_panel=_group)(lambda: None)


def _print_version(requested: bool) -> None:
    if requested:
        print(f"ovtool {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[  # noqa: ARG001 - the callback prints the version
        bool,
        typer.Option(
            "--version",
            "-V",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
    log: Annotated[
        str | None,
        typer.Option(
            help="Append the log of NNCF, PyTorch and other libraries to this file.",
            metavar="FILE",
            envvar="OVTOOL_LOG",
            show_envvar=False,
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help=QUIET)] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help=VERBOSE)] = False,
) -> None:
    terminal.reset_loudness()
    terminal.set_quiet(quiet)
    terminal.set_verbose(verbose)
    if log is not None:
        _log_to(log)


def _log_to(path: str) -> None:
    with system_errors.writing(Path(path)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.DEBUG)


class Stopped(BaseException):
    """Ctrl-C or SIGTERM, raised as an exception so that cleanup runs."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


_received: list[Stopped] = []


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    for each in _stop_signals():
        signal.signal(each, _end_at_once if steps.board is None else _ignore)
    _received.append(Stopped(number))
    raise _received[-1]


def _end_at_once(number: int, _frame: FrameType | None) -> NoReturn:
    """End without cleanup, on the second signal; workers end with their parent."""
    os._exit(128 + number)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the process ends, or the supervisor got the signal as well, and kills it."""


def _stop_signals() -> list[signal.Signals]:
    """Return the signals that stop a command; ``nohup`` leaves SIGHUP ignored."""
    names = ["SIGINT", "SIGTERM"]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        names.append("SIGHUP")
    return [signal.Signals[name] for name in names]


_EXIT_LIMIT_S = 30.0
"""Time limit of the end of the process, in which plugins may hang."""


def main() -> None:
    """Run the command line."""
    _received.clear()
    try:
        for each in _stop_signals():
            signal.signal(each, _stop)
        status = _run()
        for each in _stop_signals():  # the end of the process prints no exception
            signal.signal(each, _ignore)
    except Stopped as stopped:
        print(steps.stopped_line(files.kept_results()), file=sys.stderr)
        status = stopped.exit_code
    if steps.board is not None:
        steps.board.status = int(status or 0)
        steps.report("ending", _EXIT_LIMIT_S)
    sys.exit(status)


def _run() -> int | None:
    """Run the verb; return the exit code."""
    try:
        status: int | None = app(prog_name="ovtool", standalone_mode=False)
        sys.stdout.flush()
    except Exception as error:  # the last place that can report it
        if _received:  # a library made an error of its own from the exception of the signal
            raise _received[-1] from error
        return _print_failure(error)
    return status


def _print_failure(error: Exception) -> int:
    if isinstance(error, OvtoolError):
        return _print_ovtool_error(error)
    if isinstance(error, typer.TyperException):
        return _print_usage_error(error)
    return _print_unexpected(error)


def _print_error(message: str, hint: str, status: int) -> int:
    print(f"error: {quote_controls(message)}", file=sys.stderr)
    if hint:
        print(f"hint: {quote_controls(hint)}", file=sys.stderr)
    return status


def _print_ovtool_error(error: OvtoolError) -> int:
    from ovtool.system import memory_limit

    LOGGER.debug("%s", type(error).__name__, exc_info=error)
    if memory_limit.is_out_of_memory(error):
        return _print_memory_error()
    return _print_error(str(error), error.hint, error.exit_code)


def _print_memory_error() -> int:
    """Print a failed allocation with the memory limit."""
    from ovtool.system import memory_limit

    message, hint = memory_limit.describe()
    step = steps.board.failed if steps.board is not None else ""
    return _print_error(f"{step}: {message}" if step else message, hint, InputError.exit_code)


DEBUG = "OVTOOL_DEBUG"
"""Environment variable: if set, a bug prints its traceback."""
_CRASH_WIDTH = 93


def _print_unexpected(error: Exception) -> int:
    """Print an error of the operating system, or a bug, on one line.

    The traceback goes to the log, and to stderr on request.
    """
    import traceback

    from ovtool.system import memory_limit

    if memory_limit.is_out_of_memory(error):
        return _print_memory_error()
    explained = system_errors.explain(error)
    LOGGER.error("internal error" if explained is None else str(explained), exc_info=error)
    if os.environ.get(DEBUG):
        traceback.print_exception(error, file=sys.stderr)
    if explained is None:
        return _print_crash(error)
    return _print_error(str(explained), explained.hint, explained.exit_code)


def _print_crash(error: Exception) -> int:
    """Print a bug with its place in the code."""
    import traceback

    own = Path(__file__).parents[1]
    places = [
        f"{Path(frame.filename).relative_to(own).as_posix()}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(own)
    ]
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    message = f"internal error at {places[-1]}: {text}"
    hint = f"a bug in ovtool {__version__}: report it with the command and the traceback, {DEBUG}=1"
    return _print_error(units.shortened(message, _CRASH_WIDTH), hint, CRASH)


def _print_usage_error(error: typer.TyperException) -> int:
    """Print a usage error as one line instead of typer's box."""
    message = error.format_message()
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    if context and parameter and is_from_environment(context, parameter.name):
        return _print_error(
            message, f"the value is that of the variable {parameter.envvar}", error.exit_code
        )
    path = context.command_path if context else ""
    if path and parameter and hasattr(error, "param_type"):  # only an absent parameter has it
        name = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.name.upper()
        message = f"missing {name}: {parameter.help}".rstrip(".")
        return _print_error(message, _example(path) or f"{path} --help", error.exit_code)
    return _print_error(message, f"{path} --help" if path else "", error.exit_code)


def _example(path: str) -> str:
    """Return the first example of a command such as ``ovtool why``; empty without one."""
    module = importlib.import_module(f"ovtool.cli.commands.{path.split()[1]}")
    examples = [each for each in getattr(module, "EXAMPLES", ()) if each.startswith(path)]
    return f"such as: {examples[0]}" if examples else ""
