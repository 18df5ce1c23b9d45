"""Difference of a device from the CPU in f32, and the operation where their outputs first diverge.

Both run the same variant on the same samples, each in a process. If the outputs differ by more
than the tolerance, both run again with a few operations of the graph as additional outputs.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.benchmark.session import Job, Runner, Session, TrialFailedError
from ovtool.core import temporary, units
from ovtool.core.notes import Note, make_note
from ovtool.core.shapes import port_name
from ovtool.core.third_party import read_graph
from ovtool.datasets.samples import FirstSamples
from ovtool.evaluation.divergence import compute_relative_error, find_divergence
from ovtool.evaluation.evaluator import infer_samples
from ovtool.evaluation.outputs import join_rows, read_rows
from ovtool.graph.operations import VIEWS, sort_operations
from ovtool.graph.reference_run import EXACT_PROPERTIES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ovtool.datasets.samples import Samples
    from ovtool.evaluation.outputs import Rows

SAMPLES = 4
"""Number of samples that are compared: an operation that loses precision does so on each."""
TOLERANCE = 0.05
"""Relative to the largest output; rounding a whole network to bf16 or f16 stays below it."""
_COMPARABLE = {"f16", "f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"}


@dataclass(frozen=True, slots=True)
class Divergence:
    """The operation where outputs first diverge: its inputs are within the tolerance.

    Args:
        error: Largest difference, relative to the largest value on the CPU in f32.
        input_error: Largest such error of the operations that it reads.
        compared: Number of operations that were compared.
        earlier: Names of earlier operations beyond the tolerance. Their errors vanish before this
            operation, or are on another branch.
    """

    name: str
    type: str
    error: float
    input_error: float
    compared: int
    earlier: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceDifference:
    """Difference of outputs from those of the same variant on the CPU in f32.

    Args:
        error: Largest difference of the worst output, relative to its largest value on the CPU in
            f32; infinite if the sizes differ; None if no output has a finite value to compare.
        tolerance: Largest error without a warning.
        samples: Number of samples that were compared.
        divergence: The operation that causes the difference; None within the tolerance, or if the
            search failed.
        search_failure: Why the operation is unknown.
        output: Name of the worst output.
    """

    error: float | None
    tolerance: float
    samples: int
    divergence: Divergence | None = None
    search_failure: str = ""
    output: str = ""

    def note(self, subject: str) -> Note | None:
        """Return a warning about a variant, device and precision; None within the tolerance."""
        if self.error is None or self.error <= self.tolerance:
            return None
        where = f"first divergence unknown: {self.search_failure}"
        if (first := self.divergence) is not None:
            where = (
                f"first divergence at {first.type} {first.name!r}"
                f" (error {percent(first.error)}, its inputs {percent(first.input_error)});"
                f" {first.compared} operations compared"
            )
            if first.earlier:
                where += f"; earlier, without effect there: {', '.join(first.earlier[:3])}"
        error = f"error {percent(self.error)}, tolerance {percent(self.tolerance)}"
        place = f"of the largest value of output {self.output}" if self.output else ""
        return make_note("device-difference", f"{subject}: {error} {place}; {where}")


def percent(error: float) -> str:
    """Return a relative error as text."""
    return f"{units.text(100 * error)}%" if math.isfinite(error) else "infinite"


def compare_with_cpu(
    session: Session, job: Job, samples: Samples, runner: Runner, tolerance: float
) -> DeviceDifference:
    """Compare the outputs of a session with those of the CPU in f32, for the first samples.

    The runner opens the sessions on the CPU, and those of the search.

    Raises:
        TrialFailedError: The device failed, or the model does not run on the CPU.
    """
    few = FirstSamples(samples, SAMPLES)
    trial = replace(job.trial, device="CPU", precision="f32")
    exact = replace(job, trial=trial, properties=EXACT_PROPERTIES, notes=())
    with contextlib.closing(runner.open(exact, warm_up=False)) as reference:
        expected, actual = read_outputs(reference, few), read_outputs(session, few)
    errors = [output_error(a, b) for a, b in zip(actual, expected, strict=True)]
    worst = max(range(len(errors)), key=errors.__getitem__)
    name = output_name(job, worst)
    if not errors[worst] and not any(map(_has_finite, expected)):
        return DeviceDifference(None, tolerance, len(few), output=name)
    difference = DeviceDifference(errors[worst], tolerance, len(few), output=name)
    if errors[worst] <= tolerance:
        return difference
    try:
        located = _Search(job, exact, few, runner).locate(worst, tolerance)
    except TrialFailedError as failure:
        located = str(failure)
    if isinstance(located, str):
        return replace(difference, search_failure=located)
    return replace(difference, divergence=located)


def read_outputs(session: Session, samples: Samples) -> list[Rows]:
    """Return all outputs of samples, by position.

    Raises:
        TrialFailedError: The device failed.
    """
    with infer_samples(session, list(samples)) as archive:
        count = sum(name.startswith("arr_") for name in archive.files)
        return [read_rows(archive, index) for index in range(count)]


def output_error(rows: Rows, exact: Rows) -> float:
    """Return the relative error of an output; infinite if a sample has another size."""
    if len(rows) != len(exact):
        return math.inf
    pairs = list(zip(rows, exact, strict=True))
    if any(np.shape(a) != np.shape(b) for a, b in pairs):
        return math.inf
    a, b = (np.concatenate([np.ravel(row) for row in side]) for side in zip(*pairs, strict=True))
    return compute_relative_error(a, b)


def _has_finite(rows: Rows) -> bool:
    return any(np.isfinite(row.astype(np.float64)).any() for row in map(np.asarray, rows))


def output_name(job: Job, index: int) -> str:
    """Return the name of an output, by its position."""
    output = read_graph(job.xml).outputs[index]
    return port_name(output.get_names(), "output", index)


@dataclass(slots=True)
class _Search:
    job: Job
    exact: Job
    samples: Samples
    runner: Runner
    _operations: list[Any] = field(default_factory=list, init=False)

    def locate(self, output: int, tolerance: float) -> Divergence | str:
        """Return the operation where an output diverges, or why it is unknown.

        A view cannot diverge: its input stands for it.

        Raises:
            TrialFailedError: A run failed.
        """
        import openvino as ov

        model = read_graph(self.job.xml)
        if model.get_sinks():
            return "the model keeps state between inferences"
        model.reshape({i: ov.PartialShape(list(s)) for i, s in enumerate(self.job.shapes)})
        self._operations = sort_operations(model)[0]
        positions = {node.get_name(): position for position, node in enumerate(self._operations)}
        sources = [
            [positions[name] for name in map(_source_name, node.inputs()) if name in positions]
            for node in self._operations
        ]
        last = model.outputs[output].get_node().input_value(0).get_node()
        while last.get_type_name() in VIEWS and last.get_input_size():
            last = last.input_value(0).get_node()
        end = positions.get(last.get_name())
        if end is None:
            return "the output is a constant or an input"
        if not _is_comparable(last):
            return "the size of the output depends on the data"
        point = find_divergence(sources, end, self.compute_errors, tolerance)
        if point is None:
            return "the difference vanishes when intermediate outputs are read: fusion causes it"
        node = self._operations[point.position]
        return Divergence(
            name=node.get_friendly_name(),
            type=node.get_type_name(),
            error=point.error,
            input_error=point.input_error,
            compared=point.compared,
            earlier=tuple(self._operations[p].get_friendly_name() for p in point.earlier),
        )

    def compute_errors(self, positions: Sequence[int]) -> dict[int, float]:
        """Compare operations on both devices; omit those without comparable outputs."""
        comparable = [p for p in positions if _is_comparable(self._operations[p])]
        if not comparable:
            return {}
        with temporary.scratch_folder("divergence") as folder:
            xml = folder / "probe.xml"
            arrays = self._save_with_results(comparable, xml)
            outputs, exact = (self._infer(job, xml) for job in (self.job, self.exact))
        return {
            position: max(compute_relative_error(outputs[i], exact[i]) for i in indices)
            for position, indices in arrays.items()
        }

    def _save_with_results(self, positions: Sequence[int], target: Path) -> dict[int, list[int]]:
        """Save the graph with results for some operations; return the indices of their outputs."""
        import openvino as ov
        from openvino import opset15 as op

        model = read_graph(self.job.xml)
        nodes, _ = sort_operations(model)
        by_name = {}
        for position in positions:
            for port in nodes[position].outputs():
                name = f"probe-{position}-{port.get_index()}"
                model.add_results([op.result(port, name=name)])
                by_name[name] = position
        ov.save_model(model, target, compress_to_fp16=False)
        indices: dict[int, list[int]] = {}
        for index, output in enumerate(read_graph(target).outputs):
            name = output.get_node().get_friendly_name()
            if name in by_name:
                indices.setdefault(by_name[name], []).append(index)
        return indices

    def _infer(self, job: Job, xml: Path) -> list[NDArray[Any]]:
        session = self.runner.open(
            replace(job, xml=xml, inputs=None, output_axes=()), warm_up=False
        )
        with contextlib.closing(session):
            return [_flat(rows) for rows in read_outputs(session, self.samples)]


def _flat(rows: Rows) -> NDArray[Any]:
    """Return rows as one array; the values only, if their sizes differ."""
    joined = join_rows([rows])
    if isinstance(joined, np.ndarray):
        return joined
    return np.concatenate([row.reshape(-1) for row in joined])


def _source_name(port: Any) -> str:
    """Return the name of the node that an input reads."""
    return str(port.get_source_output().get_node().get_name())


def _is_comparable(node: Any) -> bool:
    """Return whether all outputs are numbers of static shapes, and computed: no view."""
    return node.get_type_name() not in VIEWS and all(
        port.get_element_type().get_type_name() in _COMPARABLE
        and port.get_partial_shape().is_static
        for port in node.outputs()
    )
