"""A disk that loses power: what was not flushed may be there or not.

The model follows POSIX: ``fsync`` of a file keeps its content, and ``fsync`` of a folder keeps the
names in it.  Without them, content is old, new or torn, and each change of names happened or not.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


@dataclass(eq=False)
class Node:
    """A file or folder: as running programs see it, and as the disk has it."""

    folder: bool
    data: bytearray = field(default_factory=bytearray)
    names: dict[str, Node] = field(default_factory=dict)
    kept: bytes = b""
    kept_names: dict[str, Node] = field(default_factory=dict)


@dataclass(eq=False)
class Change:
    """A change of names that no ``fsync`` has kept yet: removals, then additions."""

    folders: tuple[Node, ...]
    apply: Callable[[dict[Node, dict[str, Node]]], None]


Tree = dict[str, bytes | None]
"""Relative paths with their contents; None is a folder."""


class Disk:
    """A folder and the changes to it, by path relative to it."""

    def __init__(self, folder: Path) -> None:
        self.root = _read(folder)
        self.pending: list[Change] = []

    def find(self, path: str) -> Node | None:
        """Return the node of a path."""
        node: Node | None = self.root
        for name in filter(None, path.split("/")):
            node = node.names.get(name) if node else None
        return node

    def _place(self, path: str) -> tuple[Node, str]:
        parent, _, name = path.rpartition("/")
        folder = self.find(parent)
        assert folder is not None, path
        return folder, name

    def create(self, path: str, *, folder: bool = False) -> Node:
        """Add an empty file or folder."""
        parent, name = self._place(path)
        node = Node(folder)
        self._change((parent,), lambda names: names[parent].__setitem__(name, node))
        return node

    def remove(self, path: str) -> None:
        """Remove a name."""
        parent, name = self._place(path)
        self._change((parent,), lambda names: names[parent].pop(name, None) and None)

    def rename(self, old: str, new: str, *, exchange: bool = False) -> None:
        """Rename, or exchange two names, in one step."""
        (source, before), (target, after) = self._place(old), self._place(new)
        node, other = source.names[before], target.names.get(after)

        def apply(names: dict[Node, dict[str, Node]]) -> None:
            names[source].pop(before, None)
            names[target][after] = node
            if exchange and other is not None:
                names[source][before] = other

        self._change((source, target), apply)

    def _change(
        self, folders: tuple[Node, ...], apply: Callable[[dict[Node, dict[str, Node]]], None]
    ) -> None:
        apply({folder: folder.names for folder in folders})
        self.pending.append(Change(folders, apply))

    def sync(self, node: Node) -> None:
        """Keep the content of a file, or the names in a folder."""
        if not node.folder:
            node.kept = bytes(node.data)
            return
        kept = [change for change in self.pending if node in change.folders]
        for change in kept:
            change.apply({folder: folder.kept_names for folder in change.folders})
            self.pending.remove(change)

    def live(self) -> Tree:
        """Return what running programs see, or what a kill leaves."""
        return _tree(self.root, lambda node: node.names, lambda node: bytes(node.data))

    def after_power_loss(self) -> Iterator[Tree]:
        """Yield what the disk may have after a loss of power now."""
        contents: list[Callable[[Node], bytes]] = [
            lambda node: node.kept,
            lambda node: bytes(node.data),
            _torn,
        ]
        for changes, content in itertools.product(_subsets(self.pending), contents):
            names = _Names(changes)
            yield _tree(self.root, names.of, content)


class _Names:
    """The names on the disk, if some of the pending changes happened."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._names: dict[Node, dict[str, Node]] = {}
        for change in changes:
            change.apply({folder: self.of(folder) for folder in change.folders})

    def of(self, node: Node) -> dict[str, Node]:
        return self._names.setdefault(node, dict(node.kept_names))


def _subsets(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """Yield the first changes, for every count, and all but one, for every one."""
    for count in range(len(changes) + 1):
        yield list(changes[:count])
    for index in range(len(changes) - 1):
        yield [*changes[:index], *changes[index + 1 :]]


def _torn(node: Node) -> bytes:
    """Return a content of which half of what was added is on the disk."""
    return bytes(node.data[: (len(node.kept) + len(node.data)) // 2])


def _read(path: Path) -> Node:
    if not path.is_dir():
        data = path.read_bytes()
        return Node(folder=False, data=bytearray(data), kept=data)
    names = {child.name: _read(child) for child in path.iterdir()}
    return Node(folder=True, names=names, kept_names=dict(names))


def _tree(
    node: Node,
    names: Callable[[Node], dict[str, Node]],
    content: Callable[[Node], bytes],
    path: str = "",
) -> Tree:
    if not node.folder:
        return {path: content(node)}
    tree: Tree = {path: None} if path else {}
    for name, child in names(node).items():
        tree |= _tree(child, names, content, f"{path}/{name}" if path else name)
    return tree


def digest(tree: Tree) -> str:
    """Return a hash of a tree."""
    return hashlib.sha256(repr(sorted(tree.items())).encode()).hexdigest()


def write(tree: Tree, folder: Path) -> None:
    """Write a tree into a new folder."""
    folder.mkdir()
    for path, content in tree.items():
        if content is None:
            (folder / path).mkdir(parents=True, exist_ok=True)
        else:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
