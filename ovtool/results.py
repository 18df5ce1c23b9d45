"""What a trial came to: a measurement, or a failure with its reason.  Immutable and versioned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Literal

from ovtool.columns import FIGURES
from ovtool.trial import Trial

Status = Literal["ok", "failed"]
Verdict = Literal["stable", "contended", "throttled", "unsteady"]


@dataclass(frozen=True, slots=True)
class Note:
    """Advice or a warning as data."""

    id: str
    message: str
    evidence: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """About 100 ms of measuring, from one completion to another.

    ``cpu_s`` is the CPU time of the measuring process, ``busy_s`` that of the whole machine,
    ``steal_s`` what a hypervisor gave to others; None where the system does not tell.
    """

    seconds: float
    inferences: int
    latency_mean_ms: float
    latency_max_ms: float
    cpu_s: float | None = None
    busy_s: float | None = None
    steal_s: float | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """The windows measured without a pause; rounds of a group's trials alternate."""

    index: int
    windows: tuple[Window, ...]

    @property
    def seconds(self) -> float:
        """Measured time."""
        return sum(w.seconds for w in self.windows)

    @property
    def inferences(self) -> int:
        """Completed inference requests."""
        return sum(w.inferences for w in self.windows)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A trial's outcome.

    Args:
        trial: What was measured.
        environment: Hash of the machine and software it ran on (``environment.json``).
        status: ``ok`` or ``failed``.
        reason: Why it failed, in one line; empty when it did not.
        verdict: How the measuring went; None when it failed.
        executed_precision: What the compiled model says it runs in, such as ``bf16``.
        figures: Names of ``columns.FIGURES`` to values; a name left out is unknown.
        properties: OpenVINO properties it was compiled with.
        notes: Warnings and advice, and why a figure is empty.
        rounds: The raw windows.
        taken_with: Shared by measurements whose rounds alternated, so that the rounds of one index
            may be compared.
        finished: When, in UTC, ISO 8601.
    """

    trial: Trial
    environment: str
    status: Status
    reason: str = ""
    verdict: Verdict | None = None
    executed_precision: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    rounds: tuple[Round, ...] = ()
    taken_with: str = ""
    finished: str = ""
    schema_version: Literal[1] = 1

    def __post_init__(self) -> None:
        """Refuse figures that columns.py does not declare."""
        unknown = set(self.figures) - FIGURES
        if unknown:
            raise ValueError(f"figures not declared in columns.py: {', '.join(sorted(unknown))}")

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: str | bytes) -> Measurement:
        """Read and check one line of a journal.

        Raises:
            ValueError: It is not a measurement of this version (pydantic's message says where).
        """
        found: Measurement = _adapter().validate_json(data)
        return found


@cache
def _adapter() -> Any:
    """Build the reader once, and only where results are read: the worker has no use for it."""
    from pydantic import TypeAdapter

    return TypeAdapter(Measurement)
