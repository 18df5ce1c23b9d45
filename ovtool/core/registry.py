"""Plug points, each as one table: name -> ``module:function`` -> optional dependency.

An entry is imported on use, so listing a table is cheap.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.core import units
from ovtool.core.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a table; ``target`` is ``module:function``."""

    target: str
    summary: str
    extra: str | None = None
    """Required optional dependency group: ``pip install 'ovtool[extra]'``."""
    package: str | None = None
    """Package of the group that the function imports when it is called."""


def suggestion(name: str, known: Mapping[str, object] | list[str]) -> str:
    """Return ``"did you mean X?"`` for a misspelled name, or the list of known names."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}?" if close else f"known: {_listing(list(known))}"


_LISTED_WIDTH = 75
"""Columns of a list of known names, which fits a line with its beginning."""


def _listing(names: list[str]) -> str:
    """Return the names that fit a line, and the number of the others."""
    shown = len(names)
    while shown > 1 and len(", ".join(names[:shown])) > _LISTED_WIDTH:
        shown -= 1
    return units.listing(names, shown)


@dataclass(frozen=True, slots=True)
class Registry:
    """A table of interchangeable implementations of a kind (``"method"``, ``"source"``, ...)."""

    kind: str
    entries: Mapping[str, Entry]

    def __iter__(self) -> Iterator[str]:
        """Return the names."""
        return iter(self.entries)

    def __contains__(self, name: object) -> bool:
        """Whether the table has the name."""
        return name in self.entries

    def entry(self, name: str) -> Entry:
        """Return a row.

        Raises:
            InputError: The name is unknown; the hint suggests the nearest name.
        """
        if name not in self.entries:
            raise InputError(f"unknown {self.kind} {name!r}", suggestion(name, dict(self.entries)))
        return self.entries[name]

    def load(self, name: str) -> Any:
        """Import and return the function of a row.

        Raises:
            InputError: The name is unknown.
            MissingDependencyError: A required package is not installed.
        """
        entry = self.entry(name)
        module, _, attribute = entry.target.partition(":")
        if entry.package is not None and importlib.util.find_spec(entry.package) is None:
            missing = ModuleNotFoundError(name=entry.package)
            raise missing_package(f"{self.kind} {name}", missing, entry.extra)
        try:
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise missing_package(f"{self.kind} {name}", error, entry.extra) from error


def missing_package(
    what: str, error: ModuleNotFoundError, extra: str | None
) -> MissingDependencyError:
    """Return the error of a missing package that ``what`` needs, with the install command."""
    package = (error.name or str(error)).partition(".")[0]
    requirement = f"'ovtool[{extra}]'" if extra else package
    return MissingDependencyError(
        f"{what} needs the package {package}, which is not installed", f"pip install {requirement}"
    )


def package_folder(what: str, package: str, extra: str | None, alone: str = "") -> Path:
    """Return the folder of an installed package, by its import name, without importing it.

    ``alone`` is the requirement of a package whose dependencies are not necessary for its files.

    Raises:
        MissingDependencyError: The package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        if alone:
            raise MissingDependencyError(
                f"{what} needs the package {alone.partition('=')[0]}, which is not installed",
                f"pip install --no-deps {alone}",
            )
        raise missing_package(what, ModuleNotFoundError(name=package), extra)
    return Path(next(iter(spec.submodule_search_locations)))
