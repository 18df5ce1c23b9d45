"""Runs a compressed model before it is recorded, and measures how its weights are stored.

Both take memory beside that of the compression library: the plugin and the weights in the type that
the CPU computes in, which for weights of 8 bits is four times their size. So the files of larger
models are examined in a process of its own, which a crash of the plugin ends too.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core import steps, temporary
from ovtool.core.errors import InputError
from ovtool.core.ports import fixed_batch, ports
from ovtool.core.third_party import read_graph
from ovtool.datasets.samples import batches, random_sample
from ovtool.evaluation.divergence import compute_relative_error
from ovtool.graph.flops import compute_cost
from ovtool.graph.reference_run import ReferenceModel
from ovtool.graph.runtime import layer_from_json, read_layers
from ovtool.graph.storage import Storage, measure_storage
from ovtool.system.child_process import ChildProcess, WorkerError, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.core.ports import Port
    from ovtool.core.progress import Progress
    from ovtool.core.variant import Variant
    from ovtool.datasets.samples import Samples
    from ovtool.graph.runtime import Layer

    Feed = dict[int, NDArray[Any]]

_COMMAND = (sys.executable, "-P", "-m", "ovtool.compression.execution_check")
_OWN_PROCESS = 8 << 20
"""Bytes of the parent's weights from which a result is examined in a process of its own; to start
one takes longer than to compress a smaller model."""
# Sizes of open dimensions without a sample: of images, of other inputs.
_OPEN_IMAGE, _OPEN_OTHER = 224, 16
_SEED = 0


@dataclass(frozen=True, slots=True)
class CheckedRun:
    """What the files of a model hold, and what its runs show.

    ``failure`` says why the runs fail, as a predicate. ``layers`` are those that the CPU executes;
    None if it did not run. ``difference`` is the largest difference between two runs, relative to
    the largest output. ``compiled`` is the compiled model, to run on other inputs; None if it ran
    in another process, or not at all.
    """

    layers: list[Layer] | None
    difference: float = 0.0
    compiled: ReferenceModel | None = None
    storage: Storage | None = None
    failure: str | None = None


def check_runs(
    xml: Path, parent: Variant, samples: Samples | None, progress: Progress, *, keep: bool = False
) -> CheckedRun:
    """Run a saved model twice on the CPU, and check that its outputs are finite.

    A second compilation would take longer than the compression of weights: evaluate and the sweep
    compare processes.

    The input is the first sample. It is seeded random values without samples, and where the input
    shapes differ from the parent's, which the samples fit. If the parent fails on random values
    too, a note says that the model was not checked. With ``keep``, the compiled model is in the
    result.

    Raises:
        InputError: The model does not run, or an output has NaN or infinity and the parent's
            outputs do not.
    """
    inputs = ports(_read(xml))["inputs"]
    reshaped = [p.shape for p in inputs] != [p.shape for p in parent.record.inputs]
    feed = _feed(inputs, parent, None if reshaped else samples)
    own_process = not keep and parent.record.bin_bytes >= _OWN_PROCESS
    with contextlib.closing(Examiner()) if own_process else contextlib.nullcontext() as child:
        run: Callable[[Path, Feed], CheckedRun] = child.examine if child is not None else examine
        checked = run(xml, feed)
        if checked.failure is None:
            return checked
        before = run(parent.xml, feed).failure if not reshaped else None
    if before is None:
        hint = "ignore layers, or use other settings"
        raise InputError(f"the compressed model {checked.failure}", hint)
    if samples is not None:
        raise InputError(f"variant {parent.name} {before} before compression")
    progress.note(f"warning: not checked by a run: on random values {parent.name} {before} too")
    return replace(checked, layers=None, compiled=None)


def examine(xml: Path, feed: Feed) -> CheckedRun:
    """Measure the stored weights of a saved model, and run it twice on the same inputs."""
    model = _read(xml)
    stored = measure_storage(xml, model)
    compressed = ReferenceModel(model)
    failure, outputs = _run(compressed, feed)
    if failure is not None:
        return CheckedRun(None, storage=stored, failure=failure)
    layers = read_layers(compressed.compiled, compute_cost(model))
    pairs = zip(compressed.run(feed), outputs, strict=True)
    errors = [compute_relative_error(a, b) for a, b in pairs if b.dtype.kind in "fiu"]
    return CheckedRun(layers, max(errors, default=0.0), compressed, stored)


def _read(xml: Path) -> ov.Model:
    """Read an IR; on Windows without memory mapping, since mapped files cannot be renamed."""
    return read_graph(xml, mapped=os.name != "nt")


class Examiner:
    """Examines saved models in a process of its own, which starts when needed."""

    def __init__(self) -> None:
        self._worker: ChildProcess | None = None

    def examine(self, xml: Path, feed: Feed) -> CheckedRun:
        """See :func:`examine`; a process that dies or takes too long is a failure of the model.

        Raises:
            InputError: The files cannot be read.
        """
        limit_s = steps.default_limit_s(xml)
        if self._worker is None:
            self._worker = ChildProcess(_COMMAND, limit_s)
        worker = self._worker
        with temporary.scratch_folder("check") as folder, steps.limited("checking", limit_s=0.0):
            inputs = folder / "inputs.npz"
            arrays: dict[str, Any] = {str(index): values for index, values in feed.items()}
            np.savez(inputs, **arrays)
            files = {"xml": str(xml), "inputs": str(inputs)}
            try:
                reply = worker.request("examine", timeout_s=limit_s, **files)
                return worker.parse("examine", lambda: _parse(reply))
            except WorkerError as error:
                self.close()
                if error.failure == "error":
                    raise InputError(str(error)) from error
                return CheckedRun(None, failure=f"fails a run: {error}")

    def close(self) -> None:
        """Stop the process; the next model starts another one."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None


