"""Check of a saved conversion: its outputs against the source's on the same inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ovtool.core import units
from ovtool.core.errors import InputError
from ovtool.core.shapes import shape_text
from ovtool.core.variant import ConversionCheck, OutputDifference, ports
from ovtool.graph.reference_run import ReferenceModel
from ovtool.models.inputs import check_shapes, inputs_text, random_inputs, with_batch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ovtool.models.options import SourceOptions
    from ovtool.models.source import Array, SourceModel

DEFAULT_TOLERANCE = 1e-3
"""Relative to an output's largest absolute value; f32 convolution nets stay below 1e-5."""


def compare_with_source(xml: Path, source: SourceModel, options: SourceOptions) -> ConversionCheck:
    """Compare a saved IR's outputs with the source's on the same random inputs.

    Both run batch 1, or the static batch, and batch 2 if both accept it.

    Raises:
        InputError: An output differs by more than the tolerance, is not finite while the source's
            is, or a model does not run.
    """
    import openvino as ov

    # Without memory mapping: on Windows a mapped file prevents renaming its folder.
    model = ov.Core().read_model(xml, config={"ENABLE_MMAP": False})
    described = ports(model)
    converted = ReferenceModel(model)
    base = check_shapes(source.model)  # keeps a static batch of the source
    larger = with_batch(model, base, batch=2)
    differences: dict[str, OutputDifference] = {}
    compared: list[str] = []
    for shapes in (base, larger) if larger != base else (base,):
        inputs = random_inputs(model, shapes, options.seed)
        try:
            expected = source.reference(inputs)
        except InputError as error:
            if compared:
                compared.append(f"not {inputs_text(inputs)}, which the source does not accept")
                break
            raise _with_shape_hint(error, base) from error
        actual = converted.run(inputs)
        if len(expected) != len(actual):
            raise InputError(
                f"the source has {len(expected)} outputs, the conversion {len(actual)}"
            )
        compared.append(inputs_text(inputs))
        for port, ours, theirs in zip(described["outputs"], actual, expected, strict=True):
            new = output_difference(port.name, ours, theirs)
            previous = differences.get(port.name, new)
            differences[port.name] = OutputDifference(
                output=port.name,
                max_abs_difference=max(previous.max_abs_difference, new.max_abs_difference),
                largest_value=max(previous.largest_value, new.largest_value),
            )
    check = ConversionCheck(
        against=source.against,
        tolerance=options.tolerance or DEFAULT_TOLERANCE,
        inputs=f"random, seed {options.seed}: {'; '.join(compared)}",
        differences=tuple(differences.values()),
    )
    _check_tolerance(check)
    return check


def _with_shape_hint(error: InputError, shapes: Mapping[str, tuple[int, ...]]) -> InputError:
    tried = " ".join(f"--shape {name}={shape_text(shape)}" for name, shape in shapes.items())
    return InputError(f"{error} (tried {tried})", f"set the input shapes: {tried}")


def output_difference(name: str, actual: Array, expected: Array) -> OutputDifference:
    """Return the largest difference of an output; infinite when only one value is finite.

    Raises:
        InputError: The shapes differ.
    """
    if actual.shape != expected.shape:
        raise InputError(
            f"output {name!r} has shape {shape_text(actual.shape)}, "
            f"the source's has {shape_text(expected.shape)}"
        )
    ours, theirs = actual.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(ours) & np.isfinite(theirs)
    with np.errstate(invalid="ignore"):
        comparable = finite | (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    difference = np.abs(ours[finite] - theirs[finite]).max(initial=0.0)
    return OutputDifference(
        output=name,
        max_abs_difference=float(difference) if comparable.all() else float("inf"),
        largest_value=float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0)),
    )


def _check_tolerance(check: ConversionCheck) -> None:
    for difference in check.differences:
        # For an output of zeros, only rounding errors of f32 are allowed.
        allowed = max(check.tolerance * difference.largest_value, float(np.finfo(np.float32).eps))
        if difference.max_abs_difference > allowed:
            raise InputError(
                f"output {difference.output!r} differs by "
                f"{units.text(difference.max_abs_difference)} from {check.against}; allowed: "
                f"{units.text(allowed)}, with values up to {units.text(difference.largest_value)}",
                "the conversion is wrong, or this model needs a larger --tolerance",
            )
