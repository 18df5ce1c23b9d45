"""Charts as SVG and PNG, and the script that draws them on a page, made in worker processes.

vl-convert runs a JavaScript engine that takes more than a second to start and to bundle Vega, and
holds the GIL meanwhile.  In worker processes it runs in parallel with the rest of a report.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import queue
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.charts import theme
from ovtool.core import files, places, steps
from ovtool.core.errors import InputError, OvtoolError
from ovtool.core.escaping import quote_controls, quote_nested
from ovtool.system.child_process import ChildProcess, WorkerError, serve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from typing import Any, Self

    from ovtool.charts.drawing import Chart

_COMMAND = (sys.executable, "-P", "-m", "ovtool.charts.render")
_PNG_SCALE = 2
"""Pixels of a PNG for each pixel of the SVG."""


class ChartRenderer:
    """Worker processes that draw charts until the end of a ``with`` block."""

    def __init__(self, workers: int = 2) -> None:
        self._count = workers
        self._workers: list[ChildProcess] = []
        self._idle: queue.SimpleQueue[ChildProcess] = queue.SimpleQueue()
        self._charts: list[tuple[Chart, Future[dict[str, str]]]] = []

    def __enter__(self) -> Self:
        """Start the processes."""
        self._threads = ThreadPoolExecutor(self._count)
        try:
            for _ in range(self._count):
                self._workers.append(ChildProcess(_COMMAND, steps.default_limit_s()))
        except BaseException:
            self._end(kill=True)
            raise
        for worker in self._workers:
            self._idle.put(worker)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """End the processes; after an error also while they draw."""
        self._end(kill=kind is not None)

    def _end(self, *, kill: bool) -> None:
        for worker in self._workers:
            if kill:
                worker.kill()
            worker.close()
        self._threads.shutdown(cancel_futures=True)

    def prepare_library(self) -> None:
        """Start to load the script for a page."""
        self._library = self._threads.submit(self._request, "load_library")

    def library(self) -> str:
        """Return Vega, Vega-Lite and Vega-Embed as one script that is safe inside a page.

        Requires an earlier call of :meth:`prepare_library`.

        Raises:
            OvtoolError: A process ended unexpectedly.
        """
        with _translate_errors("the chart library"):
            return str(self._library.result()["script"])

    def draw(self, charts: Sequence[Chart]) -> None:
        """Start to draw charts, each with its title and caption."""
        for chart in charts:
            future = self._threads.submit(self._request, "draw", spec=_standalone(chart))
            self._charts.append((chart, future))

    def _request(self, method: str, **arguments: Any) -> dict[str, str]:
        """Let the next idle worker answer a request; a worker that failed answers no other."""
        worker = self._idle.get()
        try:
            return worker.request(method, **arguments)
        except WorkerError as error:
            if error.failure != "error":  # one that ended: the others draw nothing of use
                for each in self._workers:
                    each.kill()
            raise
        finally:
            self._idle.put(worker)

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
                drawn = future.result()
            svg, png = drawn["svg"].encode(), base64.b64decode(drawn["png"])
            for suffix, content in ((".svg", svg), (".png", png)):
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
def _translate_errors(name: str) -> Iterator[None]:
    """Name the chart in the errors of a worker."""
    try:
        yield
    except WorkerError as error:
        if str(error).startswith(ValueError.__name__):  # a wrong specification
            raise RuntimeError(f"cannot draw {name}: {error}") from error
        hint = "each process needs about 300 MiB of memory; run the command again"
        if error.failure == "timeout":
            hint = f"set {steps.STEP_TIMEOUT} (seconds, 0: no limit)"
        raise OvtoolError(f"cannot draw {name}: {error}", hint) from error


def _standalone(chart: Chart) -> dict[str, Any]:
    """Return the specification of a chart with its title and caption."""
    title = {"text": chart.title, "subtitle": textwrap.wrap(chart.caption, 110)}
    spec = chart.standalone_spec | {"config": theme.file_config(), "title": title}
    return {name: quote_nested(value) for name, value in spec.items()}


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


class DrawingWorker:
    """Draws charts; each public method handles a request."""

    def draw(self, request: dict[str, Any]) -> dict[str, str]:
        """Return a chart as SVG, and as PNG in base64."""
        import vl_convert

        # XML forbids control characters.
        svg = quote_controls(vl_convert.vegalite_to_svg(request["spec"]))
        png = vl_convert.svg_to_png(svg, scale=_PNG_SCALE)
        return {"svg": svg, "png": base64.b64encode(png).decode()}

    def load_library(self, _request: dict[str, Any]) -> dict[str, str]:
        """Return the script that draws on a page."""
        return {"script": _load_library()}


if __name__ == "__main__":
    serve(DrawingWorker)
