"""The memory limit of a command: an allocation beyond it is an error instead of a killed machine.

The limit counts what a process allocates, not the files that it maps (``RLIMIT_DATA`` of Linux).
Workers inherit it, each with its own count.
"""

from __future__ import annotations

import os
import re
import sys

import psutil

from ovtool.core import input_limits
from ovtool.core.errors import InputError
from ovtool.core.units import MIB
from ovtool.system.host import Host

VARIABLE = input_limits.VARIABLE
"""Environment variable: a size such as ``8 GiB``, or ``none``."""
_UNITS = {"MIB": 1 << 20, "GIB": 1 << 30, "MB": 10**6, "GB": 10**9}
_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[A-Za-z]+)")
_LEAST_MIB, _LEAST_PER_CPU_MIB = 2048, 64
"""Least limit by default: libraries and the stacks of their threads allocate more than they use."""
_SIGNS = re.compile(
    r"bad_alloc|bad allocation|(can't|cannot|fail\w* to|unable to) allocate"
    r"|array is too big|maximum allowed (size|dimension)",
    re.I,
)
"""Failed allocations in the errors of OpenVINO, PyTorch, ONNX Runtime, PyArrow and NumPy."""


def reason_unlimited() -> str | None:
    """Return why commands run without a memory limit on this system; None if they have one."""
    if sys.platform != "linux":
        return f"not implemented for {sys.platform}"
    return f"{VARIABLE} is none" if select_limit() is None else None


def select_limit(host: Host | None = None) -> int | None:
    """Return the limit in bytes: of the user, or the available memory; None without a limit.

    Raises:
        InputError: The user's limit is not a size.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if text.lower() == "none":
        return None
    if text:
        match = _SIZE.fullmatch(text)
        unit = _UNITS.get(match["unit"].upper()) if match else None
        if match is None or unit is None or not (size := int(float(match["number"]) * unit)):
            raise InputError(f"{VARIABLE} is not a size: {text}", "use a size as 8 GiB, or none")
        return min(size, sys.maxsize)
    host = host or Host()
    available = psutil.virtual_memory().available + psutil.swap_memory().free
    group = host.cgroup_memory_bytes()
    if isinstance(group, int):
        available = min(available, group)
    least = _LEAST_MIB + _LEAST_PER_CPU_MIB * host.usable_cpus()
    return int(max(available, least * MIB))


def limit_memory() -> None:
    """Limit the memory of this process and of its future children.

    Raises:
        InputError: The user's limit is not a size.
    """
    if sys.platform != "linux":
        return
    import resource

    limit = select_limit()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if limit is not None and (hard == resource.RLIM_INFINITY or limit < hard):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or one of its causes, is a failed allocation."""
    while error is not None:
        if isinstance(error, MemoryError) or _SIGNS.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def describe() -> tuple[str, str]:
    """Return the error and the hint of a failed allocation."""
    limit = input_limits.memory_limit()
    text = "" if limit is None else f" (limit {limit / 2**30:.3g} GiB)"
    return (
        f"out of memory{text}",
        f"use a smaller model or batch, or set another limit: {VARIABLE} (a size, or none)",
    )
