"""Interfaces of measuring: a runner opens sessions, a session measures rounds."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ovtool.core.measurement import Window
    from ovtool.core.notes import Note
    from ovtool.core.trial import Trial
    from ovtool.graph.runtime import Layer


class TrialFailedError(Exception):
    """A trial cannot be measured; the message is the reason, on one line."""


@dataclass(frozen=True, slots=True)
class CompiledInfo:
    """A compiled model, ready to be measured; None is unknown.

    Args:
        figures: Figures that are known after compiling, by the names of ``columns.FIGURES``.
        executed_precision: Precision that the compiled model reports.
        properties: OpenVINO properties of the compilation.
        ran_on: Execution devices.
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
class Stretch:
    """A few consecutive inferences, short enough to lie between the turns of other processes.

    ``delay_s`` is the time that runnable threads of the process waited for a processor.
    """

    seconds: float
    inferences: int
    cpu_s: float
    delay_s: float


@dataclass(frozen=True, slots=True)
class TextRequest:
    """The times of a request of a text generator, in ms from the start of the window it ends in.

    In an open loop, a request is submitted when it arrives.
    """

    submitted_ms: float
    tokens_ms: tuple[float, ...]
    """When each token was available."""

    @property
    def ttft_ms(self) -> float:
        """Time from the submission to the first token."""
        return self.tokens_ms[0] - self.submitted_ms

    @property
    def tpot_ms(self) -> float | None:
        """Mean time of the tokens after the first; None if there is only one."""
        later = len(self.tokens_ms) - 1
        return (self.tokens_ms[-1] - self.tokens_ms[0]) / later if later else None

    @property
    def gaps_ms(self) -> tuple[float, ...]:
        """Times between consecutive tokens."""
        return tuple(b - a for a, b in itertools.pairwise(self.tokens_ms))


@dataclass(frozen=True, slots=True)
class RawRound:
    """The raw data of a round.

    Args:
        latencies_ms: The latency of each inference, by window.
        texts: The requests of a text generator that end in a window; empty for other models.
        tokens: The tokens of all its requests in each window.
        phases_mib: Peak resident memory of each phase of a text generator, by column.
        stretches: Only where one request at a time is in flight.
        energy: Energy of the whole round; None where no counter is readable.
        energy_unknown: Why the energy is unknown.
        peak_rss_mib: Peak resident memory of the process so far.
        rss_growth_mib: Growth of the resident memory since before the model was read.
    """

    windows: tuple[Window, ...]
    latencies_ms: tuple[tuple[float, ...], ...]
    stretches: tuple[Stretch, ...] = ()
    energy: EnergyUse | None = None
    energy_unknown: str = ""
    peak_rss_mib: float | None = None
    rss_growth_mib: float | None = None
    texts: tuple[tuple[TextRequest, ...], ...] = ()
    tokens: tuple[int, ...] = ()
    phases_mib: Mapping[str, float] = field(default_factory=dict)

    @property
    def inferences(self) -> int:
        """Completed inference requests, without the lead-in."""
        return sum(w.inferences for w in self.windows)


@dataclass(frozen=True, slots=True)
class EnergyUse:
    """Energy of a round with its lead-in, and the inferences and seconds of the same time."""

    joules: float
    seconds: float
    inferences: int
    source: str


class Session(Protocol):
    """A compiled model that is idle between its rounds.

    Methods raise TrialFailedError where the worker died, timed out or sent an invalid reply.
    """

    @property
    def info(self) -> CompiledInfo:
        """The compiled model."""

    def measure(
        self, seconds: float, rate: float | None = None, concurrency: int | None = None
    ) -> RawRound:
        """Measure a round of about ``seconds``.

        A text generator has ``concurrency`` requests in flight; without it, those of its trial.
        Its requests pause between two rounds.
        An open loop has ``rate`` arrivals per second, with Poisson gaps, and the latency counts
        from the scheduled arrival.  A closed loop, without a rate, keeps every request busy.
        """

    def infer(self, inputs: Path, outputs: Path) -> None:
        """Infer the samples of an ``.npz`` into another.

        ``inputs`` has samples ``[n, ...]`` by input name, each without a batch dimension;
        ``outputs`` gets ``arr_0``, ``arr_1`` ... as ``[n, ...]``, in the order of the outputs, each
        sample without the batch dimension.  An output without one repeats for each sample.  An
        output of varying size is flat; ``shapes_0`` ... has the shape of each sample.
        """

    def layers(self) -> tuple[Layer, ...] | None:
        """Return the executed layers, without times; None where the device does not show them."""

    def save_cache(self, folder: Path) -> float | None:
        """Fill a model cache in an empty folder, for another process to load.

        Return its size in MiB; None where the device writes no cache.
        """

    def close(self) -> None:
        """Stop the worker; safe to call twice."""


class Runner(Protocol):
    """Opens sessions."""

    def prepare(self, jobs: Sequence[Job]) -> None:
        """Prepare for the sessions of jobs; their processes may start in parallel."""

    def open(self, job: Job, cache: Path | None = None, *, warm_up: bool = True) -> Session:
        """Compile a trial's model, run the first inference and, if requested, warm up.

        ``cache`` is a folder filled by :meth:`Session.save_cache`; None compiles without a cache.

        Raises:
            TrialFailedError: The model does not compile or run, with the device's reason.
        """

    def close(self) -> None:
        """Stop the prepared processes that no session uses."""


@dataclass(frozen=True, slots=True)
class Job:
    """A trial with everything that a runner needs.

    Args:
        names: Input names, in the order of the model's inputs.
        shapes: Compiled shape of each input; -1 for an open dimension.
        data_shapes: Shape of the data of each input, without open dimensions.
        batch_axes: Batch dimension of each input; None for an input without a batch.
        inputs: ``.npz`` of inputs for one request; None for seeded random inputs.
        notes: Changes that the device's rules required.
        output_axes: Batch dimension of each output; None for an output without a batch.  Further
            outputs of the graph are not split into samples: [requests, ...].
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
    output_axes: tuple[int | None, ...] = ()
