"""How far a device's outputs are from the CPU's in f32, and from which operation on.

Both run the same variant on the same samples, each in a process of its own.  Where the outputs are
too far apart, results are added to a few operations of the graph at a time, and both sides' are
compared.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.benchmark.session import Job, Runner, Session, TrialFailedError
from ovtool.core import units
from ovtool.core.notes import Note, make_note
from ovtool.datasets.samples import First
from ovtool.evaluation import find, relative_error
from ovtool.evaluation.evaluator import outputs, stacked
from ovtool.graph.operations import operations
from ovtool.graph.reference_run import EXACT_PROPERTIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.datasets.samples import Samples

SAMPLES = 4
"""Samples that are compared: an operation that loses precision does so on each."""
TOLERANCE = 0.05
"""Share of the largest output; rounding to bf16 or f16 all through a network stays below it."""
_COMPARABLE = {"f16", "f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"}


@dataclass(frozen=True, slots=True)
class Apart:
    """The operation from which on outputs are apart: what it reads is not.

    Args:
        name: Its friendly name.
        type: Its type.
        error: Its largest difference, as a share of its largest value on the CPU in f32.
        before: The largest such share of what it reads.
        compared: Operations that were compared.
        earlier: Names of earlier operations that were seen to be apart too; their errors vanish
            before this one, or go another way.
    """

    name: str
    type: str
    error: float
    before: float
    compared: int
    earlier: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """How far outputs are from those of the same variant on the CPU in f32.

    Args:
        error: The largest difference as a share of the largest output there.
        tolerance: What is no warning.
        samples: That were compared.
        apart: The operation that it comes from; None within the tolerance, or not found.
        not_found: Why the operation is not known; empty where it is, or need not be.
    """

    error: float
    tolerance: float
    samples: int
    apart: Apart | None = None
    not_found: str = ""

    def note(self, what: str) -> Note | None:
        """Return a warning; None within the tolerance.

        Args:
            what: The variant, device and precision, in words.
        """
        if self.error <= self.tolerance:
            return None
        where = f"first divergence unknown: {self.not_found}"
        if self.apart is not None:
            one = self.apart
            where = (
                f"first divergence at {one.type} {one.name!r} (error {share(one.error)}, its inputs"
                f" {share(one.before)}); {one.compared} operations compared"
            )
            if one.earlier:
                where += f"; earlier, without effect there: {', '.join(one.earlier[:3])}"
        error = f"{what}: {share(self.error)} of the largest output, tolerance"
        return make_note("device-difference", f"{error} {share(self.tolerance)}; {where}")


def share(error: float) -> str:
    """Return a relative error as a person reads it."""
    return f"{units.text(100 * error)} %" if math.isfinite(error) else "an infinite share"


def difference(
    session: Session, job: Job, samples: Samples, index: int, runner: Runner, tolerance: float
) -> Difference:
    """Compare the outputs of a session with those of the CPU in f32.

    Args:
        session: Opened for ``job``.
        job: What runs on the device.
        samples: Those of which the first few are compared.
        index: Of the output that is compared.
        runner: Opens the sessions of the other side, and of the search.
        tolerance: Largest share that is no warning.

    Raises:
        TrialFailedError: The device failed, or the model does not run on the CPU.
    """
    few = First(samples, SAMPLES)
    exact = _on_cpu(job)
    with contextlib.closing(runner.open(exact, warm_up=False)) as reference:
        error = relative_error(outputs(session, few, index), outputs(reference, few, index))
    found = Difference(error, tolerance, len(few))
    if error <= tolerance:
        return found
    try:
        return _Probing(job, exact, few, runner).located(found, index)
    except TrialFailedError as failure:
        return replace(found, not_found=str(failure))


def _on_cpu(job: Job) -> Job:
    """Return a job as the CPU runs it most exactly, with the same shapes."""
    trial = replace(job.trial, device="CPU", precision="f32")
    return replace(job, trial=trial, properties=EXACT_PROPERTIES, notes=())


@dataclass(slots=True)
class _Probing:
    job: Job
    exact: Job
    samples: Samples
    runner: Runner
    _nodes: tuple[Any, ...] = field(default=(), init=False)

    def located(self, found: Difference, index: int) -> Difference:
        """Return the difference with the operation that it comes from."""
        import openvino as ov

        model = self._model()
        if model.get_sinks():
            return replace(found, not_found="the model keeps state between inferences")
        model.reshape({i: ov.PartialShape(list(s)) for i, s in enumerate(self.job.shapes)})
        self._nodes = operations(model).moving
        places = {node.get_name(): place for place, node in enumerate(self._nodes)}
        sources = [
            [places[name] for name in map(_read, node.inputs()) if name in places]
            for node in self._nodes
        ]
        end = places.get(_read(model.outputs[index].get_node().input(0)))
        if end is None:
            return replace(found, not_found="the output is no operation's")
        parting = find(sources, end, self.errors, found.tolerance)
        if parting is None:
            told = "with intermediate outputs read, the difference is gone: fusing makes it"
            return replace(found, not_found=told)
        node = self._nodes[parting.place]
        apart = Apart(
            name=node.get_friendly_name(),
            type=node.get_type_name(),
            error=parting.error,
            before=parting.before,
            compared=parting.compared,
            earlier=tuple(self._nodes[place].get_friendly_name() for place in parting.earlier),
        )
        return replace(found, apart=apart)

    def errors(self, places: Sequence[int]) -> dict[int, float]:
        """Compare operations on both sides; those without comparable outputs are left out."""
        asked = [place for place in places if _comparable(self._nodes[place])]
        if not asked:
            return {}
        scratch = tempfile.TemporaryDirectory(prefix="ovtool-parting-", ignore_cleanup_errors=True)
        with scratch as folder:
            xml = Path(folder) / "probe.xml"
            positions = self._with_results(asked, xml)
            ours, exact = (self._inferred(job, xml) for job in (self.job, self.exact))
        return {
            place: max(relative_error(ours[n], exact[n]) for n in of)
            for place, of in positions.items()
        }

    def _model(self) -> ov.Model:
        import openvino as ov

        return ov.Core().read_model(self.job.xml)

    def _with_results(self, places: Sequence[int], target: Path) -> dict[int, list[str]]:
        """Save the graph with results for some operations; return the names of their arrays."""
        import openvino as ov
        from openvino import opset15 as op

        model = self._model()
        nodes = operations(model).moving
        results, by_name = [], {}
        for place in places:
            for port in nodes[place].outputs():
                result = op.result(port)
                result.set_friendly_name(f"probe-{place}-{port.get_index()}")
                by_name[result.get_friendly_name()] = place
                results.append(result)
        model.add_results(results)
        ov.save_model(model, target, compress_to_fp16=False)
        found: dict[int, list[str]] = {}
        for position, output in enumerate(ov.Core().read_model(target).outputs):
            name = output.get_node().get_friendly_name()
            if name in by_name:
                found.setdefault(by_name[name], []).append(f"arr_{position}")
        return found

    def _inferred(self, job: Job, xml: Path) -> Mapping[str, NDArray[Any]]:
        asked, answered = xml.with_name("inputs.npz"), xml.with_name("outputs.npz")
        np.savez(asked, **stacked(list(self.samples)))  # type: ignore[arg-type] # arrays by input name
        session = self.runner.open(replace(job, xml=xml, inputs=None), warm_up=False)
        with contextlib.closing(session):
            session.infer(asked, answered)
        with np.load(answered) as found:
            return {name: found[name] for name in found.files}


def _read(port: Any) -> str:
    """Return the name of the node that an input reads."""
    return str(port.get_source_output().get_node().get_name())


def _comparable(node: Any) -> bool:
    """Whether all outputs of an operation are numbers of a size that is known."""
    return all(
        port.get_element_type().get_type_name() in _COMPARABLE
        and port.get_partial_shape().is_static
        for port in node.outputs()
    )
