"""Which operations a compiler fails on, found by compiling parts of the graph.

Compilers reject a model with errors that name no operation.  So the operations are taken in the
order of the graph, the shortest beginning that fails is found by halving, and its last operation is
the suspect; then the search goes on behind it.  That a longer beginning fails where a shorter one
does is taken for granted.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ovtool.graph.operations import operations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import openvino as ov

    from ovtool.compile_check.compiling import Outcome

MOST = 4
"""Suspects that are looked for."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """An operation that a compiler fails on.

    Args:
        name: Its friendly name.
        type: Its type.
        alone: Whether it fails by itself, without the operations before it.
        error: What the compiler said of the smallest part with it that failed.
        since: Where it compiles alone: name of the first operation of the shortest stretch that
            fails with it.
        alike: Other operations of this type, which were not tried.
    """

    name: str
    type: str
    alone: bool
    error: str
    since: str = ""
    alike: int = 0


@dataclass(frozen=True, slots=True)
class Search:
    """What looking for suspects came to.

    Args:
        suspects: In the order of the graph.
        rest_compiles: Whether everything else was seen to compile.
        compiles: Trial compiles that it took.
        note: Why it was not looked for, or not to the end.
    """

    suspects: tuple[Suspect, ...] = ()
    rest_compiles: bool = False
    compiles: int = 0
    note: str = ""


def search(model: ov.Model, compile_part: Callable[[ov.Model], Outcome]) -> Search:
    """Look for the operations that a compiler fails on.

    Args:
        model: One that it fails on, all shapes fixed; as it was afterwards.
        compile_part: Compiles a part of it.
    """
    if model.get_sinks():
        return Search(note="the model keeps state between inferences, so its parts cannot be tried")
    graph = _Graph(model)
    return _Searching(graph, compile_part).run()


@dataclass(slots=True)
class _Searching:
    graph: _Graph
    compile_part: Callable[[ov.Model], Outcome]
    count: int = 0
    errors: dict[tuple[str, str], str] = field(default_factory=dict)

    def run(self) -> Search:
        pending: list[Sequence[Any]] = [self.graph.operations]
        found: list[Suspect] = []
        blamed: set[str] = set()
        while pending and len(found) < MOST:
            stretch = pending.pop(0)
            if found and not self.fails(stretch):
                continue
            end = self.shortest_beginning(stretch)
            suspect = self.suspect(stretch[:end])
            found.append(suspect)
            if suspect.alone:
                blamed.add(suspect.type)
            pending = [
                part for rest in (stretch[end:], *pending) for part in _split(rest, blamed) if part
            ]
        note = f"the search ended after {MOST} suspects" if pending else ""
        return Search(tuple(found), not pending, self.count, note)

    def fails(self, stretch: Sequence[Any]) -> bool:
        """Compile a stretch of operations."""
        self.count += 1
        with self.graph.cut(stretch) as part:
            outcome = self.compile_part(part)
        self.errors[_ends(stretch)] = outcome.error
        return not outcome.compiled

    def shortest_beginning(self, stretch: Sequence[Any]) -> int:
        """Return how many operations the shortest beginning that fails has; all of them do."""
        good, bad = 0, len(stretch)
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (good, middle) if self.fails(stretch[:middle]) else (middle, bad)
        return bad

    def suspect(self, beginning: Sequence[Any]) -> Suspect:
        """Say what is known of the last operation of a beginning that fails."""
        last = beginning[-1]
        name, kind = last.get_friendly_name(), last.get_type_name()
        if self.fails([last]):
            same = [op for op in self.graph.operations if op.get_type_name() == kind]
            error = self.errors[_ends([last])]
            return Suspect(name, kind, alone=True, error=error, alike=len(same) - 1)
        bad, good = 0, len(beginning) - 1
        while good - bad > 1:
            middle = (good + bad) // 2
            good, bad = (good, middle) if self.fails(beginning[middle:]) else (middle, bad)
        error = self.errors.get(_ends(beginning[bad:]), "")
        since = beginning[bad].get_friendly_name()
        return Suspect(name, kind, alone=False, error=error, since=since)


def _ends(stretch: Sequence[Any]) -> tuple[str, str]:
    return stretch[0].get_name(), stretch[-1].get_name()


def _split(stretch: Sequence[Any], blamed: set[str]) -> Iterator[Sequence[Any]]:
    """Yield what lies between the operations of types that fail by themselves."""
    begin = 0
    for place, operation in enumerate(stretch):
        if operation.get_type_name() in blamed:
            yield stretch[begin:place]
            begin = place + 1
    yield stretch[begin:]


class _Graph:
    """The operations that depend on the inputs, in order; what depends on none stays with them."""

    def __init__(self, model: ov.Model) -> None:
        self._model = model
        found = operations(model)
        self.operations, self._fixed = found.moving, found.fixed

    @contextlib.contextmanager
    def cut(self, stretch: Sequence[Any]) -> Iterator[ov.Model]:
        """Yield a model of a stretch of operations; the graph is whole again afterwards."""
        import openvino as ov

        inside = {node.get_name() for node in stretch}
        edges: list[tuple[Any, Any]] = []
        parameters: dict[tuple[str, int], Any] = {}
        heads: dict[tuple[str, int], Any] = {}
        results = self._results(stretch, inside)
        try:
            for node in stretch:
                for port in node.inputs():
                    source = port.get_source_output()
                    before = source.get_node()
                    if before.get_name() in inside | self._fixed:
                        continue
                    key = before.get_name(), source.get_index()
                    if key not in parameters:
                        parameters[key], heads[key] = _stand_in(source)
                    edges.append((port, source))
                    port.replace_source_output(heads[key])
            yield ov.Model(results, list(parameters.values()), "part")
        finally:
            for port, source in edges:
                port.replace_source_output(source)

    @staticmethod
    def _results(stretch: Sequence[Any], inside: set[str]) -> list[Any]:
        """Return a result for every output that something outside reads."""
        from openvino import opset15 as op

        results = []
        for node in stretch:
            for output in node.outputs():
                readers = {port.get_node().get_name() for port in output.get_target_inputs()}
                if readers - inside:
                    boolean = output.get_element_type().get_type_name() == "boolean"
                    shown = op.convert(output, "u8").output(0) if boolean else output
                    results.append(op.result(shown))
        return results


def _stand_in(source: Any) -> tuple[Any, Any]:
    """Return a parameter in the place of an output, and what its readers are given of it."""
    import openvino as ov
    from openvino import opset15 as op

    kind = source.get_element_type()
    boolean = kind.get_type_name() == "boolean"  # which is no type of inputs everywhere
    parameter = op.parameter(source.get_partial_shape(), ov.Type.u8 if boolean else kind)
    if not boolean:
        return parameter, parameter.output(0)
    return parameter, op.convert(parameter, "boolean").output(0)
