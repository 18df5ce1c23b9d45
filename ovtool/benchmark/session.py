"""What the engine needs of whatever measures: a runner that opens sessions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ovtool.benchmark.windows import Stretch
    from ovtool.core.measurement import Window
    from ovtool.core.notes import Note
    from ovtool.core.trial import Trial
    from ovtool.graph.runtime_layers import Layer


class TrialFailedError(Exception):
    """A trial cannot be measured; the message is the reason, in one line."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What compiling told.

    Args:
        figures: Figures known now, by the names of ``columns.FIGURES``.
        executed_precision: What the compiled model says it runs in; None when it does not tell.
        properties: OpenVINO properties it was compiled with.
        notes: Why a figure is missing, and what else is worth knowing.
        compile_ms: What compiling took.
        first_inference_ms: What the first inference after it took.
        loaded_from_cache: Whether it was compiled from a model cache; None where it is not told.
        ran_on: Devices that did the work; None where they are not told.
    """

    figures: Mapping[str, float]
    executed_precision: str | None
    properties: Mapping[str, str]
    notes: tuple[Note, ...] = ()
    compile_ms: float | None = None
    first_inference_ms: float | None = None
    loaded_from_cache: bool | None = None
    ran_on: str | None = None


@dataclass(frozen=True, slots=True)
class RawRound:
    """A round as it was measured.

    Args:
        windows: Its windows.
        latencies_ms: The latency of each inference, by window.
        stretches: Short stretches of it, where one request is in flight at a time.
        energy: What was spent in all of it; None where no counter can be read.
        energy_unknown: Why not.
        peak_rss_mib: Greatest resident memory of the process so far.
        rss_growth_mib: How far that is above what the process took before it read the model.
    """

    windows: tuple[Window, ...]
    latencies_ms: tuple[tuple[float, ...], ...]
    stretches: tuple[Stretch, ...] = ()
    energy: Spent | None = None
    energy_unknown: str = ""
    peak_rss_mib: float | None = None
    rss_growth_mib: float | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """Energy of a round, lead-in included: the inferences and seconds are all of its own."""

    joules: float
    seconds: float
    inferences: int
    source: str


class Session(Protocol):
    """A compiled model in a process of its own, idle between the rounds."""

    @property
    def opened(self) -> Opened:
        """What compiling told."""

    def measure(self, seconds: float, rate: float | None = None) -> RawRound:
        """Infer for about so long.

        Args:
            seconds: How long.
            rate: Requests that arrive a second, with Poisson gaps; their latency counts from the
                time they were due.  None keeps every request busy.

        Raises:
            TrialFailedError: It died, hung or answered nonsense.
        """

    def infer(self, inputs: Path, outputs: Path) -> None:
        """Infer the samples of an ``.npz`` into another.

        Args:
            inputs: Input names to samples [n, ...], each without a batch dimension.
            outputs: Written with ``arr_0``, ``arr_1`` ... in the order of the outputs, as [n, ...].

        Raises:
            TrialFailedError: As for :meth:`measure`.
        """

    def layers(self) -> tuple[Layer, ...] | None:
        """Return what the compiled model executes, without times; None where it is not shown.

        Raises:
            TrialFailedError: As for :meth:`measure`.
        """

    def save_cache(self, folder: Path) -> float | None:
        """Fill a model cache, for a later process to compile from.

        Args:
            folder: Empty.

        Returns:
            Size of the compiled model in MiB; None where the device writes none.

        Raises:
            TrialFailedError: As for :meth:`measure`.
        """

    def close(self) -> None:
        """End it; safe to call twice."""


class Runner(Protocol):
    """Opens sessions."""

    def prepare(self, count: int) -> None:
        """Expect so many sessions soon; their processes may start side by side."""

    def open(self, job: Job, cache: Path | None = None, *, warm_up: bool = True) -> Session:
        """Compile a trial's model, run it once and warm it up.

        Args:
            job: The trial.
            cache: A folder that :meth:`Session.save_cache` filled; None compiles without any.
            warm_up: Whether it will be measured.

        Raises:
            TrialFailedError: It cannot be compiled or run, with the device's own reason.
        """

    def close(self) -> None:
        """End what was prepared and not used."""


@dataclass(frozen=True, slots=True)
class Job:
    """A trial and what is needed to run it here.

    Args:
        trial: What to measure.
        xml: The IR.
        names: Input names, in the order of the model's inputs.
        shapes: What every input is compiled with, in the same order; -1 where it stays open.
        data_shapes: What every input really gets, all of it fixed; equal to ``shapes`` where
            nothing stays open.
        batch_axes: The batch dimension of each input; None for an input without one.
        properties: OpenVINO properties to compile with.
        inputs: ``.npz`` of real inputs for one request; None measures on seeded random ones.
        notes: What its device's rules made of the trial.
    """

    trial: Trial
    xml: Path
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    data_shapes: tuple[tuple[int, ...], ...]
    batch_axes: tuple[int | None, ...]
    properties: Mapping[str, str] = field(default_factory=dict)
    inputs: Path | None = None
    notes: tuple[Note, ...] = ()
