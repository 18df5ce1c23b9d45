"""Judgment of one set of inputs: the outputs of a conversion against those of its source."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ovtool.core.errors import InputError
from ovtool.core.ports import ports
from ovtool.graph.reference_run import FLOAT_KERNELS, ReferenceModel
from ovtool.models.difference_cause import depending_outputs, undefined_casts
from ovtool.models.inputs import inputs_text
from ovtool.models.output_difference import Comparison, OutputHistory, compare_output, disagreement
from ovtool.models.source import RuntimeUnavailableError
from ovtool.models.source_error import OUTPUT_STEPS, RANDOM, ancestors, own_error, resolution

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import openvino as ov

    from ovtool.models.source import Array, Inputs, Reference, SourceModel

_RERUNS = 4
"""Runs of a source that differs, to see whether it is random; two of a few values may be equal."""


class RejectedError(Exception):
    """The source does not accept some inputs."""

    def __init__(self, error: InputError) -> None:
        self.error = error


class OutputJudge:
    """Compares outputs for sets of inputs, and keeps what they show.

    Args:
        model: The conversion.
        source: Its source.
        reference: Runs the source.
        tolerance: Maximum difference as a fraction of the largest absolute value of an output.
    """

    def __init__(
        self, model: ov.Model, source: SourceModel, reference: Reference, tolerance: float
    ) -> None:
        self._model, self._source, self._reference = model, source, reference
        self._converted = ReferenceModel(model)
        self._in_floats = ReferenceModel(model, FLOAT_KERNELS)
        self.tolerance = tolerance
        self.tried: list[str] = []
        """The inputs that were compared, as text."""
        self.outputs: list[OutputHistory] = []
        self.resolutions: list[float] = []
        self.random_names: dict[str, None] = {}
        self.kernel_error = ""
        """How 8-bit kernels of this CPU differ, where the conversion in f32 agrees."""
        self.undefined: dict[str, str] = {}
        """Casts without a defined result, by name."""
        self.undefined_error: InputError | None = None
        self._tolerances: dict[str, float] = {}
        for port, result in zip(ports(model)["outputs"], model.outputs, strict=True):
            nodes = ancestors(result.get_node())
            types = {node.get_type_name() for node in nodes}
            history = OutputHistory(port.name, "Parameter" in types, bool(types & RANDOM))
            self.random_names |= dict.fromkeys(sorted(types & RANDOM))
            self.outputs.append(history)
            self._tolerances[port.name] = max(tolerance, OUTPUT_STEPS.get(port.dtype, 0))
            self.resolutions.append(resolution(nodes))

    def compare(self, inputs: Inputs, *, record: bool = True) -> InputError | None:
        """Compare all outputs; return the first disagreement beyond the source's own error.

        Outputs of a cast without a defined result show nothing on these inputs.

        Raises:
            RejectedError: The source does not accept the inputs.
        """
        expected = self._run_source(inputs)
        if len(expected) != len(self.outputs):
            return InputError(
                f"the source has {len(expected)} outputs, the conversion {len(self.outputs)}"
            )
        error = self._disagreement(inputs, expected, record)
        if error is None:
            return None
        casts = undefined_casts(self._model, inputs)
        undefined = depending_outputs(self._model, casts)
        if not undefined:
            return error
        if len(undefined) < len(self.outputs):
            other = self._disagreement(inputs, expected, record, undefined)
            if other is not None:
                return other
        self.undefined = casts | self.undefined
        self.undefined_error = self.undefined_error or error
        return None

    def _disagreement(
        self,
        inputs: Inputs,
        expected: Sequence[Array],
        record: bool,
        ignored: frozenset[int] = frozenset(),
    ) -> InputError | None:
        """Compare the outputs, apart from ignored positions.

        A quantized graph that agrees in f32 is right, whatever the kernels of this CPU return.
        """
        error = self._judge(self._converted, inputs, expected, record, ignored)
        if error is None or not any(self.resolutions):
            return error
        if self._judge(self._in_floats, inputs, expected, record, ignored) is not None:
            return error
        self.kernel_error = self.kernel_error or str(error).partition(";")[0]
        return None

    def _judge(
        self,
        converted: ReferenceModel,
        inputs: Inputs,
        expected: Sequence[Array],
        record: bool,
        ignored: frozenset[int],
    ) -> InputError | None:
        try:
            actual = converted.run(inputs)
        except InputError as error:
            return None if ignored else error
        compared = {o.name for i, o in enumerate(self.outputs) if i not in ignored and not o.random}
        try:
            comparisons = [
                compare_output(output.name, ours, theirs)
                for output, ours, theirs in zip(self.outputs, actual, expected, strict=True)
                if output.name in compared
            ]
        except InputError as error:
            return error
        errors = [0.0] * len(expected)
        if not all(c.agrees(self._tolerances[c.name]) for c in comparisons):
            errors = self._own_errors(inputs, expected, actual)
        by_name = {comparison.name: comparison for comparison in comparisons}
        for output, own in zip(self.outputs, errors, strict=True):
            if output.random or output.name not in by_name:
                continue
            tolerance = self._tolerances[output.name]
            if not by_name[output.name].agrees(tolerance, own):
                return disagreement(by_name[output.name], self._source.against, tolerance, own)
            by_name[output.name] = replace(by_name[output.name], own_error=own)
        if record:
            self._record(inputs, by_name)
        return None

    def _record(self, inputs: Inputs, comparisons: Mapping[str, Comparison]) -> None:
        self.tried.append(inputs_text(inputs))
        for output in self.outputs:
            if not output.random and output.name in comparisons:
                output.comparisons.append(comparisons[output.name])

    def _run_source(self, inputs: Inputs) -> list[Array]:
        try:
            return self._reference(inputs)
        except InputError as error:
            if isinstance(error, RuntimeUnavailableError) and not self.tried:
                raise
            raise RejectedError(error) from error

    def _own_errors(
        self, inputs: Inputs, expected: Sequence[Array], actual: Sequence[Array]
    ) -> list[float]:
        """Return the absolute error of the source for each output, and mark random outputs."""
        for _ in range(_RERUNS):
            again = self._reference(inputs)
            for output, first, second in zip(self.outputs, expected, again, strict=True):
                same = first.shape == second.shape
                tolerance = self._tolerances[output.name]
                if not same or not compare_output(output.name, first, second).agrees(tolerance):
                    output.random = True
        if any(o.random for o in self.outputs) and self._source.random_operations is not None:
            self.random_names |= dict.fromkeys(self._source.random_operations(inputs))
        precise: Sequence[Array | None] = [None] * len(expected)
        if self._source.second is not None:
            try:
                precise = self._source.second(inputs)
            except InputError:  # not every model runs with other rounding
                precise = [None] * len(expected)
        arrays = zip(self.resolutions, expected, precise, actual, self.outputs, strict=True)
        return [
            own_error(relative, theirs, other, ours, self._tolerances[output.name])
            for relative, theirs, other, ours, output in arrays
        ]
