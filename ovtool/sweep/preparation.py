"""Conversion and census of the models of a sweep, in a worker.

A model file that crashes or blocks OpenVINO ends the worker, not the sweep: the trials of the model
fail with the reason, and the other models are measured.  The sweep's own process reads only models
that the worker has read, and those that it converts from Python code.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.core import errors, files, steps, temporary
from ovtool.core.columns import FIGURES
from ovtool.core.holding import check_held
from ovtool.core.notes import make_note
from ovtool.core.progress import SILENT, Progress, Silent
from ovtool.core.third_party import read_graph
from ovtool.core.variant import Source, Variant, VariantRecord, versions
from ovtool.graph.storage import measure_storage, recorded_storage
from ovtool.models.convert import (
    ModelReference,
    default_name,
    is_variant,
    load_or_convert,
    load_variant,
    source_fingerprint,
)
from ovtool.models.options import SourceOptions
from ovtool.models.registry import kind_of
from ovtool.system.child_process import ChildProcess, WorkerError, serve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.graph.storage import Storage

_COMMAND = (sys.executable, "-P", "-m", "ovtool.sweep.preparation")


class Preparation:
    """Loads the models of a sweep into variants.

    Args:
        folder: Sweep folder, which gets the converted models.
        timeout_s: Time limit of a model, without the time for the size of its files.
        progress: Receives the progress of conversions.
        judged: Whether the sweep reads the graphs of variants, to judge their outputs.
    """

    def __init__(
        self,
        folder: Path,
        timeout_s: float,
        progress: Progress = SILENT,
        *,
        judged: bool = False,
    ) -> None:
        self._judged = judged
        self.failures: dict[str, str] = {}
        """Reasons by the ids of variants that cannot be measured."""
        self._folder, self._timeout_s, self._progress = folder / "variants", timeout_s, progress
        self._worker: ChildProcess | None = None

    def start(self, models: Sequence[ModelReference]) -> None:
        """Start the worker early, for models that it has to read or to convert."""
        if any(_is_file(m) or (is_variant(m) and self._reads(m)) for m in models):
            self._start_worker()

    def close(self) -> None:
        """Stop the worker."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def load(self, model: ModelReference, name: str | None = None) -> Variant:
        """Return a variant, or convert a model; a model that crashes gives a variant that fails.

        Raises:
            OvtoolError: The model is not valid.
        """
        if isinstance(model, Variant) and model.failure:
            return self._failed(model)
        if is_variant(model):
            return load_variant(model)
        reference = str(model)
        name = name or default_name(reference)
        target = self._folder / name
        if not _is_file(model):  # code of the user, which may take any time
            return load_or_convert(model, target, name=name, progress=self._progress)
        self._progress.start(f"converting {reference}")
        check_held(target)
        path = Path(reference)
        try:
            reply = self._request(
                "convert", path, reference=reference, folder=str(target), name=name
            )
        except WorkerError as error:
            temporary.remove_abandoned(self._folder)
            return self._failed(
                _stand_in(reference, target, name, f"converting {reference}: {error}")
            )
        if "error" in reply:
            kind = getattr(errors, reply["error"])
            raise kind(reply["message"], reply["hint"])
        for note in reply["notes"]:
            self._progress.note(note)
        files.mark_kept(target, "a variant")
        check_held(target)
        return Variant.load(target)

    def _failed(self, variant: Variant) -> Variant:
        self.failures[variant.id] = variant.failure
        self._progress.note(f"warning: {variant.name}: {variant.failure}")
        return variant

    def load_baseline(self, model: str, variants: Sequence[Variant]) -> Variant:
        """Return the requested baseline: a variant, or a model that is converted.

        Raises:
            OvtoolError: The model is not valid.
        """
        used = {v.name for v in variants if v.record.source.reference != model}
        name = default_name(model) if not is_variant(model) else ""
        baseline = self.load(model, f"{name}-baseline" if name in used else name)
        if baseline.compressed:
            self._progress.note(f"{baseline.name}: {make_note('compressed-baseline').text}")
        return baseline

    def measure_weights(
        self, variants: Sequence[Variant], baseline: Variant | None
    ) -> dict[str, dict[str, float | None]]:
        """Return the figures of the weights of variants, by id and column.

        A variant that cannot be read has no figures.

        Raises:
            InputError: The requested baseline cannot be converted or read.
        """
        weights = {variant.id: self._measure_weights(variant) for variant in variants}
        if baseline is not None and baseline.id in self.failures:
            raise errors.InputError(
                f"the baseline fails: {self.failures[baseline.id]}", "use another --baseline"
            )
        return weights

    def _measure_weights(self, variant: Variant) -> dict[str, float | None]:
        if variant.id in self.failures:
            return {}
        recorded = recorded_storage(variant)
        if recorded is not None and not self._judged:
            return _figures(recorded)
        try:
            return dict(self._request("measure_weights", variant.xml, folder=str(variant.folder)))
        except WorkerError as error:
            self.failures[variant.id] = f"reading {variant.xml}: {error}"
            self._progress.note(f"warning: {variant.name}: {self.failures[variant.id]}")
            return {}

    def _reads(self, model: ModelReference) -> bool:
        """Whether the worker has to read a variant; an invalid one is an error of its loading."""
        if self._judged:
            return True
        if isinstance(model, Variant) and model.failure:
            return False
        try:
            variant = model if isinstance(model, Variant) else Variant.load(model)
        except errors.OvtoolError:
            return False
        return recorded_storage(variant) is None

    def _start_worker(self) -> ChildProcess:
        if self._worker is None:
            self._worker = ChildProcess(_COMMAND, self._timeout_s)
        return self._worker

    def _request(self, method: str, path: Path, **arguments: Any) -> dict[str, Any]:
        """Send a request to the worker; a worker that failed is replaced by the next request."""
        limit_s = self._timeout_s + steps.default_limit_s(path)
        try:
            return self._start_worker().request(method, timeout_s=limit_s, **arguments)
        except WorkerError:
            self.close()
            raise


