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
    "AUTO": "takes the first device of its list that can run the model; without one, it chooses",
    "MULTI": "runs requests on several devices at once",
    "HETERO": "splits a model over several devices",
    "BATCH": "gathers single requests into batches for one device",
}
"""Devices that hand the work to others, and what they do."""
NEEDS_A_LIST = ("MULTI", "HETERO", "BATCH")
EMULATED, ESTIMATE = "emulated", "estimate"
"""Marks of a device that something else plays, and of one that an estimate stands for."""


def mark_device(text: str, mark: str = EMULATED) -> str:
    """Return the name of a device, or a text that begins with it, with a mark.

    >>> mark_device("NPU", ESTIMATE)
    'NPU (estimate)'
    """
    return f"{text} ({mark})"


def unmark_device(text: str) -> str:
    """Return the text that :func:`mark_device` was given."""
    return text.removesuffix(f" ({EMULATED})").removesuffix(f" ({ESTIMATE})")


def kind_of(name: str) -> str:
    """Return the kind of a device: ``GPU`` of ``GPU.1``, ``AUTO`` of ``AUTO:GPU,CPU``."""
    return name.partition(":")[0].partition(".")[0]


def npu_platform(name: str) -> str | None:
    """Return the platform that the name of an NPU gives, which need not be here; None without one.

    >>> npu_platform("NPU.4000"), npu_platform("NPU"), npu_platform("AUTO:NPU.4000,CPU")
    ('4000', None, None)
    """
    found = re.fullmatch(r"NPU\.([0-9]{2,})", name)
    return found[1] if found else None


def members(name: str) -> tuple[str, ...]:
    """Return the devices that a virtual one hands its work to; none where it chooses itself.

    >>> members("AUTO:GPU.1,-CPU"), members("BATCH:GPU(8)"), members("CPU"), members("AUTO")
    (('GPU.1',), ('GPU',), (), ())
    """
    return tuple(part for part in _listed(name) if not part.startswith("-"))


def _listed(name: str) -> tuple[str, ...]:
    """Return the list of a virtual device; a leading ``-`` marks what it shall not take."""
    parts = (part.strip().partition("(")[0] for part in name.partition(":")[2].split(","))
    return tuple(part for part in parts if part)


def check(name: str) -> None:
    """Check a name that a user wrote.

    Raises:
        InputError: It is none of OpenVINO's, or a virtual device lacks its list.
    """
    kind = kind_of(name)
    if kind not in (*KINDS, *VIRTUAL):
        raise InputError(f"unknown device {name!r}", suggestion(name, [*KINDS, *VIRTUAL]))
    if kind in KINDS:
        if ":" in name:
            raise InputError(
                f"unknown device {name!r}: {kind} takes no list", f"AUTO:{name.partition(':')[2]}"
            )
        return
    listed = members(name)
    for member in listed:
        if kind_of(member) not in KINDS:
            raise InputError(
                f"unknown device {member!r} in {name!r}", suggestion(member, list(KINDS))
            )
    if kind in NEEDS_A_LIST and not listed:
        raise InputError(
            f"{name} does not say which devices it is of", f"write {kind}:GPU,CPU or {kind}:CPU"
        )
    if kind == "BATCH" and len(listed) > 1:
        raise InputError(f"{name}: BATCH is of one device", f"write BATCH:{listed[0]}")


def is_virtual(name: str) -> bool:
    """Whether the work is handed to other devices."""
    return kind_of(name) in VIRTUAL


def same_device(asked: str, told: str) -> bool:
    """Whether two names may mean one device: ``GPU`` is any of ``GPU.0``, ``GPU.1``."""
    if kind_of(asked) != kind_of(told):
        return False
    return asked == told or "." not in asked or "." not in told


def may_run_on(name: str, device: str) -> bool:
    """Whether a device is another one, or may hand its work to it.

    A virtual device that names none may take every one but those that it shall not take.

    >>> [may_run_on(name, "GPU.0") for name in ("GPU", "AUTO:GPU.1,CPU", "AUTO", "AUTO:-GPU")]
    [True, False, True, False]
    """
    taken = members(name) if is_virtual(name) else (name,)
    if taken:
        return any(same_device(one, device) for one in taken)
    return not any(same_device(one.removeprefix("-"), device) for one in _listed(name))


def not_behind(device: str, ran_on: Sequence[str]) -> list[str]:
    """Return the devices whose figures a virtual one's could be taken for, and that did not run.

    AUTO runs on one device of its list: only where that is the CPU did the others stand back.

    >>> not_behind("AUTO:GPU,CPU", ["CPU"]), not_behind("AUTO:GPU,CPU", ["GPU.0"])
    (['GPU'], [])
    """
    listed = members(device)
    if kind_of(device) == "AUTO":
        if {kind_of(name) for name in ran_on} != {"CPU"}:
            return []
        return [m for m in listed or ("GPU", "NPU") if kind_of(m) != "CPU"]
    return [m for m in listed if not any(same_device(m, told) for told in ran_on)]
