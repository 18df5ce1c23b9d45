"""Charts as SVG and PNG, and the library that draws them on a page, made in other processes.

vl-convert runs a JavaScript engine that takes more than a second to start and to bundle Vega, and
holds Python's lock all the while.  In processes of its own it works beside whatever else a report
takes.  They exchange files in a temporary folder, and lines that name them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import subprocess
import sys
import tempfile
import textwrap
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ovtool.charts import theme
from ovtool.core import files
from ovtool.core.errors import InputError, OvtoolError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from ovtool.charts.drawing import Chart

_COMMAND = (sys.executable, "-P", "-m", "ovtool.charts.render")
_PIXELS = 2
"""Pixels of a PNG for one of the SVG."""
_KINDS = ("svg", "png")
_LIBRARY, _WARM = "library", "warm"
_ANY = {"data": {"values": []}, "mark": "point"}


class Pictures:
    """The processes that draw, from ``with`` to its end: one makes SVG, the next PNG of it."""

    def __enter__(self) -> Self:
        """Start them."""
        with contextlib.ExitStack() as ending:
            self._start(ending)
            self._ending = ending.pop_all()
        self._done: set[str] = set()
        self._asked: list[Chart] = []
        return self

    def _start(self, ending: contextlib.ExitStack) -> None:
        self._folder = Path(ending.enter_context(tempfile.TemporaryDirectory()))
        errors = ending.enter_context((self._folder / "errors").open("wb"))
        self._processes: list[subprocess.Popen[str]] = []
        source: int | IO[str] = subprocess.PIPE
        for kind in _KINDS:
            process = subprocess.Popen(
                [*_COMMAND, kind, str(self._folder)],
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
            )
            self._processes.append(process)
            ending.callback(_end, process)
            if source is not subprocess.PIPE:
                _pipe(self._processes[-2].stdout).close()  # it is the next one's alone
            source = _pipe(process.stdout)

    def __exit__(self, *_: object) -> None:
        """End them, whatever they are doing."""
        self._ending.close()

    def prepare(self) -> None:
        """Begin with what every page takes: the library, and an engine that is warm."""
        self._ask(_LIBRARY)
        (self._folder / f"{_WARM}.json").write_text(json.dumps(_ANY))
        self._ask(_WARM)

    def library(self) -> str:
        """Return Vega, Vega-Lite and Vega-Embed as one script that may stand inside a page.

        :meth:`prepare` must have been called before.
        """
        self._wait(_LIBRARY)
        return (self._folder / _LIBRARY).read_text(encoding="utf-8")

    def draw(self, charts: Sequence[Chart]) -> None:
        """Ask for charts, each with its title and caption, without waiting for them."""
        for chart in charts:
            told = json.dumps(_alone(chart))
            (self._folder / f"{chart.name}.json").write_text(told, encoding="utf-8")
            self._ask(chart.name)
            self._asked.append(chart)

    def write(self, folder: Path) -> list[Path]:
        """Write the charts that were asked for, when they are drawn, as SVG and PNG.

        Raises:
            InputError: The disk is full or read-only.
            OvtoolError: Something ended the process.
        """
        written = []
        for chart in self._asked:
            self._wait(chart.name)
            for end in (".svg", ".png"):
                content = (self._folder / f"{chart.name}{end}").read_bytes()
                write = functools.partial(Path.write_bytes, data=content)
                written.append(files.write_file(folder / f"{chart.name}{end}", write))
        return written

    def _ask(self, name: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # that it ended is said where it is waited for
            print(name, file=_pipe(self._processes[0].stdin), flush=True)

    def _wait(self, name: str) -> None:
        while name not in self._done:
            told = _pipe(self._processes[-1].stdout).readline()
            if not told:
                raise self._ended(name)
            self._done.add(told.strip())

    def _ended(self, name: str) -> Exception:
        """Return the error of a process that ended too early: from outside, or by a bug."""
        _close(self._processes[0].stdin)  # the others end with it
        codes = [process.wait() for process in self._processes]
        code = min(codes) if min(codes) < 0 else max(codes)
        if code < 0:
            return OvtoolError(
                f"a process that draws {name} was ended by signal {-code}",
                "they need some 300 MiB of memory; run the command again",
            )
        said = (self._folder / "errors").read_text(encoding="utf-8", errors="replace")
        return RuntimeError(f"drawing {name} failed with code {code}: {said[-2000:]}")


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    _close(process.stdin)
    _close(process.stdout)


def _close(stream: IO[str] | None) -> None:
    if stream is not None:
        with contextlib.suppress(BrokenPipeError):  # its reader has ended
            stream.close()


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None  # noqa: S101 - Popen was asked for the pipe
    return stream


def write_charts(charts: Sequence[Chart], folder: Path) -> list[Path]:
    """Write charts as SVG and PNG, each with its title and caption.

    Raises:
        InputError: The disk is full or read-only.
    """
    with Pictures() as pictures:
        pictures.draw(charts)
        return pictures.write(folder)


def _alone(chart: Chart) -> dict[str, object]:
    """Return the specification of a chart that stands alone, with its title and caption."""
    title = {"text": chart.title, "subtitle": textwrap.wrap(chart.caption, 110)}
    return chart.whole | {"config": theme.static(), "title": title}


def _library() -> bytes:
    """Return the script that draws on a page; it is kept for the next report.

    What is kept has its SHA-256 in front, so that a damaged file is made again.
    """
    import vl_convert

    kept = files.user_folder() / f"vega-{version('vl-convert-python')}.js"
    with contextlib.suppress(OSError):
        digest, _, script = kept.read_bytes().partition(b"\n")
        if digest == _digest(script):
            return script
    made: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    text = made.replace("\r\n", "\n").replace("</script", "<\\/script").replace("<!--", "<\\!--")
    script = text.encode()
    with contextlib.suppress(OSError, InputError):  # it is quicker with it, and right without
        files.write_file(kept, lambda path: path.write_bytes(_digest(script) + b"\n" + script))
    return script


def _digest(script: bytes) -> bytes:
    return hashlib.sha256(script).hexdigest().encode()


def main(kind: str, folder: Path) -> None:
    """Draw what is named on standard input, and name on standard output what is done.

    Args:
        kind: ``svg``: of ``NAME.json`` in the folder, or the library; ``png``: of ``NAME.svg``.
        folder: Of the files.
    """
    import vl_convert

    for line in sys.stdin:
        name = line.strip()
        if kind == "png" and name != _LIBRARY:
            svg = (folder / f"{name}.svg").read_text(encoding="utf-8")
            (folder / f"{name}.png").write_bytes(vl_convert.svg_to_png(svg, scale=_PIXELS))
        elif name == _LIBRARY and kind == "svg":
            (folder / _LIBRARY).write_bytes(_library())
        elif kind == "svg":
            spec = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            drawn: str = vl_convert.vegalite_to_svg(spec)
            (folder / f"{name}.svg").write_text(drawn, encoding="utf-8", newline="\n")
        print(name, flush=True)  # noqa: T201 - this is how it answers


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
