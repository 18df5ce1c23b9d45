"""The verdict on a conversion, and conversions that nothing but OpenVINO can run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ovtool.core.conversion_check import ConversionCheck, OutputDifference
from ovtool.core.errors import InputError
from ovtool.core.notes import make_note
from ovtool.core.ports import ports
from ovtool.core.shapes import OPEN, shape_text
from ovtool.graph.reference_run import ReferenceModel
from ovtool.models.check_inputs import FIRST, CheckInputs
from ovtool.models.inputs import check_shapes, inputs_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import openvino as ov

    from ovtool.core.notes import Note
    from ovtool.core.ports import Port
    from ovtool.models.options import SourceOptions
    from ovtool.models.source import DeclaredOutput, SourceModel

DEFAULT_TOLERANCE = 1e-3
"""Relative to an output's largest absolute value; f32 convolution nets stay below 1e-5."""
_REASONS = {
    "empty": "empty for all inputs tried",
    "constant": "one value for all inputs tried",
    "not-finite": "NaN or infinite in the source for all inputs tried",
}


@dataclass(frozen=True, slots=True)
class CheckedConversion:
    """The verdict of a check."""

    check: ConversionCheck
    notes: tuple[Note, ...] = ()
    """Notes that stay with the variant."""
    maxima: Mapping[str, int] = field(default_factory=dict)
    """Largest integers at which the conversion agrees, of inputs whose range it narrows."""


def unchecked_notes(check: ConversionCheck, random_names: Sequence[str] = ()) -> Iterator[Note]:
    """Yield the notes on outputs that were not checked."""
    if check.against is None:
        yield make_note("conversion-not-checked", check.why_unchecked)
        return
    random = [d.output for d in check.unchecked if d.status == "random"]
    others = [d for d in check.unchecked if d.status != "random"]
    if others:
        whole = len(check.unchecked) == len(check.differences)
        evidence = "; ".join(f"{d.output}: {_REASONS[d.status]}" for d in others)
        if whole:
            yield make_note("conversion-not-checked", evidence)
        else:
            yield make_note("outputs-not-checked", evidence)
    if random:
        names = f" ({', '.join(random_names)})" if random_names else ""
        evidence = f"{', '.join(random)}{names}"
        if any("dropout" in name.lower() for name in random_names):
            yield make_note("dropout-active", evidence)
        else:
            yield make_note("outputs-random", evidence)


def run_unchecked(
    model: ov.Model, source: SourceModel, options: SourceOptions
) -> CheckedConversion:
    """Return that nothing was compared, after a run that gives what the source declares.

    Raises:
        InputError: The conversion does not run, or an output has another shape or type than the
            source declares.
    """
    drawn = CheckInputs(model, options.seed, options.values)
    inputs = drawn.draw(check_shapes(source.model, source.symbols), FIRST[0])
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
    return CheckedConversion(check, tuple(unchecked_notes(check)))


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
