"""Finds the operations that a compiler fails on, by compiling parts of the graph.

Compilers reject a model with errors that name no operation.  The search takes the operations in
topological order and bisects for the shortest prefix that fails; the last operation of this prefix
is a suspect.  The search then continues after it.  It assumes that every longer prefix fails too.
A compiler may also fail by chance, for example for lack of memory: an operation that compiles alone
is a suspect only where the prefix fails again.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ovtool.graph.operations import sort_operations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import openvino as ov

    from ovtool.compile_check.compiling import Outcome

MAX_SUSPECTS = 4


@dataclass(frozen=True, slots=True)
class Suspect:
    """An operation that a compiler fails on.

    Args:
        name: Friendly name.
        fails_alone: Whether the operation fails without the operations before it.
        error: The compiler's error for the smallest failing part with this operation.
        fails_from: For an operation that compiles alone, the name of the first operation of the
            shortest segment that fails with it.
        untested_same_type: Number of other operations of this type; they were not compiled alone.
    """

    name: str
    type: str
    fails_alone: bool
    error: str
    fails_from: str = ""
    untested_same_type: int = 0


@dataclass(frozen=True, slots=True)
class Search:
    """The result of a search for suspects.

    Args:
        suspects: In topological order.
        rest_compiles: Whether all other operations compile.
        compiles: Number of trial compiles.
        note: Why there was no search, or an incomplete one.
    """

    suspects: tuple[Suspect, ...] = ()
    rest_compiles: bool = False
    compiles: int = 0
    note: str = ""


def search(model: ov.Model, compile_part: Callable[[ov.Model], Outcome]) -> Search:
    """Search for the operations that a compiler fails on.

    The model has fixed shapes, does not compile, and is unchanged afterwards.
    """
    if model.get_sinks():
        return Search(note="a stateful model cannot be compiled in parts")
    return _Bisection(_Graph(model), compile_part).run()


@dataclass(slots=True)
class _Bisection:
    graph: _Graph
    compile_part: Callable[[ov.Model], Outcome]
    count: int = 0
    unrepeated: int = 0
    errors: dict[tuple[str, str], str] = field(default_factory=dict)

    def run(self) -> Search:
        pending: list[Sequence[Any]] = [self.graph.operations]
        suspects: list[Suspect] = []
        failing_types: set[str] = set()
        while pending and len(suspects) < MAX_SUSPECTS:
            segment = pending.pop(0)
            if self.count and not self.fails(segment):
                continue
            end = self.find_shortest_prefix(segment)
            suspect = self.describe_last(segment[:end])
            if suspect is None:
                self.unrepeated += 1
            else:
                suspects.append(suspect)
                if suspect.fails_alone:
                    failing_types.add(suspect.type)
            pending = [
                part
                for rest in (segment[end:], *pending)
                for part in _split(rest, failing_types)
                if part
            ]
        return Search(tuple(suspects), not pending, self.count, self.describe_end(bool(pending)))

    def describe_end(self, stopped: bool) -> str:
        notes = [f"the search stopped after {MAX_SUSPECTS} suspects"] if stopped else []
        if self.unrepeated:
            failures = "1 failure" if self.unrepeated == 1 else f"{self.unrepeated} failures"
            notes.append(f"{failures} of the compiler did not occur again and named no suspect")
        return "; ".join(notes)

    def fails(self, segment: Sequence[Any]) -> bool:
        self.count += 1
        with self.graph.cut(segment) as part:
            outcome = self.compile_part(part)
        self.errors[_end_names(segment)] = outcome.error
        return not outcome.compiled

    def find_shortest_prefix(self, segment: Sequence[Any]) -> int:
        """Return the length of the shortest failing prefix of a failing segment."""
        return _bisect(0, len(segment), lambda length: self.fails(segment[:length]))

    def describe_last(self, prefix: Sequence[Any]) -> Suspect | None:
        """Describe the last operation of a failing prefix; None where the failure was chance."""
        last = prefix[-1]
        name, kind = last.get_friendly_name(), last.get_type_name()
        if self.fails([last]):
            same = [op for op in self.graph.operations if op.get_type_name() == kind]
            error = self.errors[_end_names([last])]
            return Suspect(
                name, kind, fails_alone=True, error=error, untested_same_type=len(same) - 1
            )
        if not self.fails(prefix):
            return None
        start = _bisect(len(prefix) - 1, 0, lambda start: self.fails(prefix[start:]))
        error = self.errors.get(_end_names(prefix[start:]), "")
        fails_from = prefix[start].get_friendly_name()
        return Suspect(name, kind, fails_alone=False, error=error, fails_from=fails_from)


def _bisect(good: int, bad: int, fails: Callable[[int], bool]) -> int:
    """Return the failing position next to one that does not fail."""
    while abs(bad - good) > 1:
        middle = (good + bad) // 2
        good, bad = (good, middle) if fails(middle) else (middle, bad)
    return bad


def _end_names(segment: Sequence[Any]) -> tuple[str, str]:
    return segment[0].get_name(), segment[-1].get_name()


def _split(segment: Sequence[Any], failing_types: set[str]) -> Iterator[Sequence[Any]]:
    """Yield the parts between the operations of types that fail alone."""
    start = 0
    for index, operation in enumerate(segment):
        if operation.get_type_name() in failing_types:
            yield segment[start:index]
            start = index + 1
    yield segment[start:]


class _Graph:
    """The operations that depend on the inputs, in topological order; the constant ones stay."""

    def __init__(self, model: ov.Model) -> None:
        self._model = model
        self.operations, self._fixed = sort_operations(model)

    @contextlib.contextmanager
    def cut(self, segment: Sequence[Any]) -> Iterator[ov.Model]:
        """Yield a model of a segment of operations; restore the graph afterwards."""
        import openvino as ov

        inside = {node.get_name() for node in segment}
        edges: list[tuple[Any, Any]] = []
        parameters: dict[tuple[str, int], Any] = {}
        heads: dict[tuple[str, int], Any] = {}
        results = self._results(segment, inside)
        try:
            for node in segment:
                for port in node.inputs():
                    source = port.get_source_output()
                    before = source.get_node()
                    if before.get_name() in inside | self._fixed:
                        continue
                    key = before.get_name(), source.get_index()
                    if key not in parameters:
                        parameters[key], heads[key] = _create_parameter(source)
                    edges.append((port, source))
                    port.replace_source_output(heads[key])
            yield ov.Model(results, list(parameters.values()), "part")
        finally:
            for port, source in edges:
                port.replace_source_output(source)

    @staticmethod
    def _results(segment: Sequence[Any], inside: set[str]) -> list[Any]:
        """Return a result for every output that an operation outside the segment reads."""
        from openvino import opset15 as op

        results = []
        for node in segment:
            for output in node.outputs():
                readers = {port.get_node().get_name() for port in output.get_target_inputs()}
                if readers - inside:
                    boolean = output.get_element_type().get_type_name() == "boolean"
                    shown = op.convert(output, "u8").output(0) if boolean else output
                    results.append(op.result(shown))
        return results


def _create_parameter(source: Any) -> tuple[Any, Any]:
    """Return a parameter that replaces an output, and the output for its readers."""
    import openvino as ov
    from openvino import opset15 as op

    kind = source.get_element_type()
    boolean = kind.get_type_name() == "boolean"  # not every plugin supports boolean inputs
    parameter = op.parameter(source.get_partial_shape(), ov.Type.u8 if boolean else kind)
    if not boolean:
        return parameter, parameter.output(0)
    return parameter, op.convert(parameter, "boolean").output(0)