class CheckWorker:
    """The process of :class:`Examiner`; its public method handles a request."""

    def examine(self, request: dict[str, Any]) -> dict[str, Any]:
        """Examine a saved model on the inputs of a file."""
        with np.load(request["inputs"]) as archive:
            feed = {int(index): archive[index] for index in archive.files}
        checked = examine(Path(request["xml"]), feed)
        return {
            "layers": checked.layers and list(map(asdict, checked.layers)),
            "difference": checked.difference,
            "storage": checked.storage and asdict(checked.storage),
            "failure": checked.failure,
        }


def _parse(reply: dict[str, Any]) -> CheckedRun:
    layers = reply["layers"]
    return CheckedRun(
        None if layers is None else list(map(layer_from_json, layers)),
        float(reply["difference"]),
        storage=Storage(**reply["storage"]),
        failure=reply["failure"],
    )


def _feed(inputs: Sequence[Port], parent: Variant, samples: Samples | None) -> Feed:
    sample = next(iter(samples)) if samples is not None else None
    if sample is None:
        sample = random_sample([_closed(port, parent) for port in inputs], _SEED)
    batch = next(batches([sample], inputs, fixed_batch(inputs) or 1))
    return {index: batch.inputs[port.name] for index, port in enumerate(inputs)}


def _closed(port: Port, parent: Variant) -> Port:
    """Return a port whose only open dimension is the batch; images get their recorded size."""
    recorded = parent.record.preprocessing
    height, width = (recorded and recorded.size) or (_OPEN_IMAGE, _OPEN_IMAGE)
    sizes = {"H": height, "W": width}
    letters = port.layout or "?" * len(port.shape)
    shape = tuple(
        sizes.get(letter, _OPEN_OTHER) if size < 0 and axis != port.batch_axis else size
        for axis, (letter, size) in enumerate(zip(letters, port.shape, strict=False))
    )
    return port.model_copy(update={"shape": shape})


def _run(reference: ReferenceModel, feed: Feed) -> tuple[str | None, list[NDArray[Any]]]:
    """Return why a run of the model fails, as a predicate, None if it succeeds; and its outputs."""
    try:
        outputs = reference.run(feed)
    except InputError as error:
        return f"fails a run: {error}", []
    for port, values in zip(ports(reference.model)["outputs"], outputs, strict=True):
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            return f"returns NaN or infinity at {port.name}", outputs
    return None, outputs


if __name__ == "__main__":
    serve(CheckWorker)
