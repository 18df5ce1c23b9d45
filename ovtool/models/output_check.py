"""Check of a saved conversion: its outputs against the source's on the same inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ovtool.core.errors import InputError
from ovtool.core.notes import make_note
from ovtool.core.shapes import OPEN, shape_text
from ovtool.core.variant import ConversionCheck, OutputDifference, ports
from ovtool.graph.reference_run import ReferenceModel
from ovtool.models.inputs import check_shapes, inputs_text, random_inputs, with_batch
from ovtool.models.output_difference import OutputHistory, compare_output, disagreement
from ovtool.models.source import RuntimeUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import openvino as ov

    from ovtool.core.notes import Note
    from ovtool.core.variant import Port
    from ovtool.models.options import SourceOptions
    from ovtool.models.source import Array, DeclaredOutput, Inputs, Reference, SourceModel

DEFAULT_TOLERANCE = 1e-3
"""Relative to an output's largest absolute value; f32 convolution nets stay below 1e-5."""

STEPS = {"bf16": 2**-7, "f8e4m3": 2**-3, "f8e5m2": 2**-2, "f4e2m1": 2**-1}
"""Largest step between two values of a narrow output type, relative to the value: two correct
computations may round to the two sides of a value."""

_RANDOM = frozenset({"RandomUniform", "Multinomial"})


@dataclass(frozen=True, slots=True)
class CheckedConversion:
    """The verdict of a check, and the notes that stay with the variant."""

    check: ConversionCheck
    notes: tuple[Note, ...] = ()


def compare_with_source(
    xml: Path, source: SourceModel, options: SourceOptions
) -> CheckedConversion:
    """Compare a saved IR's outputs with the source's on the same inputs.

    Raises:
        InputError: An output differs by more than the tolerance, is not finite while the source's
            is, has another shape, or a model does not run.
    """
    import openvino as ov

    # Without memory mapping: on Windows a mapped file prevents renaming its folder.
    model = ov.Core().read_model(xml, config={"ENABLE_MMAP": False})
    if source.reference is None:
        return _unchecked(model, source, options)
    try:
        return _Check(model, source, source.reference, options).run()
    except RuntimeUnavailableError as error:
        return _unchecked(model, replace(source, why_unchecked=str(error)), options)


class _Check:
    """One comparison of a converted model with its source."""

    def __init__(
        self, model: ov.Model, source: SourceModel, reference: Reference, options: SourceOptions
    ) -> None:
        self._model, self._source, self._options = model, source, options
        self._reference = reference
        self._converted = ReferenceModel(model)
        self._tolerance = options.tolerance or DEFAULT_TOLERANCE
        self._tried: list[str] = []
        self._steps = {p.name: STEPS[p.dtype] for p in ports(model)["outputs"] if p.dtype in STEPS}
        self._outputs = [
            _history(port.name, result)
            for port, result in zip(ports(model)["outputs"], model.outputs, strict=True)
        ]

    def run(self) -> CheckedConversion:
        """Try inputs until every output is compared."""
        # A static batch of the source stays.
        base = check_shapes(self._source.model, self._source.symbols)
        self._compare(random_inputs(self._model, base, self._options.seed), base)
        for batch in (2, 5):
            larger = with_batch(self._model, base, batch=batch)
            if larger != base:
                inputs = random_inputs(self._model, larger, self._options.seed + batch)
                if not self._compare(inputs, base):
                    break
        check = ConversionCheck(
            against=self._source.against,
            tolerance=self._tolerance,
            inputs=f"random, seed {self._options.seed}: {'; '.join(self._tried)}",
            differences=tuple(output.to_record() for output in self._outputs),
        )
        return CheckedConversion(check, tuple(check_notes(check)))

    def _compare(self, inputs: Inputs, base: Mapping[str, tuple[int, ...]]) -> bool:
        """Compare all outputs on some inputs; return whether the source accepts them."""
        try:
            expected = self._reference(inputs)
        except InputError as error:
            if isinstance(error, RuntimeUnavailableError) and not self._tried:
                raise
            if self._tried:
                self._tried.append(f"not {inputs_text(inputs)}, which the source does not accept")
                return False
            raise _with_shape_hint(error, base) from error
        actual = self._converted.run(inputs)
        if len(expected) != len(actual):
            raise InputError(
                f"the source has {len(expected)} outputs, the conversion {len(actual)}"
            )
        self._tried.append(inputs_text(inputs))
        for output, ours, theirs in zip(self._outputs, actual, expected, strict=True):
            if not output.random:
                self._judge(output, ours, theirs)
        return True

    def _judge(self, output: OutputHistory, ours: Array, theirs: Array) -> None:
        comparison = compare_output(output.name, ours, theirs)
        tolerance = max(self._tolerance, self._steps.get(output.name, 0.0))
        if not comparison.agrees(tolerance):
            raise disagreement(output.name, comparison, self._source.against, tolerance, 0.0)
        output.comparisons.append(comparison)


