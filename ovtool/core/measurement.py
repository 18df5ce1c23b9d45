"""The result of a trial: a measurement or a failure.  Immutable and versioned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
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
    """About 100 ms of measuring, from one completion to another, and what the machine did in it.

    What the system does not tell is None.

    Args:
        seconds: Its length, without the time that reading the counters took.
        inferences: Completed in it.
        latency_mean_ms: Of those.
        latency_max_ms: Of those.
        cpu_s: CPU time of the measuring process.
        busy_s: CPU time of the whole machine.
        steal_s: What a hypervisor gave to others.
        delay_s: Time for which threads of the process were ready to run and waited for a
            processor, summed over the threads.
        stalled_s: CPU pressure: time for which some task of the machine waited for a processor.
        switches: Involuntary context switches of the process.
        quota_wait_s: Time for which a control group's CPU quota held the process back, summed over
            processors.
        throttles: Times that the processor throttled itself for heat or power.
        clock_mhz: Mean clock of the processors that the process may use.
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
    """The windows measured without a pause; rounds of a group's trials alternate.

    Args:
        index: Of the round, the same for all trials measured in it.
        windows: The raw windows.
        quiet: Indices of the windows that nothing disturbed; None where that was not judged.
        undisturbed_s: Time in which every processor that the process could use was its own, by
            stretches of a few inferences; None where that is not known.
        undisturbed_inferences: Completed in that time.
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
    """A trial's outcome.

    Args:
        trial: What was measured.
        environment: Hash of the machine and software it ran on (``environment.json``).
        status: ``ok``, ``failed``, or ``estimated`` where it was compiled and nothing was run.
        reason: Why it failed, in one line; empty when it did not.
        verdict: How the measuring went; None when it failed.
        executed_precision: What the compiled model says it runs in, such as ``bf16``.
        ran_on: Devices that did the work, as the compiled model says; None where it does not.
        figures: Names of ``columns.FIGURES`` to values; a name left out is unknown.
        properties: OpenVINO properties it was compiled with.
        notes: Warnings and advice, and why a figure is empty.
        rounds: The raw windows.
        taken_with: Shared by measurements whose rounds alternated, so that the rounds of one index
            may be compared.
        finished: When, in UTC, ISO 8601.
        emulated: Whether it may have run on an emulated device, whose figures are for tests alone.
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
    ran_on: str | None = None
    emulated: bool = False
    schema_version: Literal[1] = 1

    def __post_init__(self) -> None:
        """Refuse figures that columns.py does not declare."""
        unknown = set(self.figures) - FIGURES
        if unknown:
            raise ValueError(f"figures not declared in columns.py: {', '.join(sorted(unknown))}")

    @property
    def on_cpu(self) -> bool:
        """Whether the CPU did the work, so that CPU time tells of it."""
        return (self.ran_on or self.trial.device) == "CPU"

    @property
    def device(self) -> str:
        """The trial's device, marked where it is emulated or was estimated for."""
        return self._marked(self.trial.device)

    @property
    def label(self) -> str:
        """One line for people, marked as the device is."""
        return self._marked(self.trial.label)

    def _marked(self, text: str) -> str:
        if self.status == "estimated":
            return mark_device(text, ESTIMATE)
        return mark_device(text, EMULATED) if self.emulated else text

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: str | bytes) -> Measurement:
        """Read and check one line of a journal.

        Raises:
            ValueError: It is not a measurement of this version (pydantic's message says where).
        """
        measurement: Measurement = _adapter().validate_json(data)
        return measurement


@cache
def _adapter() -> Any:
    """Return the reader; pydantic is imported only where results are read."""
    from pydantic import TypeAdapter

    return TypeAdapter(Measurement)
