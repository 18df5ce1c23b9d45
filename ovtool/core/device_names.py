"""Device names as OpenVINO writes them: ``CPU``, ``GPU.1``, ``NPU``, ``AUTO:GPU,CPU``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ovtool.core.errors import InputError
from ovtool.core.registry import suggestion

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS = ("CPU", "GPU", "NPU")
VIRTUAL = {
    "AUTO": "selects the first device of its list that can run the model; no list: any device",
    "MULTI": "runs requests on several devices in parallel",
    "HETERO": "splits a model across several devices",
    "BATCH": "combines single requests into batches for one device",
}
"""Virtual devices, which delegate the work, and their behavior."""
NEEDS_A_LIST = ("MULTI", "HETERO", "BATCH")
EMULATED, ESTIMATE = "emulated", "estimate"
"""Marks of emulated devices and of devices with estimates."""


def mark_device(text: str, mark: str = EMULATED) -> str:
    """Return the name of a device, or a text that begins with it, with a mark.

    >>> mark_device("NPU", ESTIMATE)
    'NPU (estimate)'
    """
    return f"{text} ({mark})"


def unmark_device(text: str) -> str:
    """Return a text without the mark of :func:`mark_device`."""
    return text.removesuffix(f" ({EMULATED})").removesuffix(f" ({ESTIMATE})")


def kind_of(name: str) -> str:
    """Return the kind of a device: ``GPU`` of ``GPU.1``, ``AUTO`` of ``AUTO:GPU,CPU``."""
    return name.partition(":")[0].partition(".")[0]


def npu_platform(name: str) -> str | None:
    """Return the platform in the name of an NPU, available or not; None without a platform.

    >>> npu_platform("NPU.4000"), npu_platform("NPU"), npu_platform("AUTO:NPU.4000,CPU")
    ('4000', None, None)
    """
    match = re.fullmatch(r"NPU\.([0-9]{2,})", name)
    return match[1] if match else None


def members(name: str) -> tuple[str, ...]:
    """Return the member devices of a virtual device; empty without a list.

    >>> members("AUTO:GPU.1,-CPU"), members("BATCH:GPU(8)"), members("CPU"), members("AUTO")
    (('GPU.1',), ('GPU',), (), ())
    """
    return tuple(part for part in _listed(name) if not part.startswith("-"))


def _listed(name: str) -> tuple[str, ...]:
    """Return the list of a virtual device; a leading ``-`` excludes a device."""
    parts = (part.strip().partition("(")[0] for part in name.partition(":")[2].split(","))
    return tuple(part for part in parts if part)


def normalize(name: str) -> str:
    """Return the name of a device in OpenVINO's spelling; users may write it in any case.

    >>> normalize("gpu.0"), normalize("auto:gpu,-cpu")
    ('GPU.0', 'AUTO:GPU,-CPU')
    """
    return name.strip().upper()


def check(name: str) -> None:
    """Check the name of a device.

    Raises:
        InputError: The name is unknown, or a virtual device needs a list.
    """
    kind = kind_of(name)
    if kind not in (*KINDS, *VIRTUAL):
        raise InputError(f"unknown device {name!r}", suggestion(name, [*KINDS, *VIRTUAL]))
    if kind in KINDS:
        if ":" in name:
            raise InputError(
                f"unknown device {name!r}: {kind} has no list", f"AUTO:{name.partition(':')[2]}"
            )
        return
    listed = members(name)
    for member in listed:
        if kind_of(member) not in KINDS:
            raise InputError(
                f"unknown device {member!r} in {name!r}", suggestion(member, list(KINDS))
            )
    if kind in NEEDS_A_LIST and not listed:
        raise InputError(f"{name} needs a list of devices", f"{kind}:GPU,CPU or {kind}:CPU")
    if kind == "BATCH" and len(listed) > 1:
        raise InputError(f"{name}: BATCH supports one device", f"BATCH:{listed[0]}")


def is_virtual(name: str) -> bool:
    """Whether a device delegates the work to other devices."""
    return kind_of(name) in VIRTUAL


def same_device(a: str, b: str) -> bool:
    """Whether two names may mean the same device: ``GPU`` is any of ``GPU.0``, ``GPU.1``."""
    return kind_of(a) == kind_of(b) and (a == b or "." not in a or "." not in b)


def may_run_on(name: str, device: str) -> bool:
    """Whether ``name`` is ``device``, or a virtual device that may delegate to it.

    A virtual device without a list may delegate to every device that it does not exclude.

    >>> [may_run_on(name, "GPU.0") for name in ("GPU", "AUTO:GPU.1,CPU", "AUTO", "AUTO:-GPU")]
    [True, False, True, False]
    """
    candidates = members(name) if is_virtual(name) else (name,)
    if candidates:
        return any(same_device(candidate, device) for candidate in candidates)
    return not any(same_device(part.removeprefix("-"), device) for part in _listed(name))


def find_idle_members(device: str, ran_on: Sequence[str]) -> list[str]:
    """Return the members of a virtual device that did not run the model.

    AUTO runs on one device of its list: the other members count only if the CPU ran.

    >>> find_idle_members("AUTO:GPU,CPU", ["CPU"]), find_idle_members("AUTO:GPU,CPU", ["GPU.0"])
    (['GPU'], [])
    """
    listed = members(device)
    if kind_of(device) == "AUTO":
        if {kind_of(name) for name in ran_on} != {"CPU"}:
            return []
        return [m for m in listed or ("GPU", "NPU") if kind_of(m) != "CPU"]
    return [m for m in listed if not any(same_device(m, name) for name in ran_on)]
