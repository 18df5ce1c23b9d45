"""The result of a trial: a measurement or a failure.  Immutable and versioned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from ovtool.core.columns import FIGURES
from ovtool.core.device_names import EMULATED, ESTIMATE, mark_device
from ovtool.core.notes import Note
from ovtool.core.trial import Trial

Status = Literal["ok", "failed", "estimated"]
Verdict = Literal["stable", "contended", "throttled", "unsteady"]


@dataclass(frozen=True, slots=True)
class Window:
    """About 100 ms of measuring between two completions, with the machine's counters.

    Unknown counters are None.

    Args:
        seconds: Length, without the time to read the counters.
        inferences: Completed inference requests.
        latency_mean_ms: Mean latency of these requests.
        latency_max_ms: Maximum latency of these requests.
        cpu_s: CPU time of the measuring process.
        busy_s: CPU time of the whole machine.
        steal_s: CPU time that the hypervisor gave to other virtual machines.
        delay_s: Time for which runnable threads of the process waited for a processor, summed over
            the threads.
        stalled_s: CPU pressure: time for which any task of the machine waited for a processor.
        switches: Involuntary context switches of the process.
        quota_wait_s: Time for which the CPU quota of a control group throttled the process, summed
            over the processors.
        throttles: Number of times that the processor throttled for heat or power.
        clock_mhz: Mean clock of the usable processors.
    """

    seconds: float
    inferences: int
    latency_mean_ms: float
    latency_max_ms: float
    cpu_s: float | None = None
    busy_s: float | None = None
    steal_s: float | None = None
    delay_s: float | None = None
    stalled_s: float | None = None
    switches: float | None = None
    quota_wait_s: float | None = None
    throttles: float | None = None
    clock_mhz: float | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """Consecutive windows; the rounds of a group's trials alternate.

    Args:
        index: Number of the round, the same for all trials of the group.
        windows: Raw windows.
        quiet: Indices of the undisturbed windows; None if unknown.
        undisturbed_s: Total length of the stretches of a few inferences in which no other process
            used the usable processors; None if unknown.
        undisturbed_inferences: Inferences completed in these stretches.
    """

    index: int
    windows: tuple[Window, ...]
    quiet: tuple[int, ...] | None = None
    undisturbed_s: float | None = None
    undisturbed_inferences: int = 0

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
    """The outcome of a trial.

    Args:
        trial: The measured configuration.
        environment: Hash of the machine and software, see ``environment.json``.
        status: ``ok``, ``failed``, or ``estimated``: compiled without inference.
        reason: Reason of the failure, in one line; otherwise empty.
        verdict: Stability of the measurement; None after a failure.
        executed_precision: Precision of the layers with arithmetic, such as ``i8+bf16``.
        figures: Names of :data:`ovtool.core.columns.FIGURES` to values; unknown figures are absent.
        properties: OpenVINO properties of the compilation.
        notes: Warnings, advice, and reasons of unknown figures.
        rounds: Raw windows by round.
        group_id: Id shared by measurements with alternating rounds, which are compared round by
            round.
        finished: Time of completion in UTC, ISO 8601.
        ran_on: Devices that executed the model, as the compiled model reports; None if unknown.
        settings: The measurement settings, see ``MeasurementSettings``; empty if not measured.
        evaluated_against: Id of the baseline of the quality; None without quality or baseline.
        emulated: Whether an emulated device may have executed the model: for tests only.
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
    group_id: str = ""
    finished: str = ""
    ran_on: str | None = None
    settings: Mapping[str, float] = field(default_factory=dict)
    evaluated_against: str | None = None
    emulated: bool = False
    schema_version: Literal[1] = 1

    def __post_init__(self) -> None:
        """Reject undeclared figures."""
        unknown = set(self.figures) - FIGURES
        if unknown:
            raise ValueError(f"figures not declared in columns.py: {', '.join(sorted(unknown))}")

    @property
    def on_cpu(self) -> bool:
        """Whether the CPU executed the model, so that CPU time is meaningful."""
        return (self.ran_on or self.trial.device) == "CPU"

    @property
    def device(self) -> str:
        """Device of the trial, marked if it is emulated or estimated."""
        return self._marked(self.trial.device)

    @property
    def label(self) -> str:
        """Label of the trial, marked like the device."""
        return self._marked(self.trial.label)

    def _marked(self, text: str) -> str:
        if self.status == "estimated":
            return mark_device(text, ESTIMATE)
        return mark_device(text, EMULATED) if self.emulated else text

    def to_json(self) -> dict[str, Any]:
        """Return the measurement as JSON types."""
        # Ten times faster than asdict; the types are checked when a line is read.
        content: dict[str, Any] = _adapter().dump_python(self, mode="json", warnings=False)
        return content

    @classmethod
    def from_content(cls, content: object) -> Measurement:
        """Return the measurement of parsed JSON.

        Raises:
            ValueError: It is not a measurement of this version; the message has the field.
        """
        measurement: Measurement = _adapter().validate_python(content)
        return measurement

    @classmethod
    def from_json(cls, data: str | bytes) -> Measurement:
        """Parse one line of a journal.

        Raises:
            ValueError: The line is not a measurement of this version; the message has the field.
        """
        measurement: Measurement = _adapter().validate_json(data)
        return measurement


@cache
def _adapter() -> Any:
    """Return the parser; pydantic is imported on use."""
    from pydantic import TypeAdapter

    return TypeAdapter(Measurement)
