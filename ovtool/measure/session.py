"""What the engine needs of whatever measures: a runner that opens sessions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ovtool.results import Note, Window
    from ovtool.trial import Trial


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
    """

    figures: Mapping[str, float]
    executed_precision: str | None
    properties: Mapping[str, str]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class RawRound:
    """The windows of a round, and the latency of each inference by window, in ms."""

    windows: tuple[Window, ...]
    latencies_ms: tuple[tuple[float, ...], ...]
    energy_j: float | None = None
    energy_unknown: str = ""
    peak_rss_mib: float | None = None


class Session(Protocol):
    """A compiled model that is ready, idle between the rounds."""

    @property
    def opened(self) -> Opened:
        """What compiling told."""

    def measure(self, seconds: float) -> RawRound:
        """Infer for about so long.

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

    def close(self) -> None:
        """End it; safe to call twice."""


class Runner(Protocol):
    """Opens sessions."""

    def open(self, job: Job) -> Session:
        """Compile a trial's model and warm it up.

        Raises:
            TrialFailedError: It cannot be compiled or run, with the device's own reason.
        """


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
    """

    trial: Trial
    xml: Path
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    data_shapes: tuple[tuple[int, ...], ...]
    batch_axes: tuple[int | None, ...]
    properties: Mapping[str, str] = field(default_factory=dict)
    inputs: Path | None = None
