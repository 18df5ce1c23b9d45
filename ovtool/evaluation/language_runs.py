"""What a text generator says of the tokens of a text: its logits, and what it continues with."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ovtool.models.language.decoder import Decoder

PROMPT, GENERATED = 32, 64
"""Tokens of a prompt, and those that follow it."""
_DISK_SHARE = 0.1
"""Share of the free disk that the logits of one window may take."""


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens of a text from ``start``; those from ``first`` on are predicted."""

    start: int
    first: int
    end: int


class TextRun(Protocol):
    """What a text generator says of the tokens of a text."""

    def logits(self, window: Window) -> NDArray[np.float32]:
        """Return the logits [count, vocabulary] of the predicted tokens of a window."""

    def continue_from(self, starts: Sequence[int]) -> NDArray[np.int64]:
        """Return the most likely tokens [starts, :data:`GENERATED`] after prompts of the text.

        A prompt has :data:`PROMPT` tokens from its start.
        """


@dataclass(frozen=True, slots=True)
class DecoderRun:
    """A text generator that runs over the tokens of a text."""

    decoder: Decoder
    tokens: NDArray[np.int64]

    def logits(self, window: Window) -> NDArray[np.float32]:
        """See :class:`TextRun`."""
        self.decoder.reset()
        part = self.tokens[window.start : window.end]
        logits = _run(self.decoder, part[None])[0, window.first - window.end - 1 : -1]
        return np.array(logits, np.float32)

    def continue_from(self, starts: Sequence[int]) -> NDArray[np.int64]:
        """See :class:`TextRun`; a batch of prompts reads the weights once a step."""
        self.decoder.reset()
        tokens, before = np.stack([self.tokens[start : start + PROMPT] for start in starts]), 0
        chosen: list[NDArray[np.int64]] = []
        while len(chosen) < GENERATED:
            logits = _run(self.decoder, tokens, before)
            before += tokens.shape[1]
            tokens = logits[:, -1:].argmax(axis=-1).astype(np.int64)
            chosen.append(tokens)
        return np.concatenate(chosen, axis=1)


class StoredRun:
    """A run that is repeated for several variants: its logits are kept in a folder.

    They are computed again where the disk has too little room.
    """

    def __init__(self, run: TextRun, folder: Path) -> None:
        self._run, self._folder = run, folder
        self._continued: dict[tuple[int, ...], NDArray[np.int64]] = {}

    def logits(self, window: Window) -> NDArray[np.float32]:
        """See :class:`TextRun`."""
        path = self._folder / f"{window.first}-{window.end}.npy"
        if path.is_file():
            kept: NDArray[np.float32] = np.load(path)
            return kept
        logits = self._run.logits(window)
        if logits.nbytes < shutil.disk_usage(self._folder).free * _DISK_SHARE:
            np.save(path, logits)
        return logits

    def continue_from(self, starts: Sequence[int]) -> NDArray[np.int64]:
        """See :class:`TextRun`."""
        key = tuple(map(int, starts))
        if key not in self._continued:
            self._continued[key] = self._run.continue_from(starts)
        return self._continued[key]


def _run(decoder: Decoder, tokens: NDArray[np.int64], before: int = 0) -> NDArray[Any]:
    batch, count = tokens.shape
    positions = np.broadcast_to(np.arange(before, before + count), tokens.shape).copy()
    mask = np.ones((batch, before + count), np.int64)
    return decoder.step(tokens, mask, positions, np.arange(batch, dtype=np.int32))
