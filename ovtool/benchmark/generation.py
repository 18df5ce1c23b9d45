"""The measuring loop of a text generator: waves of requests, with the time of every token.

The requests of a wave arrive together, and the next wave begins when all of them have their
tokens, as if a program gave all prompts to ``generate`` at once.  A window is one wave, or several
that together last about 100 ms; its throughput is the tokens of its requests over its wall time.

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

    from ovtool.system.counters import Counters

_MARKUP = re.compile(r"<.*>|\[.*\]", re.DOTALL)
_MIN_ORDINARY = 2


@dataclass(slots=True)
class TextTimes:
    """When a request was submitted, and when each of its tokens was available, in ns."""

    submitted_ns: int
    tokens_ns: list[int] = field(default_factory=list)


class TextPipeline(Protocol):
    """Runs requests of a text generator to their end."""

    def run(self, prompts: Sequence[NDArray[np.int64]], output_length: int) -> list[TextTimes]:
        """Submit prompts ``[tokens]`` together, and generate ``output_length`` tokens for each."""


@dataclass(slots=True)
class TextRecording(Recording):
    """Adds the requests of each window: submission, and tokens, in ms from its start."""

    texts: list[list[tuple[float, list[float]]]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the windows, latencies and requests."""
        return Recording.to_json(self) | {"texts": self.texts}


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


def run_waves(
    pipeline: TextPipeline,
    draw: Callable[[], NDArray[np.int64]],
    concurrency: int,
    output_length: int,
    seconds: float,
    counters: Counters,
    *,
    wave_s: float,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> TextRecording:
    """Run waves for about ``seconds``; at least one.

    Args:
        pipeline: What generates.
        draw: Returns the next prompt.
        concurrency: Requests of a wave.
        output_length: Tokens of each output.
        seconds: No wave begins later.
        counters: Read between windows, when no request is in flight.
        wave_s: Expected time of a wave; one that is short against the round begins with a wave
            outside the windows, which warms the caches.
        clock: Nanoseconds.
    """
    recorded, stop = TextRecording(), clock() + int(seconds * NS_PER_S)

    def wave() -> list[TextTimes]:
        return pipeline.run([draw() for _ in range(concurrency)], output_length)

    if wave_s < seconds * LEAD_IN:
        recorded.completed += len(wave())
    while not recorded.windows or clock() < stop:
        current: list[TextTimes] = []
        spent_ns, opened = 0, counters.read()
        offsets: list[int] = []
        while not current or (spent_ns < WINDOW_NS and clock() < stop):
            prompts = [draw() for _ in range(concurrency)]
            began = clock()
            times = pipeline.run(prompts, output_length)
            ended = max(each.tokens_ns[-1] for each in times)
            offsets += [spent_ns - began] * len(times)
            current += times
            spent_ns += ended - began
        read = counters.read().since(opened)
        latencies_ms = [(t.tokens_ns[-1] - t.submitted_ns) / 1e6 for t in current]
        recorded.add(latencies_ms, spent_ns, read)
        recorded.texts.append(
            [
                ((t.submitted_ns + o) / 1e6, [(ns + o) / 1e6 for ns in t.tokens_ns])
                for t, o in zip(current, offsets, strict=True)
            ]
        )
    return recorded
