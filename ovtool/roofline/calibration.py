"""What was measured of a device once, as it is stored and read back."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.variant import Record
from ovtool.roofline import model as roofline
from ovtool.roofline.model import COMPUTING, MOVING, STREAM, Roofs, Task
from ovtool.roofline.probes import OVERHEAD, SINK
from ovtool.roofline.surface import Surface

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from ovtool.core.statistics import Interval

FOLDER = "calibration"
_LEAST_SHARE = 0.25
"""Of a probe's time that must be its own layers': less tells little of them."""


class Rate(Record):
    """What was reached at some sizes, with its 95 % interval where there is one."""

    kind: str
    precision: str
    """Executed; ``any`` for what moves bytes alone."""
    sizes: tuple[float, ...] = Field(min_length=1)
    value: float = Field(gt=0, allow_inf_nan=False)
    """FLOP/s, or bytes a second."""
    ci_low: float | None = None
    ci_high: float | None = None
    verdict: str
    """Of its measurement."""


class Peak(Record):
    """The fastest matrix product in a precision."""

    hint: str
    precision: str
    flops_per_s: float = Field(gt=0, allow_inf_nan=False)
    ci_low: float | None = None
    ci_high: float | None = None
    streams: int | None = None
    verdict: str


class Overhead(Record):
    """Seconds, with a 95 % interval where there is one."""

    value_s: float = Field(ge=0, allow_inf_nan=False)
    ci_low_s: float | None = None
    ci_high_s: float | None = None


class Calibration(Record):
    """The peaks of a device, in one environment."""

    schema_version: Literal[1] = 1
    environment: str
    """The id in ``environment.json``."""
    machine: str
    device: str
    full_name: str
    created: str
    layer: Overhead
    inference: Overhead
    peaks: tuple[Peak, ...]
    rates: tuple[Rate, ...]
    left_out: tuple[str, ...] = ()
    """What could not be measured, and why."""

    @property
    def summary(self) -> str:
        """When it was made, and how the measurements went, in words."""
        counted = Counter(rate.verdict for rate in self.rates)
        told = ", ".join(f"{count} {verdict}" for verdict, count in counted.most_common())
        return f"{self.created}, {len(self.rates)} measurements: {told}"

    def roofs(self) -> Roofs:
        """Return what predictions are made from."""
        return roofs(self.rates, self.layer.value_s, self.inference.value_s, self._peaks())

    def _peaks(self) -> dict[str, float]:
        return {p.precision: p.flops_per_s for p in self.peaks if p.hint == "latency"}

    def bandwidth(self) -> tuple[Rate, Rate] | None:
        """Return the elementwise bandwidth at the most bytes, and the highest one."""
        moved = [r for r in self.rates if r.kind == MOVING[0]]
        if not moved:
            return None
        return max(moved, key=lambda r: r.sizes), max(moved, key=lambda r: r.value)


def path(environment: str, device: str) -> Path:
    """Return where the calibration of a device is kept."""
    plain = "".join(c if c.isalnum() or c in ".-" else "_" for c in device)
    return files.user_folder() / FOLDER / environment / f"{plain}.json"


def write(calibration: Calibration) -> Path:
    """Store a calibration, in place of an older one.

    Raises:
        InputError: The folder cannot be written.
    """
    target = path(calibration.environment, calibration.device)
    return files.write_text(target, calibration.model_dump_json(indent=1) + "\n")


def read(environment: str, device: str) -> Calibration | None:
    """Return the calibration of a device in an environment; None where there is none.

    Raises:
        InputError: The file is damaged, of another version, or of another environment or device.
    """
    source = path(environment, device)
    if not source.is_file():
        return None
    remedy = f"ovtool devices --calibrate --device {device} makes it again"
    try:
        found = Calibration.model_validate_json(source.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "content"
        raise InputError(f"{source}: {where}: {first['msg']}", remedy) from error
    if (found.environment, found.device) != (environment, device):
        raise InputError(
            f"{source} is of {found.device} in environment {found.environment},"
            f" not of {device} in {environment}",
            remedy,
        )
    return found


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe that was measured.

    Args:
        name: Of the probe.
        kind: Of the probe.
        copies: Layers of that kind that it was built of.
        seconds: Of one inference, with its interval.
        verdict: How the measuring went.
        tasks: What the device executed; empty where it does not show it.
    """

    name: str
    kind: str
    copies: int
    seconds: Interval
    verdict: str
    tasks: tuple[Task, ...]

    @property
    def own(self) -> tuple[Task, ...]:
        """The layers that it is about."""
        wanted = "product" if self.kind == STREAM else self.kind
        return tuple(
            task for task in self.tasks if task.kind == wanted and not task.name.startswith(SINK)
        )


