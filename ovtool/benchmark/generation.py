"""The load of a text generator: requests in flight, with the time of every token.

In a closed loop, a number of requests is in flight, and another one begins when one ends.  The
outputs of the first requests have different lengths, so that they end one after another, as those
of independent clients do; measuring begins after them.  In an open loop, requests arrive on their
own with exponential gaps, and their times count from the arrival.

The load pauses between two rounds: no step runs, and the pause is in no time.  So no round begins
with an empty pipeline, and a request may last longer than a round.

A window begins and ends with the end of a request and lasts at least 100 ms.  Its throughput is the
tokens that became available in it over its wall time.

The clock is read when a token becomes available to the program, not taken from the library.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ovtool.benchmark.loops import LEAD_IN, WINDOW_NS, Recording
from ovtool.core.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ovtool.system.counters import Reading

_MARKUP = re.compile(r"<.*>|\[.*\]", re.DOTALL)
_MIN_ORDINARY = 2
_OPEN_LOOP_START = 2
"""Time from the first arrival to the first window, in times of the first request."""


class PausableClock:
    """A clock in ns that stands still while it is paused, as it is at first."""

    def __init__(self, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self._clock = clock
        self._offset = 0
        self._paused_at: int | None = clock()

    def __call__(self) -> int:
        """Return the time without the pauses."""
        return (self._clock() if self._paused_at is None else self._paused_at) - self._offset

    def resume(self) -> None:
        """Run on; nothing happens if it runs."""
        if self._paused_at is not None:
            self._offset += self._clock() - self._paused_at
            self._paused_at = None

    def pause(self) -> None:
        """Stand still; nothing happens if it does."""
        if self._paused_at is None:
            self._paused_at = self._clock()


@dataclass(slots=True)
class TextTimes:
    """When a request was submitted, and when each of its tokens was available, in ns."""

    submitted_ns: int
    tokens_ns: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Step:
    """The tokens of a step of the pipeline, and the requests that have all their tokens with it."""

    tokens: int
    finished: Sequence[TextTimes]


class TextPipeline(Protocol):
    """Runs requests of a text generator, step by step."""

    @property
    def in_flight(self) -> int:
        """Number of requests that do not have all their tokens yet."""

    def submit(self, prompt: NDArray[np.int64], output_length: int, submitted_ns: int) -> None:
        """Add a request for a prompt ``[tokens]``; its times count from ``submitted_ns``."""

    def step(self) -> Step:
        """Generate some tokens of the requests in flight, of which there is at least one."""


@dataclass(slots=True)
class TextRecording(Recording):
    """Adds the tokens of each window, and the requests that end in it.

    Submission and tokens of a request are in ms from the start of the window in which it ends; they
    are negative before it.
    """

    texts: list[list[tuple[float, list[float]]]] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the windows, latencies, requests and tokens."""
        return Recording.to_json(self) | {"texts": self.texts, "tokens": self.tokens}

    def add_texts(self, ended: Sequence[TextTimes], tokens: int, began_ns: int) -> None:
        """Add the tokens of a window, and the requests that end in it."""
        self.tokens.append(tokens)
        self.texts.append(
            [
                ((t.submitted_ns - began_ns) / 1e6, [(ns - began_ns) / 1e6 for ns in t.tokens_ns])
                for t in ended
            ]
        )


