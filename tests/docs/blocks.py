"""Console and Python blocks of the documentation: parsing, running, comparing, updating.

A block runs in the folder of its page, after the blocks before it.  An HTML comment before the
block changes that:

- ``<!-- no-run: REASON -->``: the block is not run.
- ``<!-- run: exit=1 -->``: the exit code of the last command.
- ``<!-- run: output=any -->``: only the exit code is compared.
- ``<!-- run: quick=1 -->``: the sweep is shortened by :data:`QUICK`.

``python -m tests.docs.blocks PAGE...`` writes the current output into pages.

In the output, a line ``...`` stands for any number of lines.  Numbers, spaces, lines of tables and
verdicts are not compared.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
QUICK = ["--rounds", "3", "--round-s", "0.03", "--max-seconds", "0.5", "--no-starts"]
"""Options that the tests add to the sweeps of blocks marked ``quick``."""
LASTING = ("error:", "hint:", "warning:")
"""Beginnings of the lines on stderr that stay on a terminal; the others are progress."""
WIDTH = 100
"""Columns of the pages."""

_BLOCK = re.compile(
    r"(?:^ *<!-- (?P<verb>no-run|run): (?P<argument>.*?) -->\n+)?"
    r"^(?P<fence> *```)(?P<language>console|python)\n(?P<body>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
_VARIABLE = (
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"/[\w.+~/-]*/(?=[\w.-])"), ""),
    (re.compile(r"\b(contended|throttled|unsteady|stable)\b"), "VERDICT"),
    (re.compile(r"[-+]?\d[\d,.]*(e[-+]?\d+)?"), "0"),
    (re.compile(r"[─━]+"), "─"),
    (re.compile(r"\s+"), " "),
)


@dataclass(frozen=True)
class Command:
    """A command and the lines that the page prints after it."""

    line: str
    output: str


@dataclass(frozen=True)
class Block:
    """A block of a page."""

    page: Path
    line: int
    language: str
    body: str
    span: tuple[int, int]
    skip: str | None = None
    options: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"

    @property
    def commands(self) -> list[Command]:
        parts = re.split(r"^\$ (.*)\n", self.body, flags=re.MULTILINE)
        return [Command(*pair) for pair in zip(parts[1::2], parts[2::2], strict=True)]


def read_blocks(page: Path) -> list[Block]:
    """Return the console and Python blocks of a page."""
    text = page.read_text(encoding="utf-8")
    blocks = []
    for match in _BLOCK.finditer(text):
        verb, argument = match["verb"], match["argument"]
        blocks.append(
            Block(
                page,
                text[: match.start("fence")].count("\n") + 1,
                match["language"],
                textwrap.dedent(match["body"]),
                match.span("body"),
                argument if verb == "no-run" else None,
                dict(part.split("=") for part in argument.split()) if verb == "run" else {},
            )
        )
    return blocks


def normalize(text: str) -> str:
    """Return text without what differs from run to run and from machine to machine."""
    for pattern, replacement in _VARIABLE:
        text = pattern.sub(replacement, text)
    return text.strip()


def keep_lasting(err: str) -> str:
    """Return errors and warnings, with the lines that they continue on, without progress."""
    kept: list[str] = []
    before = ""
    for line in err.splitlines():
        first = line.partition(" ")[0]
        continues = bool(before) and len(f"{before.rstrip()} {first}") > WIDTH
        before = line if line.startswith(LASTING) or continues else ""
        if before:
            kept.append(line.rstrip() + "\n")
    return "".join(kept)


def find_difference(expected: str, actual: str) -> str | None:
    """Return how an output differs from the page, or None."""
    parts = re.split(r"^\.\.\.\n", expected, flags=re.MULTILINE)
    wanted = [normalize(part) for part in parts]
    if len(parts) == 1:
        matches = wanted[0] == normalize(actual)
    else:
        pattern = ".*".join(re.escape(part) for part in wanted)
        matches = re.fullmatch(pattern, normalize(actual), re.DOTALL) is not None
    return None if matches else f"the page prints:\n{expected}\nthe command prints:\n{actual}"


class Workspace:
    """A folder in which the blocks of a page run, in this process: imports are paid once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, object] = {"__name__": "__docs__"}

    def run_command(self, line: str, *, quick: bool = False) -> tuple[int, str]:
        """Run a command; return its exit code and what it leaves on a terminal."""
        words, _, target = line.partition(" > ")
        arguments = shlex.split(words)
        if arguments[0] == "cat":
            return 0, "".join((self.folder / name).read_text() for name in arguments[1:])
        assert arguments[0] == "ovtool", f"only ovtool and cat run in the tests: {line}"
        extra = QUICK if quick and arguments[1] == "sweep" else []
        if quick and arguments[1] == "run":
            extra = [option for option in QUICK if option != "--no-starts"]
        status, out, err = self._capture(lambda: _main([*arguments, *extra]))
        if target:
            (self.folder / target.strip()).write_text(out)
            out = ""
        return status, out + keep_lasting(err)

    def run_program(self, program: str) -> tuple[int, str]:
        """Run a Python block; later blocks of the page see its names."""

        def execute() -> int:
            exec(compile(program, "<block>", "exec"), self.names)
            return 0

        status, out, _ = self._capture(execute)
        return status, out

    def _capture(self, action: Callable[[], int]) -> tuple[int, str, str]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.chdir(self.folder))
            out = stack.enter_context(_redirect("stdout", 1))
            err = stack.enter_context(_redirect("stderr", 2))
            status = action()
            sys.stdout.flush()
            sys.stderr.flush()
            return status, *(Path(file.name).read_text(encoding="utf-8") for file in (out, err))


