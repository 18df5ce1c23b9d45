"""The writes of a command below a folder, from a log of strace, replayed on a :mod:`disk`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.robustness.disk import Disk, Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAMES = (
    *("openat", "write", "pwrite64", "writev", "fsync", "fdatasync", "ftruncate", "lseek", "close"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat"),
    *("dup", "dup2", "dup3", "fcntl", "clone", "clone3"),
)
OPTIONS = ("-f", "-xx", "-s", "100000000", "-e", "signal=none", "-e", f"trace={','.join(_NAMES)}")
"""Options of strace."""
_CALL = re.compile(r"^(?P<pid>\d+) +(?P<name>\w+)\((?P<args>.*)\) += (?P<result>-?\d+)")
_PAUSED = re.compile(r"^(?P<pid>\d+) +(?P<start>\w+\(.*?),? *<unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(?P<pid>\d+) +<\.\.\. \w+ resumed>,? ?(?P<rest>.*)$")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass
class _Open:
    """An open file: its path, its node if it is below the folder, and the position."""

    path: str
    node: Node | None
    position: int = 0
    append: bool = False


@dataclass
class Replay:
    """Replays a log.

    Args:
        folder: The folder on the disk, in its state before the command.
        acknowledged: Path of a file outside of it; what is written there is collected.
    """

    folder: Path
    acknowledged: Path
    said: str = ""
    """What was written to the file ``acknowledged`` so far."""
    _files: dict[tuple[str, int], _Open] = field(default_factory=dict)
    _owner: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.disk = Disk(self.folder)
        self._prefix = f"{self.folder}/"

    def run(self, log: Path) -> Iterator[str]:
        """Apply calls, and yield the name of each that changed the disk."""
        calls = list(_calls(log))
        for call in calls:  # a thread has the files of its process
            if call["name"].startswith("clone") and "CLONE_THREAD" in call["args"]:
                self._owner[call["result"]] = call["pid"]
        for call in calls:
            result = int(call["result"])
            handle = getattr(self, f"_{call['name'].rstrip('0123456789')}", None)
            if result >= 0 and handle is not None:
                texts = _STRING.findall(call["args"])
                strings = [bytes.fromhex(text.replace("\\x", "")) for text in texts]
                if handle(self._process(call["pid"]), call["args"], strings, result):
                    yield "write" if "write" in call["name"] else call["name"]

    def _process(self, pid: str) -> str:
        while pid in self._owner:
            pid = self._owner[pid]
        return pid

    def _inside(self, path: str) -> str | None:
        return path.removeprefix(self._prefix) if path.startswith(self._prefix) else None

    def _path(self, process: str, base: str, name: bytes) -> str:
        text = name.decode()
        if text.startswith("/") or base == "AT_FDCWD":
            return text
        opened = self._files.get((process, int(base)))
        return f"{opened.path}/{text}" if opened else text

    def _openat(self, process: str, args: str, strings: list[bytes], result: int) -> bool:
        path = self._path(process, args.split(",", maxsplit=1)[0], strings[0])
        inside, changed = self._inside(path), False
        node = self.disk.root if path == str(self.folder) else None
        if inside is not None:
            node = self.disk.find(inside)
            if node is None and "O_CREAT" in args:
                node, changed = self.disk.create(inside), True
            elif node is not None and "O_TRUNC" in args and node.data:
                node.data.clear()
                changed = True
        self._files[process, result] = _Open(path, node, append="O_APPEND" in args)
        return changed

    def _write(self, process: str, args: str, strings: list[bytes], result: int) -> bool:
        opened = self._files.get((process, int(args.split(",", maxsplit=1)[0])))
        if opened is None:
            return False
        data = b"".join(strings)[:result]
        if opened.path == str(self.acknowledged):
            self.said += data.decode()
            return True
        if opened.node is None:
            return False
        start = len(opened.node.data) if opened.append else opened.position
        _put(opened.node, start, data)
        opened.position = start + len(data)
        return True

    _writev = _write

    def _pwrite(self, process: str, args: str, strings: list[bytes], result: int) -> bool:
        opened = self._files.get((process, int(args.split(",", maxsplit=1)[0])))
        if opened is None or opened.node is None:
            return False
        _put(opened.node, int(args.rpartition(",")[2]), strings[0][:result])
        return True

    def _lseek(self, process: str, args: str, _: list[bytes], result: int) -> bool:
        if opened := self._files.get((process, int(args.split(",", maxsplit=1)[0]))):
            opened.position = result
        return False

    def _ftruncate(self, process: str, args: str, _: list[bytes], __: int) -> bool:
        number, length = args.split(",")[:2]
        opened = self._files.get((process, int(number)))
        if opened is None or opened.node is None:
            return False
        before = len(opened.node.data)
        del opened.node.data[int(length) :]
        _put(opened.node, int(length), b"")
        return before != int(length)

    def _fsync(self, process: str, args: str, _: list[bytes], __: int) -> bool:
        opened = self._files.get((process, int(args)))
        if opened is None or opened.node is None:
            return False
        self.disk.sync(opened.node)
        return True

    _fdatasync = _fsync

    def _rename(self, _: str, __: str, strings: list[bytes], ___: int) -> bool:
        return self._move(strings[0].decode(), strings[1].decode())

    def _renameat(self, process: str, args: str, strings: list[bytes], _: int) -> bool:
        parts = args.split(", ")
        old = self._path(process, parts[0], strings[0])
        new = self._path(process, parts[2], strings[1])
        return self._move(old, new, exchange="RENAME_EXCHANGE" in args)

    def _move(self, old: str, new: str, *, exchange: bool = False) -> bool:
        source, target = self._inside(old), self._inside(new)
        if source is None and target is None:
            return False
        assert source is not None, f"{old} is not below the folder"
        assert target is not None, f"{new} is not below the folder"
        self.disk.rename(source, target, exchange=exchange)
        return True

    def _unlink(self, _: str, __: str, strings: list[bytes], ___: int) -> bool:
        return self._drop(strings[0].decode())

    _rmdir = _unlink

    def _unlinkat(self, process: str, args: str, strings: list[bytes], _: int) -> bool:
        return self._drop(self._path(process, args.split(",", maxsplit=1)[0], strings[0]))

    def _drop(self, path: str) -> bool:
        inside = self._inside(path)
        if inside is None:
            return False
        self.disk.remove(inside)
        return True

    def _mkdir(self, _: str, __: str, strings: list[bytes], ___: int) -> bool:
        inside = self._inside(strings[0].decode())
        if inside is None:
            return False
        self.disk.create(inside, folder=True)
        return True

    def _dup(self, process: str, args: str, _: list[bytes], result: int) -> bool:
        if opened := self._files.get((process, int(args.split(",", maxsplit=1)[0]))):
            self._files[process, result] = opened
        return False

    def _fcntl(self, process: str, args: str, strings: list[bytes], result: int) -> bool:
        return self._dup(process, args, strings, result) if "F_DUPFD" in args else False

    def _close(self, process: str, args: str, _: list[bytes], __: int) -> bool:
        self._files.pop((process, int(args)), None)
        return False


def _put(node: Node, start: int, data: bytes) -> None:
    node.data.extend(bytes(max(0, start - len(node.data))))
    node.data[start : start + len(data)] = data


def _calls(log: Path) -> Iterator[dict[str, str]]:
    """Yield calls in the order of their ends, with the parts of interrupted lines joined."""
    paused: dict[str, str] = {}
    with log.open() as stream:
        for line in stream:
            if match := _PAUSED.match(line):
                paused[match["pid"]] = match["start"]
                continue
            whole = line
            if match := _RESUMED.match(line):
                start, rest = paused.pop(match["pid"], ""), match["rest"]
                whole = f"{match['pid']} {start}{'' if rest.startswith(')') else ', '}{rest}"
            if match := _CALL.match(whole):
                yield match.groupdict()
