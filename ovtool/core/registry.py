"""Plug points as one visible table each: name -> ``module:function`` -> what to install.

Nothing is imported until an entry is used, so listing what exists costs nothing.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.core.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a table.

    Args:
        target: ``module:function`` that does the work.
        summary: What it is, in a few words, for lists and help.
        extra: Name of the optional dependency group (``pip install 'ovtool[extra]'``) it needs.
    """

    target: str
    summary: str
    extra: str | None = None


def suggestion(name: str, known: Mapping[str, object] | list[str]) -> str:
    """Return ``"did you mean X?"`` for a misspelt name, or the list of known ones."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"


@dataclass(frozen=True, slots=True)
class Registry:
    """A table of interchangeable parts of one kind (``"method"``, ``"source"``, ...)."""

    kind: str
    entries: Mapping[str, Entry]

    def __iter__(self) -> Iterator[str]:
        """Return the names."""
        return iter(self.entries)

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a row."""
        return name in self.entries

    def entry(self, name: str) -> Entry:
        """Return a row.

        Raises:
            InputError: There is no such row; the hint suggests the nearest name.
        """
        if name not in self.entries:
            raise InputError(f"unknown {self.kind} {name!r}", suggestion(name, dict(self.entries)))
        return self.entries[name]

    def load(self, name: str) -> Any:
        """Import and return the function of a row.

        Raises:
            InputError: There is no such row.
            MissingDependencyError: A package that it needs is not installed.
        """
        entry = self.entry(name)
        module, _, attribute = entry.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise missing_package(f"{self.kind} {name}", error, entry.extra) from error


def missing_package(
    what: str, error: ModuleNotFoundError, extra: str | None
) -> MissingDependencyError:
    """Return the error that says which package ``what`` needs and how to install it."""
    package = (error.name or str(error)).partition(".")[0]
    wanted = f"'ovtool[{extra}]'" if extra else package
    return MissingDependencyError(
        f"{what} needs the package {package}, which is not installed", f"pip install {wanted}"
    )


def package_folder(what: str, package: str, extra: str) -> Path:
    """Return the folder of an installed package, which is found and not imported.

    Args:
        what: What needs it, for the message.
        package: Its import name.
        extra: The optional dependency group that it is in.

    Raises:
        MissingDependencyError: It is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise missing_package(what, ModuleNotFoundError(name=package), extra)
    return Path(next(iter(spec.submodule_search_locations)))