def _main(arguments: list[str]) -> int:
    from ovtool.cli.main import main

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    saved, sys.argv = sys.argv, arguments
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = saved
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


@contextlib.contextmanager
def _redirect(stream: str, number: int) -> Iterator[IO[str]]:
    """Redirect a stream and its file descriptor, which native libraries use, into a file."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", buffering=1) as file:
        before, duplicate = getattr(sys, stream), os.dup(number)
        before.flush()
        os.dup2(file.fileno(), number)
        setattr(sys, stream, file)
        try:
            yield file
        finally:
            setattr(sys, stream, before)
            os.dup2(duplicate, number)
            os.close(duplicate)


def run_block(block: Block, workspace: Workspace, *, quick: bool = True) -> tuple[int, list[str]]:
    """Run a block; return the last exit code and the output of each command."""
    if block.language == "python":
        status, output = workspace.run_program(block.body)
        return status, [output]
    status, outputs = 0, []
    for command in block.commands:
        status, output = workspace.run_command(
            command.line, quick=quick and "quick" in block.options
        )
        outputs.append(output)
    return status, outputs


def update(page: Path, workspace: Workspace) -> None:
    """Write the output of the commands into a page; blocks with ``...`` stay as they are."""
    text, shift = page.read_text(encoding="utf-8"), 0
    for block in read_blocks(page):
        if block.skip is not None:
            continue
        status, outputs = run_block(block, workspace, quick=False)
        if block.language == "python":
            continue
        pairs = list(zip(block.commands, outputs, strict=True))
        if status != int(block.options.get("exit", "0")):
            print(f"{block.name}: exit code {status}\n{outputs[-1]}")
        if any("...\n" in command.output for command, _ in pairs):
            for command, output in pairs:
                if (difference := find_difference(command.output, output)) is not None:
                    print(f"{block.name}: {difference}")
            continue
        body = "".join(
            f"$ {c.line}\n" + "".join(x.rstrip() + "\n" for x in output.splitlines())
            for c, output in pairs
        )
        start, end = (position + shift for position in block.span)
        text = text[:start] + body + text[end:]
        shift += len(body) - (end - start)
    page.write_text(text, encoding="utf-8")


def write_workspace(folder: Path) -> Path:
    """Write the files that the pages mention: a model, samples, variants, sweeps, prices.

    The sweeps are scripted, so that choices and comparisons print the same on every machine.
    """
    from ovtool import api
    from tests.helpers import compared_sweeps, owned, sweeps

    folder.mkdir(parents=True, exist_ok=True)
    files = owned.write_all(folder)
    files.onnx.rename(folder / "classifier.onnx")
    files.labelled.rename(folder / "held-out.npz")
    files.unlabelled.rename(folder / "calibration.npz")
    fp32 = api.convert(str(folder / "classifier.onnx"), out=folder / "variants/fp32")
    data = api.CompressionData(calibration=str(folder / "calibration.npz"))
    api.compress(fp32, "int8", data=data, out=folder / "variants/int8")
    (folder / "sweeps").mkdir()
    missing = [("NPU", "no Intel NPU on the PCI bus (6 devices)")]
    sweeps.whole(folder / "sweeps/laptop", unavailable=missing)
    compared_sweeps.run(folder / "sweeps/before")
    compared_sweeps.run(folder / "sweeps/after", speed=lambda t: 0.8 if t.batch == 4 else 1.0)
    (folder / "prices.yaml").write_text('currency: EUR\nprices:\n  "Example CPU*": 0.08\n')
    return folder


if __name__ == "__main__":
    os.environ["COLUMNS"] = str(WIDTH)
    with tempfile.TemporaryDirectory() as top:
        template = write_workspace(Path(top) / "template")
        for name in sys.argv[1:]:
            copy = shutil.copytree(template, Path(top) / Path(name).stem)
            update(Path(name).resolve(), Workspace(copy))
