"""The installed Python packages that a bundle runs on, with their licenses."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import TYPE_CHECKING

from ovtool.deploy.manifest import Package

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ovtool.deploy.manifest import Purpose


def list_packages(direct: Mapping[str, Purpose]) -> Iterator[Package]:
    """Yield the installed packages that a bundle needs, and their dependencies.

    ``direct`` has the packages that its code imports, with their purposes.
    """
    pending = list(direct.items())
    seen: set[str] = set()
    while pending:
        name, purpose = pending.pop(0)
        if name in seen:
            continue
        seen.add(name)
        try:
            installed = distribution(name)
        except PackageNotFoundError:  # a dependency of another system
            continue
        yield Package(
            name=name,
            version=installed.version,
            license=_license(installed),
            purpose=purpose,
            direct=name in direct,
        )
        for requirement in installed.requires or ():
            needed = re.match(r"[A-Za-z0-9._-]+", requirement)
            if needed and "extra ==" not in requirement:
                pending.append((needed[0].lower(), purpose))


def _license(installed: Distribution) -> str:
    """Return the license that a package declares, in one line."""
    fields = installed.metadata
    declared = [fields[key] for key in ("License-Expression", "License") if key in fields]
    line = " ".join(next(iter(declared), "unknown").split())
    return "unknown" if line.upper() == "UNKNOWN" or len(line) > 200 else line
