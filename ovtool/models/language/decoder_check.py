"""Check of a saved text generator: logits of prompts and of steps after them, and greedy tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core.conversion_check import ConversionCheck, OutputDifference
from ovtool.core.errors import InputError
from ovtool.core.third_party import read_graph
from ovtool.models.check_verdict import DEFAULT_TOLERANCE, CheckedConversion, unchecked_notes
from ovtool.models.language.decoder import LOGITS, GraphDecoder

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.models.language.decoder import Decoder
    from ovtool.models.options import SourceOptions
    from ovtool.models.source import Array

_LENGTHS = (7, 24)
"""Tokens of the two prompts: a batch of two with padding, and one sequence."""
_STEPS = 3
_GREEDY = 16
_MAX_WINDOW = 512
"""Largest sliding window that a prompt of its length checks."""


def check_decoder(
    xml: Path,
    source: Decoder,
    against: str,
    options: SourceOptions,
    vocabulary: int,
    window: int | None = None,
    positions: int | None = None,
) -> CheckedConversion:
    """Compare a saved text generator with its source, both exact on the CPU.

    A batch of two prompts, one of them with padding on the left, then single tokens, several tokens
    at once, and the two sequences exchanged; a longer prompt and tokens after it, beyond the
    sliding window of the attention if it is not too large; and tokens that each side chooses.

    Args:
        xml: The saved graph.
        source: The source.
        against: Name and version of what runs the source.
        options: Seed and tolerance.
        vocabulary: Number of tokens.
        window: Tokens of the sliding window of the attention.
        positions: Tokens that the model was made for.

    Raises:
        InputError: Logits differ by more than the tolerance.
    """
    model = read_graph(xml, mapped=False)
    check = _Check(GraphDecoder(model), source, options, vocabulary)
    short, long = _LENGTHS
    if window is not None and window <= _MAX_WINDOW:
        long = max(long, window + _STEPS)
    long = min(long, (positions or long + _STEPS) - _STEPS)
    check.run_batch(short)
    check.run_single(long)
    equal = check.count_greedy(short)
    record = ConversionCheck(
        against=against,
        tolerance=check.tolerance,
        inputs=f"tokens, seed {options.seed}: 2 prompts of {short} with padding, 1 of {long}, "
        f"{check.steps} steps; greedy tokens: {equal} of {_GREEDY} equal",
        differences=(
            OutputDifference(
                output=LOGITS,
                status="checked" if check.varies else "constant",
                compared=check.compared,
                max_abs_difference=check.difference if check.varies else None,
                largest_value=check.largest if check.varies else None,
            ),
        ),
    )
    return CheckedConversion(record, tuple(unchecked_notes(record)))


@dataclass(slots=True)
class _Check:
    converted: Decoder
    source: Decoder
    options: SourceOptions
    vocabulary: int
    compared: int = 0
    difference: float = 0.0
    largest: float = 0.0
    steps: int = 0
    varies: bool = False
    _rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.options.seed)

    @property
    def tolerance(self) -> float:
        return self.options.tolerance or DEFAULT_TOLERANCE

    def run_batch(self, length: int) -> None:
        """Compare a batch of two prompts, the first one with padding, and steps after them."""
        mask = np.ones((2, length), np.int64)
        mask[0, : length // 3] = 0
        same, exchanged = np.arange(2, dtype=np.int32), np.array([1, 0], np.int32)
        self._reset()
        self._step(self._draw(2, length), mask, same, f"a prompt of {length} tokens with padding")
        for place, count in enumerate([*[1] * _STEPS, 3]):
            mask = np.pad(mask, ((0, 0), (0, count)), constant_values=1)
            self._step(self._draw(2, count), mask, same, f"step {place + 1} after the prompt")
        mask = np.pad(mask[exchanged], ((0, 0), (0, 1)), constant_values=1)
        self._step(self._draw(2, 1), mask, exchanged, "a step with the sequences exchanged")

    def run_single(self, length: int) -> None:
        """Compare one prompt, and single tokens after it."""
        first = np.zeros(1, np.int32)
        self._reset()
        self._step(self._draw(1, length), np.ones((1, length), np.int64), first, "a longer prompt")
        for place in range(_STEPS):
            mask = np.ones((1, length + place + 1), np.int64)
            self._step(self._draw(1, 1), mask, first, f"token {length + place + 1}")

    def count_greedy(self, length: int) -> int:
        """Return how many tokens both sides choose alike after two prompts, each after its own."""
        prompt = self._draw(2, length)
        chosen = [_generate(each, prompt) for each in (self.source, self.converted)]
        equal = (chosen[0] == chosen[1]).all(axis=0)
        return int(np.argmin(equal)) if not equal.all() else len(equal)

    def _draw(self, batch: int, length: int) -> Array:
        return self._rng.integers(0, self.vocabulary, (batch, length), dtype=np.int64)

    def _reset(self) -> None:
        self.source.reset()
        self.converted.reset()

    def _step(self, tokens: Array, mask: Array, beams: Array, what: str) -> None:
        positions = _positions(mask, tokens.shape[1])
        expected = self.source.step(tokens, mask, positions, beams)
        actual = self.converted.step(tokens, mask, positions, beams)
        self.steps += 1
        if actual.shape != expected.shape:
            raise InputError(
                f"the logits of {what} have the shape {list(actual.shape)}, those of the source"
                f" {list(expected.shape)}"
            )
        real = mask[:, -tokens.shape[1] :] == 1
        actual, expected = actual[real], expected[real]
        if not np.isfinite(expected).all():
            raise InputError(f"the logits of {what} are NaN or infinite in the source")
        largest = float(np.abs(expected).max(initial=0.0))
        difference = float(np.abs(actual - expected).max(initial=0.0))
        if not difference <= self.tolerance * largest:  # also NaN
            raise InputError(
                f"the logits of {what} differ from the source's by {difference:.3g}, with values"
                f" up to {largest:.3g}",
                "the export of this architecture is not right; see --tolerance",
            )
        self.compared += expected.size
        self.difference = max(self.difference, difference)
        self.largest = max(self.largest, largest)
        self.varies = self.varies or bool(np.ptp(expected) > 0)


def _positions(mask: Array, count: int) -> Array:
    """Return the positions of the last tokens: padding does not count."""
    positions = np.cumsum(mask, axis=1) - 1
    return np.maximum(positions, 0)[:, -count:]


def _generate(decoder: Decoder, prompts: Array) -> Array:
    """Return the most likely tokens [batch, number of tokens] after prompts [batch, length]."""
    decoder.reset()
    tokens, mask = prompts, np.ones_like(prompts)
    beams = np.arange(len(prompts), dtype=np.int32)
    chosen: list[Array] = []
    while True:
        logits = decoder.step(tokens, mask, _positions(mask, tokens.shape[1]), beams)
        chosen.append(logits[:, -1].argmax(axis=-1).astype(np.int64))
        if len(chosen) == _GREEDY:
            return np.stack(chosen, axis=1)
        tokens = chosen[-1][:, None]
        mask = np.pad(mask, ((0, 0), (0, 1)), constant_values=1)
