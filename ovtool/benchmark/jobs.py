"""From a trial and its variant to a job: the shapes to compile, and those to infer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ovtool.benchmark.session import Job, TrialFailedError
from ovtool.core.errors import InputError
from ovtool.core.notes import make_note
from ovtool.core.shapes import OPEN, Named, Shape, shape_text, shapes_text
from ovtool.devices import rules

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ovtool.core.trial import Trial
    from ovtool.core.variant import Port, Variant


def build_job(
    trial: Trial, variant: Variant, properties: Mapping[str, str], inputs: Path | None = None
) -> Job:
    """Return what a runner needs to measure a trial here.

    Raises:
        TrialFailedError: The variant cannot take the batch or the shapes, no input says where the
            batch is, or a dimension that is inferred stays open.
    """
    ports = variant.record.inputs
    axes = tuple(find_batch_axis(port) for port in ports)
    if all(axis is None for axis in axes):
        _check_single(trial, variant)
    shapes = tuple(
        _compiled_shape(port, axis, trial, variant) for port, axis in zip(ports, axes, strict=True)
    )
    data_shapes = shapes
    if trial.data_shapes:
        several = zip(ports, axes, shapes, strict=True)
        data_shapes = tuple(_data_shape(port, axis, shape, trial) for port, axis, shape in several)
    names = tuple(port.name for port in ports)
    return Job(trial, variant.xml, names, shapes, data_shapes, axes, properties, inputs)


def prepare_job(trial: Trial, variant: Variant) -> Job:
    """Return what a runner needs to measure a trial here.

    For a device that takes fixed shapes only, what the trial leaves open is fixed at what it
    infers, and a note says so.

    Raises:
        TrialFailedError: Its device cannot do what it asks for, the variant cannot take the batch
            or the shapes, or a dimension is open of which the trial does not say the size.
    """
    refused = rules.find_unsupported(trial)
    if refused:
        raise TrialFailedError(refused)
    made = build_job(trial, variant, rules.trial_properties(trial))
    if made.shapes == made.data_shapes or not rules.needs_fixed_shapes(trial.device):
        return made
    fixed = shapes_text(zip(made.names, made.data_shapes, strict=True))
    return replace(made, shapes=made.data_shapes, notes=(make_note("fixed-shapes", fixed),))


def require_fixed_shapes(trial: Trial, variant: Variant, what: str) -> None:
    """Refuse a dimension that stays open, and say which.

    Args:
        trial: Its shapes are looked at; the batch may stay open, since the trial has one.
        variant: Of the trial.
        what: What needs all dimensions fixed.

    Raises:
        InputError: One stays open.
    """
    given = dict(trial.shapes)
    for port in variant.record.inputs:
        sizes = given.get(port.name, port.shape)
        for index, (own, size) in enumerate(zip(port.shape, sizes, strict=False)):
            if own == size == OPEN and index != find_batch_axis(port):
                raise InputError(
                    f"dimension {index} of input {port.name} is open ({shape_text(port.shape)}),"
                    f" and {what} needs it fixed",
                    f"--shape {port.name}={shape_text(port.shape)}, a number for each ?",
                )


def find_batch_axis(port: Port) -> int | None:
    """Return the batch dimension: the layout's, or a first one of size 1, which counts as one."""
    if port.layout is not None:
        return port.batch_axis
    return 0 if port.shape[:1] == (1,) else None


def _check_single(trial: Trial, variant: Variant) -> None:
    """Refuse to count samples where no input says which dimension they are in."""
    unknown = [p for p in variant.record.inputs if p.layout is None and p.shape]
    if unknown:
        name, rest = unknown[0].name, "?" * (len(unknown[0].shape) - 1)
        raise TrialFailedError(
            f"the batch dimension of {variant.name} is not known, so its samples cannot be counted:"
            f" say when converting whether the first one is it (--layout {name}=N{rest}) or none is"
            f" (--layout {name}=?{rest})"
        )
    if trial.batch != 1:
        raise TrialFailedError(
            f"no input of {variant.name} has a batch dimension: batch {trial.batch} is impossible"
        )


def _compiled_shape(port: Port, axis: int | None, trial: Trial, variant: Variant) -> Shape:
    """Return what an input is compiled with: all fixed, unless data shapes fill what is open."""
    given = _given(port, trial.shapes, "shape")
    shape = [own if size == OPEN else size for own, size in zip(port.shape, given, strict=True)]
    if axis is not None:
        _check_batch(port.shape[axis], trial, variant)
        if given[axis] not in (OPEN, trial.batch):
            raise TrialFailedError(
                f"the shape {shape_text(given)} of input {port.name} fixes the batch at"
                f" {given[axis]}, asked for {trial.batch}"
            )
    if trial.data_shapes:
        return tuple(shape)
    for index, size in enumerate(shape):
        if size == OPEN and index != axis:
            raise TrialFailedError(
                f"dimension {index} of input {port.name} is open: fix it with"
                f" --shape {port.name}={shape_text(port.shape)}, a number for each ? but the batch,"
                " or leave it open and give --data-shape"
            )
    return tuple(trial.batch if index == axis else size for index, size in enumerate(shape))


def _check_batch(own: int, trial: Trial, variant: Variant) -> None:
    if own not in (OPEN, trial.batch):
        raise TrialFailedError(
            f"the batch of {variant.name} is fixed at {own}, asked for {trial.batch}"
            f"{': ' + variant.record.batch_note if variant.record.batch_note else ''}"
        )


def _data_shape(port: Port, axis: int | None, compiled: Shape, trial: Trial) -> Shape:
    """Return what an input gets, all of it fixed."""
    given = _given(port, trial.data_shapes, "data shape")
    found = []
    for index, (fixed, wanted) in enumerate(zip(compiled, given, strict=True)):
        size = next((s for s in (wanted, fixed) if s != OPEN), OPEN)
        if size == OPEN and index == axis:
            size = trial.batch
        if size == OPEN:
            raise TrialFailedError(
                f"dimension {index} of input {port.name} is open: say how large its data is with"
                f" --data-shape {port.name}={shape_text(compiled)}, a number for each ?"
                " but the batch"
            )
        if fixed not in (OPEN, size):
            raise TrialFailedError(
                f"the data shape {shape_text(given)} does not fit input {port.name}"
                f" {shape_text(compiled)}: its dimension {index} is fixed at {fixed}"
            )
        if index == axis and size != trial.batch:
            raise TrialFailedError(
                f"the data shape {shape_text(given)} of input {port.name} has batch {size},"
                f" asked for {trial.batch}"
            )
        found.append(size)
    return tuple(found)


def _given(port: Port, shapes: Named, what: str) -> Shape:
    """Return the shape that was given to an input, all open where none was."""
    given = dict(shapes).get(port.name, (OPEN,) * len(port.shape))
    if len(given) != len(port.shape):
        raise TrialFailedError(
            f"input {port.name} has {len(port.shape)} dimensions, the {what} given has {len(given)}"
        )
    return given