def check_notes(check: ConversionCheck) -> Sequence[Note]:
    """Return the notes on outputs that were not checked."""
    unchecked = check.unchecked
    if not unchecked:
        return ()
    if check.against is None:
        return (make_note("conversion-not-checked", check.why_unchecked),)
    evidence = "; ".join(f"{d.output}: {_REASONS[d.status]}" for d in unchecked)
    if len(unchecked) == len(check.differences):
        return (make_note("conversion-not-checked", evidence),)
    return (make_note("outputs-not-checked", evidence),)


_REASONS = {
    "no-reference": "no runtime of the source",
    "empty": "empty for all inputs tried",
    "constant": "one value for all inputs tried",
    "not-finite": "NaN or infinite in the source for all inputs tried",
    "random": "depends on random numbers",
}


def _unchecked(model: ov.Model, source: SourceModel, options: SourceOptions) -> CheckedConversion:
    """Return that nothing was compared, after a run that gives what the source declares.

    Raises:
        InputError: The conversion does not run, or an output has another shape or type than the
            source declares.
    """
    inputs = random_inputs(model, check_shapes(source.model, source.symbols), options.seed)
    outputs = ReferenceModel(model).run(inputs)
    for port, output in zip(ports(model)["outputs"], outputs, strict=True):
        if port.name in source.declared:
            # Other input shapes than those of the source give other output shapes.
            declared = source.declared[port.name]
            _compare_declared(port, output.shape, declared, sizes=not options.input_shapes)
    check = ConversionCheck(
        against=None,
        tolerance=options.tolerance or DEFAULT_TOLERANCE,
        inputs=f"not compared, only run: {inputs_text(inputs)}",
        differences=tuple(
            OutputDifference(
                output=port.name,
                status="no-reference",
                compared=0,
                max_abs_difference=None,
                largest_value=None,
            )
            for port in ports(model)["outputs"]
        ),
        why_unchecked=source.why_unchecked,
    )
    return CheckedConversion(check, tuple(check_notes(check)))


def _compare_declared(
    port: Port, shape: tuple[int, ...], declared: DeclaredOutput, *, sizes: bool
) -> None:
    if declared.dtype not in (None, port.dtype):
        raise InputError(
            f"output {port.name!r} is {port.dtype}, the source declares {declared.dtype}",
            "OpenVINO reads this model wrongly",
        )
    if declared.shape is None:
        return
    pairs = zip(shape, declared.shape, strict=False)
    same = all(other in (size, OPEN) or not sizes for size, other in pairs)
    if len(shape) != len(declared.shape) or not same:
        raise InputError(
            f"output {port.name!r} has shape {shape_text(shape) or 'of a scalar'}, "
            f"the source declares {shape_text(declared.shape) or 'a scalar'}",
            "OpenVINO reads this model wrongly, or the file declares a wrong shape",
        )


def _history(name: str, result: Any) -> OutputHistory:
    types = ancestor_types(result.get_node())
    return OutputHistory(name, varies="Parameter" in types, random=bool(types & _RANDOM))


def ancestor_types(node: Any) -> set[str]:
    """Return the types of the operations whose values an operation depends on.

    ``ShapeOf`` depends on no values.  The bodies of loops and branches count.
    """
    types: set[str] = set()
    pending, seen = [node], {node.get_name()}
    while pending:
        current = pending.pop()
        kind = current.get_type_name()
        types.add(kind)
        if kind == "ShapeOf":
            continue
        bodies = [current.get_function()] if kind in {"Loop", "TensorIterator"} else []
        if kind == "If":
            bodies = [current.get_function(index) for index in (0, 1)]
        types |= {op.get_type_name() for body in bodies for op in body.get_ops()} - {"Parameter"}
        for value in current.input_values():
            source = value.get_node()
            if source.get_name() not in seen:
                seen.add(source.get_name())
                pending.append(source)
    return types


def _with_shape_hint(error: InputError, shapes: Mapping[str, tuple[int, ...]]) -> InputError:
    tried = " ".join(f"--shape {name}={shape_text(shape)}" for name, shape in shapes.items())
    return InputError(f"{error} (tried {tried})", f"set the input shapes: {tried}")
