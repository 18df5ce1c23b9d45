"""The kinds of bundles, one module each: the texts they have, and the rungs they can climb."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.core.errors import InputError
from ovtool.core.registry import suggestion
from ovtool.deploy.targets.cpp import CppTarget
from ovtool.deploy.targets.ovms import OvmsTarget
from ovtool.deploy.targets.python import PythonTarget
from ovtool.deploy.targets.triton import TritonTarget

if TYPE_CHECKING:
    from ovtool.deploy.targets.target import Target

TARGETS: dict[str, Target] = {
    target.name: target for target in (PythonTarget(), OvmsTarget(), TritonTarget(), CppTarget())
}


def find_target(name: str) -> Target:
    """Return the target of a name.

    Raises:
        InputError: There is none.
    """
    if name not in TARGETS:
        raise InputError(f"unknown target {name!r}", suggestion(name, list(TARGETS)))
    return TARGETS[name]
