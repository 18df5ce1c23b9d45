"""A text generator over the tokens of a text, in a process of its own.

A graph that crashes or blocks a plugin ends the process, not the sweep.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core.errors import InputError
from ovtool.core.third_party import read_graph
from ovtool.evaluation.language_runs import DecoderRun, Window
from ovtool.models.language.decoder import GraphDecoder
from ovtool.system.child_process import ChildProcess, WorkerError, serve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_COMMAND = (sys.executable, "-P", "-m", "ovtool.evaluation.language_worker")


@dataclass(slots=True)
class ProcessRun:
    """A :class:`~ovtool.evaluation.language_runs.TextRun` in a worker, which starts when needed.

    Args:
        xml: The graph.
        tokens: Tokens of the text.
        device: Where the graph runs.
        properties: OpenVINO properties of the compiled graph.
        folder: For the files that the worker and this process exchange.
        timeout_s: Time limit of the start, of a compilation, of a window, and of the continuations.
    """

    xml: Path
    tokens: NDArray[np.int64]
    device: str
    properties: Mapping[str, str]
    folder: Path
    timeout_s: float
    _worker: ChildProcess | None = field(default=None, init=False)

    def logits(self, window: Window) -> NDArray[np.float32]:
        """See :class:`~ovtool.evaluation.language_runs.TextRun`."""
        path = self.folder / "window.npy"
        place = {"start": window.start, "first": window.first, "end": window.end}
        self._request("logits", path=str(path), **place)
        logits: NDArray[np.float32] = np.load(path)
        return logits

    def continue_from(self, starts: Sequence[int]) -> NDArray[np.int64]:
        """See :class:`~ovtool.evaluation.language_runs.TextRun`."""
        reply = self._request("continue_from", starts=list(map(int, starts)))
        return np.array(reply["tokens"], np.int64)

    def close(self) -> None:
        """Stop the worker; the next request starts another one."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _request(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Return the reply of the worker.

        Raises:
            InputError: The worker died, took too long, or the model does not run.
        """
        try:
            if self._worker is None:
                self._worker = ChildProcess(_COMMAND, self.timeout_s)
                path = self.folder / "tokens.npy"
                np.save(path, self.tokens)
                self._worker.request(
                    "open", xml=str(self.xml), tokens=str(path), device=self.device,
                    properties=dict(self.properties),
                )  # fmt: skip
            return self._worker.request(method, **arguments)
        except WorkerError as error:
            self.close()
            raise InputError(f"evaluating on {self.device}: {error}") from error


class LanguageWorker:
    """Runs a text generator; each public method handles a request."""

    _run: DecoderRun

    def open(self, request: dict[str, Any]) -> dict[str, Any]:
        """Read the graph and the tokens."""
        model = read_graph(Path(request["xml"]))
        decoder = GraphDecoder(model, request["device"], request["properties"])
        self._run = DecoderRun(decoder, np.load(request["tokens"]))
        return {}

    def logits(self, request: dict[str, Any]) -> dict[str, Any]:
        """Write the logits of a window into a file."""
        window = Window(request["start"], request["first"], request["end"])
        np.save(request["path"], self._run.logits(window))
        return {}

    def continue_from(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the most likely tokens after prompts."""
        return {"tokens": self._run.continue_from(request["starts"]).tolist()}


if __name__ == "__main__":
    serve(LanguageWorker)
