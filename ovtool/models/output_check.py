"""A saved conversion against its source: the same inputs, the largest difference of each output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ovtool.core import units
from ovtool.core.errors import InputError
from ovtool.core.shapes import shape_text
from ovtool.core.variant import ConversionCheck, OutputDifference, ports
from ovtool.models.inputs import check_shapes, inputs_text, random_inputs, with_batch
from ovtool.models.source import Array, SourceModel, run_in_openvino

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ovtool.models.options import SourceOptions

DEFAULT_TOLERANCE = 1e-3
"""Share of an output's largest absolute value; f32 convolution nets stay below 1e-5."""


def compare_with_source(xml: Path, source: SourceModel, options: SourceOptions) -> ConversionCheck:
    """Compare a saved IR's outputs with the source's on the same random inputs.

    Both run batch 1 (or the one that is fixed), and batch 2 where the IR and the source take it.

    Raises:
        InputError: An output differs by more than the tolerance, is not finite where the source's
            is, or one of the two does not run.
    """
    import openvino as ov

    # Not mapped into memory: on Windows a mapped file keeps its folder from being renamed.
    model = ov.Core().read_model(xml, config={"ENABLE_MMAP": False})
    described = ports(model)
    run = run_in_openvino(model)
    base = check_shapes(source.model)  # in which a batch that the source fixes is still fixed
    larger = with_batch(model, base, batch=2)
    differences: dict[str, OutputDifference] = {}
    compared: list[str] = []
    for shapes in (base, larger) if larger != base else (base,):
        inputs = random_inputs(model, shapes, options.seed)
        try:
            expected = source.reference(inputs)
        except InputError as error:
            if compared:
                compared.append(f"not in {inputs_text(inputs)}, which the source does not take")
                break
            raise _with_shape_hint(error, base) from error
        found = run(inputs)
        if len(expected) != len(found):
            raise InputError(
                f"the source has {len(expected)} outputs and the conversion {len(found)}"
            )
        compared.append(inputs_text(inputs))
        for port, ours, theirs in zip(described["outputs"], found, expected, strict=True):
            difference = _difference(port.name, ours, theirs)
            differences[port.name] = _worse(differences.get(port.name), difference)
    check = ConversionCheck(
        against=source.against,
        tolerance=options.tolerance or DEFAULT_TOLERANCE,
        inputs=f"random, seed {options.seed}: {'; '.join(compared)}",
        differences=tuple(differences.values()),
    )
    _hold(check)
    return check


def _with_shape_hint(error: InputError, shapes: Mapping[str, tuple[int, ...]]) -> InputError:
    given = " ".join(f"--shape {name}={shape_text(shape)}" for name, shape in shapes.items())
    return InputError(
        f"{error} (tried {given})", f"if the sizes are wrong for it, give them: {given}"
    )


def _difference(name: str, found: Array, expected: Array) -> OutputDifference:
    if found.shape != expected.shape:
        raise InputError(
            f"output {name!r} has the shape {shape_text(found.shape)}, "
            f"the source's {shape_text(expected.shape)}"
        )
    ours, theirs = found.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(ours) & np.isfinite(theirs)
    with np.errstate(invalid="ignore"):
        alike = finite | (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    apart = np.abs(ours[finite] - theirs[finite]).max(initial=0.0)
    return OutputDifference(
        output=name,
        max_abs_difference=float(apart) if alike.all() else float("inf"),
        largest_value=float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0)),
    )


def _worse(before: OutputDifference | None, now: OutputDifference) -> OutputDifference:
    if before is None:
        return now
    return OutputDifference(
        output=now.output,
        max_abs_difference=max(before.max_abs_difference, now.max_abs_difference),
        largest_value=max(before.largest_value, now.largest_value),
    )


def _hold(check: ConversionCheck) -> None:
    for difference in check.differences:
        # Where the source gives only zeros, rounding of the zeros' terms is all that is allowed.
        allowed = max(check.tolerance * difference.largest_value, float(np.finfo(np.float32).eps))
        if difference.max_abs_difference > allowed:
            raise InputError(
                f"output {difference.output!r} differs by "
                f"{units.text(difference.max_abs_difference)} from {check.against}; allowed "
                f"{units.text(allowed)}, of values up to {units.text(difference.largest_value)}",
                "the conversion is wrong, or --tolerance has to be larger for this model",
            )