def overheads(probed: Iterable[Probed]) -> tuple[Overhead, Overhead] | None:
    """Return the overhead of a layer and of an inference, from tiny layers in a row.

    The slope of the time over the number of layers is that of a layer, what is left of the shortest
    row that of an inference.  None where fewer than two rows were measured.
    """
    rows = sorted((p for p in probed if p.kind == OVERHEAD), key=lambda p: len(p.tasks) or p.copies)
    if len(rows) < 2:
        return None
    short, long = rows[0], rows[-1]
    few, many = (len(p.tasks) or p.copies for p in (short, long))
    steps = many - few
    slope = max(0.0, (long.seconds.value - short.seconds.value) / steps)
    half = math.hypot(_half(long.seconds), _half(short.seconds)) / steps
    left = max(0.0, short.seconds.value - few * slope)
    spread = math.hypot(_half(short.seconds), few * half)
    return _overhead(slope, half), _overhead(left, spread)


def _half(interval: Interval) -> float:
    return (interval.high - interval.low) / 2


def _overhead(value: float, half: float) -> Overhead:
    if math.isnan(half):
        return Overhead(value_s=value)
    return Overhead(value_s=value, ci_low_s=max(0.0, value - half), ci_high_s=value + half)


def rates(
    probed: Sequence[Probed], layer_s: float, inference_s: float
) -> tuple[tuple[Rate, ...], tuple[str, ...]]:
    """Return what each kind reached, and which probes told nothing.

    Kinds are evaluated one after another: of the time of a probe, what its other layers take by the
    kinds before it is taken away, and its own share the rest.
    """
    found: list[Rate] = []
    left_out: list[str] = []
    for kind in (*MOVING, STREAM, *COMPUTING):
        known = roofs(found, layer_s, inference_s)
        for one in (p for p in probed if p.kind == kind):
            rate = _rate(one, known)
            if isinstance(rate, str):
                left_out.append(f"{one.name}: {rate}")
            else:
                found.append(rate)
    return tuple(found), tuple(left_out)


def _rate(one: Probed, known: Roofs) -> Rate | str:
    """Return what a probe's own layers reached, or why that is not told."""
    own = one.own
    if not own:
        return "the device runs it as something else"
    precisions = {task.precision for task in own}
    if one.kind in COMPUTING and len(precisions) > 1:
        return "its layers run in several precisions"
    others_s = sum(_others_s(task, known) for task in one.tasks if task not in own)
    spent = known.inference_s + others_s + known.layer_s * len(own)
    own_s = one.seconds.value - spent
    if own_s < _LEAST_SHARE * one.seconds.value:
        return "too little of its time is that of its own layers"
    middle = own[len(own) // 2]
    if one.kind in COMPUTING:
        amount, sizes = sum(task.flops for task in own), middle.sizes
    elif one.kind == STREAM:
        amount = sum(task.weight_bytes for task in own)
        sizes = (float(amount),)
    else:
        amount, sizes = sum(task.data_bytes for task in own), middle.sizes
    if not amount:
        return "the device does not say how much its layers do"
    least_s, most_s = one.seconds.low - spent, one.seconds.high - spent
    known_ends = one.seconds.known and least_s > 0
    return Rate(
        kind=one.kind,
        precision=(middle.precision or "unknown") if one.kind in COMPUTING else "any",
        sizes=sizes,
        value=amount / own_s,
        ci_low=amount / most_s if known_ends else None,
        ci_high=amount / least_s if known_ends else None,
        verdict=one.verdict,
    )


def _others_s(task: Task, known: Roofs) -> float:
    """Return what a layer takes as far as that is known by now; where it is not, the overhead."""
    if task.name.startswith(SINK):
        return known.layer_s
    told = roofline.layer(task, known, task.weight_bytes)
    return known.layer_s if told is None else told.expected.total_s


def roofs(
    found: Sequence[Rate],
    layer_s: float,
    inference_s: float,
    peaks: Mapping[str, float] | None = None,
) -> Roofs:
    """Return the surfaces through what was reached.

    Args:
        found: What was reached.
        layer_s: Overhead of a layer.
        inference_s: Overhead of an inference.
        peaks: FLOP/s of the fastest network of products, by precision.
    """
    groups: dict[tuple[str, str], list[Rate]] = {}
    for one in found:
        groups.setdefault((one.kind, one.precision), []).append(one)
    fitted = {
        key: Surface.fit([r.sizes for r in rows], [r.value for r in rows])
        for key, rows in groups.items()
    }
    highest = dict(peaks or {})
    for one in found:
        if one.kind == "product":  # without the overheads that are in a peak
            highest[one.precision] = max(one.value, highest.get(one.precision, 0.0))
    return Roofs(
        peaks=highest,
        computing={key: s for key, s in fitted.items() if key[0] in COMPUTING},
        moving={key[0]: s for key, s in fitted.items() if key[0] in MOVING},
        stream=fitted.get((STREAM, "any")),
        layer_s=layer_s,
        inference_s=inference_s,
    )
