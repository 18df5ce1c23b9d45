"""Charts as SVG and PNG, and the script that draws them on a page, made in worker processes.

vl-convert runs a JavaScript engine that takes more than a second to start and to bundle Vega, and
holds the GIL meanwhile.  In worker processes it runs in parallel with the rest of a report.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import multiprocessing
import multiprocessing.resource_tracker
import os
import signal
import sys
import textwrap
import threading
import types
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.charts import theme
from ovtool.core import files, places
from ovtool.core.errors import InputError, OvtoolError
from ovtool.core.escaping import quote_controls

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from multiprocessing.connection import Connection
    from typing import Any, Self

    from ovtool.charts.drawing import Chart

_PNG_SCALE = 2
"""Pixels of a PNG for each pixel of the SVG."""
_EMPTY_SPEC: dict[str, Any] = {"data": {"values": []}, "mark": "point"}


class ChartRenderer:
    """A pool of processes that draw charts until the end of a ``with`` block."""

    def __init__(self, workers: int = 2) -> None:
        self._workers = workers
        self._charts: list[tuple[Chart, Future[tuple[str, bytes]]]] = []

    def __enter__(self) -> Self:
        """Start the processes.

        Raises:
            InputError: The system has no shared memory.
        """
        context = multiprocessing.get_context("spawn")
        with contextlib.ExitStack() as stack:
            stop_reader, stop_writer = context.Pipe(duplex=False)
            stack.callback(stop_writer.close)
            with stop_reader, _isolated_start():
                with _naming_shared_memory():
                    self._pool = ProcessPoolExecutor(
                        self._workers, context, initializer=_prepare_worker, initargs=(stop_reader,)
                    )
                for _ in range(self._workers):  # each call starts a process
                    self._pool.submit(_draw, _EMPTY_SPEC)
            self._stop = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes, even while they draw."""
        self._stop.close()
        self._pool.shutdown(cancel_futures=True)

    def prepare_library(self) -> None:
        """Start to load the script for a page."""
        with _translate_errors("the chart library"):
            self._library = self._pool.submit(_load_library)

    def library(self) -> str:
        """Return Vega, Vega-Lite and Vega-Embed as one script that is safe inside a page.

        Requires an earlier call of :meth:`prepare_library`.

        Raises:
            OvtoolError: A process ended unexpectedly.
        """
        with _translate_errors("the chart library"):
            return self._library.result()

    def draw(self, charts: Sequence[Chart]) -> None:
        """Start to draw charts, each with its title and caption.

        Raises:
            OvtoolError: A process ended unexpectedly.
        """
        for chart in charts:
            with _translate_errors(chart.name):
                self._charts.append((chart, self._pool.submit(_draw, _standalone(chart))))

    def file_names(self) -> list[str]:
        """Return the names of the files that :meth:`write` writes."""
        return [f"{chart.name}{suffix}" for chart, _ in self._charts for suffix in (".svg", ".png")]

    def write(self, folder: Path) -> list[Path]:
        """Wait for the charts and write them as SVG and PNG.

        Raises:
            InputError: The disk is full or read-only.
            OvtoolError: A process ended unexpectedly.
        """
        paths = []
        for chart, future in self._charts:
            with _translate_errors(chart.name):
                svg, png = future.result()
            for suffix, content in ((".svg", svg.encode()), (".png", png)):
                write = functools.partial(Path.write_bytes, data=content)
                paths.append(files.write_file(folder / f"{chart.name}{suffix}", write))
        return paths


def write_charts(charts: Sequence[Chart], folder: Path) -> list[Path]:
    """Write charts as SVG and PNG, each with its title and caption.

    Raises:
        InputError: The disk is full or read-only.
        OvtoolError: A process ended unexpectedly.
    """
    if not charts:
        return []
    with ChartRenderer(min(2, len(charts))) as renderer:
        renderer.draw(charts)
        return renderer.write(folder)


@contextlib.contextmanager
def _naming_shared_memory() -> Iterator[None]:
    """Name the folder of semaphores, which some containers lack."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EACCES, errno.EROFS, errno.ENOSPC):
            raise
        raise InputError(
            f"the processes that draw charts need shared memory in /dev/shm: {error.strerror}",
            "mount /dev/shm writable (docker: --shm-size 64m)",
        ) from error


@contextlib.contextmanager
def _isolated_start() -> Iterator[None]:
    """Isolate the processes that start in this block.

    They do not import the main module, so that a script needs no ``__main__`` guard, do not import
    from the current folder, and do not receive Ctrl-C.
    """
    main, safe_path = sys.modules["__main__"], os.environ.get("PYTHONSAFEPATH")
    has_masks = hasattr(signal, "pthread_sigmask")  # not on Windows
    if has_masks:  # its start, which the first process would cause, ends with SIGINT unblocked
        multiprocessing.resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if has_masks else set()
    sys.modules["__main__"] = types.ModuleType("__main__")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        if safe_path is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = safe_path
        if has_masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _prepare_worker(stop: Connection) -> None:
    """Ignore Ctrl-C, and end the process when the other end of a pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent() -> None:
        with contextlib.suppress(EOFError, OSError):
            stop.recv_bytes()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _draw(spec: dict[str, Any]) -> tuple[str, bytes]:
    """Return a chart as SVG and as PNG."""
    import vl_convert

    svg = quote_controls(vl_convert.vegalite_to_svg(spec))  # XML forbids control characters
    return svg, vl_convert.svg_to_png(svg, scale=_PNG_SCALE)


@contextlib.contextmanager
def _translate_errors(name: str) -> Iterator[None]:
    """Name the chart in the errors of the pool."""
    try:
        yield
    except BrokenProcessPool as error:
        raise OvtoolError(
            f"a process ended unexpectedly while drawing {name}",
            "each process needs about 300 MiB of memory; run the command again",
        ) from error
    except ValueError as error:
        raise RuntimeError(f"cannot draw {name}: {error}") from error


def _standalone(chart: Chart) -> dict[str, Any]:
    """Return the specification of a chart with its title and caption."""
    title = {"text": chart.title, "subtitle": textwrap.wrap(chart.caption, 110)}
    return chart.standalone_spec | {"config": theme.file_config(), "title": title}


def _load_library() -> str:
    """Return the script that draws on a page, from the user's cache if possible.

    The cached file starts with its SHA-256, so that a damaged file is replaced.
    """
    import vl_convert

    name, cache = f"vega-{version('vl-convert-python')}.js", None
    with contextlib.suppress(OSError, InputError):
        cache = places.user_folder() / name
        digest, _, script = cache.read_bytes().partition(b"\n")
        if digest == _digest(script):
            return script.decode()
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    text = bundle.replace("\r\n", "\n").replace("</script", "<\\/script").replace("<!--", "<\\!--")
    script = text.encode()
    if cache is not None:
        with contextlib.suppress(OSError, InputError):  # the cache only saves time
            files.write_file(cache, lambda path: path.write_bytes(_digest(script) + b"\n" + script))
    return text


def _digest(script: bytes) -> bytes:
    return hashlib.sha256(script).hexdigest().encode()
