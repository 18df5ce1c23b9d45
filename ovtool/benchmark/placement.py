"""What a trial really ran on, as its compiled model tells, and whether that is what was asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.benchmark.session import TrialFailedError
from ovtool.core import device_names as devicename
from ovtool.core.measurement import Note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Placed:
    """Where it ran; ``ran_on`` names the devices, None where they are not told."""

    ran_on: str | None
    notes: tuple[Note, ...] = ()


def placed(device: str, told: Sequence[str], layers: Mapping[str, int] | None = None) -> Placed:
    """Return what a trial of ``device`` ran on.

    Args:
        device: What was asked for.
        told: ``EXECUTION_DEVICES`` of the compiled model; AUTO puts the device that stands in for
            another while that compiles into parentheses.
        layers: Operations by device, where they are spread over several.

    Raises:
        TrialFailedError: Another device did the work of one that was named.
    """
    ran_on = [name.strip("() ") for name in told]
    if not ran_on:
        return Placed(None)
    listed = ", ".join(ran_on)
    if not devicename.is_virtual(device):
        if not all(devicename.same_device(device, name) for name in ran_on):
            raise TrialFailedError(f"it ran on {listed}: that is no figure of {device}")
        return Placed(listed)
    notes = [] if layers is None else [_spread(layers)]
    absent = devicename.not_behind(device, ran_on)
    if absent:
        notes.append(
            Note(
                "fallback",
                f"{device} ran on {listed}: this is no figure of {' or '.join(absent)}",
                remedy="ovtool devices --why says why a device is not there",
            )
        )
    return Placed(listed, tuple(notes))


def _spread(layers: Mapping[str, int]) -> Note:
    shown = ", ".join(f"{name} {count}" for name, count in layers.items())
    return Note("placement", "operations of the model by device, as HETERO places them", shown)