def _is_file(model: ModelReference) -> bool:
    """Whether a reference is a file or a folder that is no variant."""
    if is_variant(model):
        return False
    return kind_of(str(model)) not in ("torch", "sample")


def _figures(storage: Storage) -> dict[str, float | None]:
    return {name: value for name, value in asdict(storage).items() if name in FIGURES}


def _stand_in(reference: str, target: Path, name: str, failure: str) -> Variant:
    """Return a variant without files, for the failed trials of a model."""
    sha256 = source_fingerprint(reference, SourceOptions()) or "0" * 64
    record = VariantRecord(
        name=name,
        source=Source(kind=kind_of(reference), reference=reference, sha256=sha256),
        inputs=(),
        outputs=(),
        batch="none",
        sha256=sha256,
        xml_bytes=0,
        bin_bytes=0,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
    )
    return Variant(target, record, failure)


class PreparationWorker:
    """Reads and converts models; each public method handles a request."""

    def convert(self, request: dict[str, Any]) -> dict[str, Any]:
        """Convert a model into a variant; return the notes, or the error of an invalid model."""
        notes = _Notes()
        try:
            load_or_convert(
                request["reference"], Path(request["folder"]), name=request["name"], progress=notes
            )
        except errors.OvtoolError as error:
            name = type(error).__name__
            known = name if hasattr(errors, name) else "InputError"
            return {"error": known, "message": str(error), "hint": error.hint}
        return {"notes": notes.lines}

    def measure_weights(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the figures of the weights of a variant, by column."""
        variant = Variant.load(request["folder"])
        model = read_graph(variant.xml)  # also with a record: the sweep reads the graph too
        return _figures(recorded_storage(variant) or measure_storage(variant.xml, model))


class _Notes(Silent):
    """Keeps the notes of a conversion."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Keep a line."""
        self.lines.append(text)


if __name__ == "__main__":
    serve(PreparationWorker)