def ordinary_tokens(
    vocabulary: Sequence[tuple[str, int]], special: Sequence[int], logits: int
) -> NDArray[np.int64]:
    """Return the ids of ordinary tokens, in order: no special ones, and none that marks up text.

    ``vocabulary`` has the text and the id of each token.  ``special`` has known special tokens; a
    token such as ``<|user|>`` or ``[MASK]`` counts too.  ``logits`` is the number of tokens that
    the model knows.

    Raises:
        ValueError: Fewer than two are left.
    """
    marked = {number for text, number in vocabulary if _MARKUP.fullmatch(text)}
    kept = sorted({n for _, n in vocabulary if 0 <= n < logits} - marked - set(special))
    if len(kept) < _MIN_ORDINARY:
        raise ValueError(f"the tokenizer has {len(kept)} ordinary tokens, prompts need two")
    return np.array(kept, np.int64)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How requests arrive: ``concurrency`` in flight, or ``rate`` a second; one of them is None."""

    concurrency: int | None
    rate: float | None = None


class TextLoad:
    """The requests in flight of a text generator, which pause between rounds.

    Args:
        pipeline: What generates.
        clock: The clock of the pipeline; it runs while this load runs.
        draw: Returns the next prompt.
        output_length: Tokens of each output.
        arrivals: How requests arrive.
        seed: Seed of the gaps of an open loop.
        sleep: Waits, in seconds.
    """

    def __init__(
        self,
        pipeline: TextPipeline,
        clock: PausableClock,
        draw: Callable[[], NDArray[np.int64]],
        output_length: int,
        arrivals: Arrivals,
        *,
        seed: int = 0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.arrivals = arrivals
        self._pipeline, self._clock, self._draw = pipeline, clock, draw
        self._output_length, self._sleep = output_length, sleep
        self._random = np.random.default_rng(seed)
        self._due_ns = 0
        self._gap_ns = NS_PER_S / arrivals.rate if arrivals.rate else 0.0
        self._interval_ns = 0.0
        """Time between the ends of two requests, on average."""

    def start(self) -> None:
        """Run the first requests, up to the state in which measuring may begin."""
        self._clock.resume()
        began, ended = self._clock(), 0
        if self.arrivals.concurrency is not None:
            self._start_closed_loop(self.arrivals.concurrency)
            ended = self.arrivals.concurrency
        else:
            self._due_ns = began
            until: int | None = None
            while until is None or self._clock() < until:
                finished = len(self._advance().finished)
                ended += finished
                if until is None and finished:
                    until = began + _OPEN_LOOP_START * (self._clock() - began)
        self._clock.pause()
        self._interval_ns = (self._clock() - began) / ended

    def _start_closed_loop(self, concurrency: int) -> None:
        """Run requests with outputs of different lengths, and others in their place."""
        for place in range(1, concurrency + 1):
            length = -(-place * self._output_length // concurrency)
            self._pipeline.submit(self._draw(), length, self._clock())
        ended = 0
        while ended < concurrency:
            ended += len(self._advance().finished)

    def measure(self, seconds: float, read: Callable[[], Reading]) -> TextRecording:
        """Run for about ``seconds``, and to the end of a request; at least one window.

        Short requests begin with a lead-in outside the windows, which warms the caches.  ``read``
        reads the counters, while the load pauses.
        """
        clock, recorded = self._clock, TextRecording()
        clock.resume()
        now = clock()
        lead_until, stop = now + int(seconds * LEAD_IN * NS_PER_S), now + int(seconds * NS_PER_S)
        if self._interval_ns < lead_until - now:
            recorded.completed += len(self._run_until(lead_until)[1])
        while not recorded.windows or clock() < stop:
            opened, began = self._paused(read), clock()
            tokens, ended = self._run_until(min(began + WINDOW_NS, stop))
            ns = clock() - began
            latencies_ms = [(t.tokens_ns[-1] - t.submitted_ns) / 1e6 for t in ended]
            recorded.add(latencies_ms, ns, self._paused(read).since(opened))
            recorded.add_texts(ended, tokens, began)
            self._interval_ns = ns / len(ended)
        clock.pause()
        return recorded

    def drain(self) -> None:
        """Run the requests in flight to their end."""
        self._clock.resume()
        while self._pipeline.in_flight:
            self._pipeline.step()
        self._clock.pause()

    def _paused(self, read: Callable[[], Reading]) -> Reading:
        self._clock.pause()
        reading = read()
        self._clock.resume()
        return reading

    def _run_until(self, until_ns: int) -> tuple[int, list[TextTimes]]:
        """Run to the first end of a request at a time or later; return the tokens and the ends."""
        tokens, ended = 0, list[TextTimes]()
        while True:
            step = self._advance()
            tokens += step.tokens
            ended += step.finished
            if step.finished and self._clock() >= until_ns:
                return tokens, ended

    def _advance(self) -> Step:
        """Submit the requests that are due, and run a step."""
        concurrency, pipeline = self.arrivals.concurrency, self._pipeline
        if concurrency is not None:
            while pipeline.in_flight < concurrency:
                pipeline.submit(self._draw(), self._output_length, self._clock())
            return pipeline.step()
        if not pipeline.in_flight:
            while (left_ns := self._due_ns - self._clock()) > 0:
                self._sleep(left_ns / NS_PER_S)
        now = self._clock()  # once: submitting may take longer than the gaps
        while self._due_ns <= now:
            pipeline.submit(self._draw(), self._output_length, self._due_ns)
            self._due_ns += round(self._random.exponential(self._gap_ns))
        return pipeline.step()


def run_request(
    pipeline: TextPipeline, clock: PausableClock, prompt: NDArray[np.int64], output_length: int
) -> TextTimes:
    """Run a single request to its end."""
    clock.resume()
    pipeline.submit(prompt, output_length, clock())
    finished: Sequence[TextTimes] = ()
    while not finished:
        finished = pipeline.step().finished
    clock.pause()
    return finished[0]
