"""Charts as SVG and PNG, and the library that draws them on a page, made in another process.

vl-convert runs a JavaScript engine that takes more than a second to start and to bundle Vega, and
holds Python's lock all the while.  In a process of its own it works beside whatever else a report
takes.  The two exchange files in a temporary folder, and lines that name them.
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

from ovtool import files
from ovtool.errors import InputError, OvtoolError
from ovtool.report import theme

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from ovtool.report.drawing import Chart

_COMMAND = (sys.executable, "-P", "-m", "ovtool.report.pictures")
_PIXELS = 2
"""Pixels of a PNG for one of the SVG."""
_LIBRARY, _WARM = "library", "warm"
_ANY = {"data": {"values": []}, "mark": "point"}


class Pictures:
    """The process that draws, from ``with`` to its end."""

    def __enter__(self) -> Self:
        """Start it."""
        self._ending = contextlib.ExitStack()
        self._folder = Path(self._ending.enter_context(tempfile.TemporaryDirectory()))
        errors = self._ending.enter_context((self._folder / "errors").open("wb"))
        self._process = subprocess.Popen(
            [*_COMMAND, str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
        )
        self._ending.callback(self._end)
        self._done: set[str] = set()
        self._asked: list[Chart] = []
        return self

    def __exit__(self, *_: object) -> None:
        """End it, whatever it is doing."""
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
            print(name, file=_pipe(self._process.stdin), flush=True)

    def _wait(self, name: str) -> None:
        while name not in self._done:
            told = _pipe(self._process.stdout).readline()
            if not told:
                raise self._ended(name)
            self._done.add(told.strip())

    def _ended(self, name: str) -> Exception:
        """Return the error of a process that ended too early: from outside, or by a bug."""
        code = self._process.wait()
        if code < 0:
            return OvtoolError(
                f"the process that draws {name} was ended by signal {-code}",
                "it needs some 300 MiB of memory; run the command again",
            )
        said = (self._folder / "errors").read_text(encoding="utf-8", errors="replace")
        return RuntimeError(f"drawing {name} failed with code {code}: {said[-2000:]}")

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()


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


def main(folder: Path) -> None:
    """Draw what is named on standard input, and name there what is done.

    Args:
        folder: Has ``NAME.json``, and gets ``NAME.svg`` and ``NAME.png``.
    """
    import vl_convert

    for line in sys.stdin:
        name = line.strip()
        if name == _LIBRARY:
            (folder / _LIBRARY).write_bytes(_library())
        else:
            spec = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            svg: str = vl_convert.vegalite_to_svg(spec)
            (folder / f"{name}.svg").write_text(svg, encoding="utf-8", newline="\n")
            png: bytes = vl_convert.svg_to_png(svg, scale=_PIXELS)
            (folder / f"{name}.png").write_bytes(png)
        print(name, flush=True)  # noqa: T201 - this is how it answers


if __name__ == "__main__":
    main(Path(sys.argv[1]))
