"""Runs a compressed model once before it is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core.errors import InputError
from ovtool.core.ports import fixed_batch, ports
from ovtool.core.third_party import read_graph
from ovtool.datasets.samples import batches, random_sample
from ovtool.evaluation.divergence import compute_relative_error
from ovtool.graph.flops import compute_cost
from ovtool.graph.reference_run import ReferenceModel
from ovtool.graph.runtime import read_layers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import openvino as ov

    from ovtool.core.ports import Port
    from ovtool.core.progress import Progress
    from ovtool.core.variant import Variant
    from ovtool.datasets.samples import Samples
    from ovtool.graph.runtime import Layer

# Sizes of open dimensions without a sample: of images, of other inputs.
_OPEN_IMAGE, _OPEN_OTHER = 224, 16
_SEED = 0


@dataclass(frozen=True, slots=True)
class CheckedRun:
    """What the runs of a model show.

    ``layers`` are those that the CPU executes; None if it did not run. ``difference`` is the
    largest difference between two runs of the compiled model, relative to the largest output.
    ``compiled`` is that model, to run on other inputs; None if it did not run.
    """

    layers: list[Layer] | None
    difference: float = 0.0
    compiled: ReferenceModel | None = None


def check_runs(
    model: ov.Model, parent: Variant, samples: Samples | None, progress: Progress
) -> CheckedRun:
    """Run a model on the CPU, check that its outputs are finite, and run it again.

    A second compilation would take longer than the compression of weights: evaluate and the sweep
    compare processes.

    The input is the first sample. It is seeded random values without samples, and where the input
    shapes differ from the parent's, which the samples fit. If the parent fails on random values
    too, a note says that the model was not checked.

    Raises:
        InputError: The model does not run, or an output has NaN or infinity and the parent's
            outputs do not.
    """
    inputs = ports(model)["inputs"]
    reshaped = [p.shape for p in inputs] != [p.shape for p in parent.record.inputs]
    feed = _feed(inputs, parent, None if reshaped else samples)
    compressed = ReferenceModel(model)
    failure, outputs = _run(compressed, feed)
    if failure is None:
        layers = read_layers(compressed.compiled, compute_cost(model))
        pairs = zip(compressed.run(feed), outputs, strict=True)
        errors = [compute_relative_error(a, b) for a, b in pairs if b.dtype.kind in "fiu"]
        return CheckedRun(layers, max(errors, default=0.0), compressed)
    before = ReferenceModel(read_graph(parent.xml))
    if reshaped or _run(before, feed)[0] is None:
        raise InputError(f"the compressed model {failure}", "ignore layers, or use other settings")
    if samples is not None:
        raise InputError(f"variant {parent.name} {failure} before compression")
    progress.note(f"warning: not checked by a run: on random values {parent.name} {failure} too")
    return CheckedRun(None)


def _feed(
    inputs: Sequence[Port], parent: Variant, samples: Samples | None
) -> dict[int, np.typing.NDArray[Any]]:
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


def _run(
    reference: ReferenceModel, feed: dict[int, np.typing.NDArray[Any]]
) -> tuple[str | None, list[np.typing.NDArray[Any]]]:
    """Return why a run of the model fails, as a predicate, None if it succeeds; and its outputs."""
    try:
        outputs = reference.run(feed)
    except InputError as error:
        return f"fails a run: {error}", []
    for port, values in zip(ports(reference.model)["outputs"], outputs, strict=True):
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            return f"returns NaN or infinity at {port.name}", outputs
    return None, outputs
