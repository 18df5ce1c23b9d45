"""Builds the job of a trial: its compiled shapes, its data shapes, its device's rules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ovtool.benchmark.session import Job, TrialFailedError
from ovtool.core.companions import read_cache_values, read_positions
from ovtool.core.device_names import kind_of
from ovtool.core.errors import InputError
from ovtool.core.notes import make_note
from ovtool.core.shapes import OPEN, Named, Shape, shape_text, shapes_text
from ovtool.devices import discovery, rules

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ovtool.core.ports import Port
    from ovtool.core.trial import Generation, Trial
    from ovtool.core.variant import Variant


def _find_memory_shortage(trial: Trial, variant: Variant) -> str | None:
    if trial.generation is None or kind_of(trial.device) != "GPU":
        return None
    values, memory = read_cache_values(variant.folder), discovery.read_gpu_memory(trial.device)
    return rules.find_memory_shortage(trial, variant.record, values, memory)


def build_job(
    trial: Trial, variant: Variant, properties: Mapping[str, str], inputs: Path | None = None
) -> Job:
    """Return the job of a trial with given OpenVINO properties.

    Raises:
        TrialFailedError: The variant does not support the batch or the shapes, or a dimension of
            the data stays open.
    """
    if trial.generation is not None:
        _check_text_generator(trial.generation, variant)
        return Job(trial, variant.xml, (), (), (), (), properties)
    ports = variant.record.inputs
    axes = tuple(port.batch_axis for port in ports)
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
    outputs = tuple(port.batch_axis for port in variant.record.outputs)
    return Job(
        trial,
        variant.xml,
        names,
        shapes,
        data_shapes,
        axes,
        properties,
        inputs,
        output_axes=outputs,
    )


def prepare_job(trial: Trial, variant: Variant) -> Job:
    """Return the job of a trial under the rules of its device.

    For a device with fixed shapes only, open dimensions get the data shape, with a note.

    Raises:
        TrialFailedError: The device does not support a setting, or as for :func:`build_job`.
    """
    unsupported = (
        rules.find_unsupported(trial)
        or rules.find_unsupported_text(trial, variant.record)
        or _find_memory_shortage(trial, variant)
    )
    if unsupported:
        raise TrialFailedError(unsupported)
    job = build_job(trial, variant, rules.trial_properties(trial))
    if trial.generation is not None:
        return replace(job, notes=rules.note_text(trial))
    if job.shapes == job.data_shapes or not rules.needs_fixed_shapes(trial.device):
        return job
    fixed = shapes_text(zip(job.names, job.data_shapes, strict=True))
    return replace(job, shapes=job.data_shapes, notes=(make_note("fixed-shapes", fixed),))


_TOKENIZER = "openvino_tokenizer.xml"


def _check_text_generator(generation: Generation, variant: Variant) -> None:
    """Check that openvino-genai can read a variant, and that it has positions for its requests."""
    if _TOKENIZER not in variant.record.companions:
        raise TrialFailedError(
            f"{variant.name} has no tokenizer: convert the folder of its model, not a single file"
        )
    positions = read_positions(variant.folder)
    length = generation.prompt_length + generation.output_length
    if positions is not None and length > positions:
        raise TrialFailedError(
            f"prompt and output have {length} tokens, but {variant.name} has {positions} positions"
        )


def require_fixed_shapes(trial: Trial, variant: Variant, operation: str) -> None:
    """Check that every dimension except the batch is fixed, as ``operation`` needs it.

    Raises:
        InputError: A dimension stays open.
    """
    given = dict(trial.shapes)
    for port in variant.record.inputs:
        sizes = given.get(port.name, port.shape)
        for index, (own, size) in enumerate(zip(port.shape, sizes, strict=False)):
            if own == size == OPEN and index != port.batch_axis:
                raise InputError(
                    f"dimension {index} of input {port.name} is open ({shape_text(port.shape)}),"
                    f" but {operation} needs fixed shapes",
                    f"--shape {port.name}={shape_text(port.shape)} with a number for each ?",
                )


def _check_single(trial: Trial, variant: Variant) -> None:
    """Check that a request of a model without a batch dimension is one sample."""
    if trial.batch == 1:
        return
    first = next((port for port in variant.record.inputs if port.shape), None)
    why = variant.record.batch_note
    if not why and first is not None:
        layout = f"--layout {first.name}=N{'?' * (len(first.shape) - 1)}"
        why = f"if its first dimension is the batch, convert it with {layout}"
    raise TrialFailedError(
        f"{variant.name} has no batch dimension, so batch {trial.batch} is not supported"
        + (f": {why}" if why else "")
    )


def _compiled_shape(port: Port, axis: int | None, trial: Trial, variant: Variant) -> Shape:
    """Return the compiled shape of an input: fixed, unless data shapes fill open dimensions."""
    given = _given(port, trial.shapes, "shape")
    shape = [own if size == OPEN else size for own, size in zip(port.shape, given, strict=True)]
    if axis is not None:
        if port.shape[axis] not in (OPEN, trial.batch):
            reason = f": {variant.record.batch_note}" if variant.record.batch_note else ""
            raise TrialFailedError(
                f"{variant.name} has a fixed batch of {port.shape[axis]}, so batch {trial.batch} is"
                f" not supported{reason}"
            )
        if given[axis] not in (OPEN, trial.batch):
            raise TrialFailedError(
                f"the shape {shape_text(given)} of input {port.name} has batch {given[axis]},"
                f" but the trial has batch {trial.batch}"
            )
    if trial.data_shapes:
        return tuple(shape)
    for index, size in enumerate(shape):
        if size == OPEN and index != axis:
            raise TrialFailedError(
                f"dimension {index} of input {port.name} is open: fix all dimensions but the batch,"
                f" such as {_shape_options(variant)}, or use --data-shape"
            )
    return tuple(trial.batch if index == axis else size for index, size in enumerate(shape))


def _shape_options(variant: Variant) -> str:
    """Return options that fix every open dimension but the batch, at an example of a size."""
    options = []
    for port in variant.record.inputs:
        axis = port.batch_axis
        sizes = [128 if n == OPEN and i != axis else n for i, n in enumerate(port.shape)]
        if tuple(sizes) != port.shape:
            options.append(f"--shape {port.name}={shape_text(sizes)}")
    return " ".join(options)


def _data_shape(port: Port, axis: int | None, compiled: Shape, trial: Trial) -> Shape:
    given = _given(port, trial.data_shapes, "data shape")
    shape = []
    for index, (fixed, requested) in enumerate(zip(compiled, given, strict=True)):
        size = next((s for s in (requested, fixed) if s != OPEN), OPEN)
        if size == OPEN and index == axis:
            size = trial.batch
        if size == OPEN:
            raise TrialFailedError(
                f"dimension {index} of input {port.name} is open: give the size of its data with"
                f" --data-shape {port.name}={shape_text(compiled)}"
            )
        if fixed not in (OPEN, size):
            raise TrialFailedError(
                f"the data shape {shape_text(given)} does not fit input {port.name}"
                f" {shape_text(compiled)}: dimension {index} has the fixed size {fixed}"
            )
        if index == axis and size != trial.batch:
            raise TrialFailedError(
                f"the data shape {shape_text(given)} of input {port.name} has batch {size},"
                f" but the trial has batch {trial.batch}"
            )
        shape.append(size)
    return tuple(shape)


def _given(port: Port, shapes: Named, what: str) -> Shape:
    """Return the given shape of an input, all open where none is given."""
    given = dict(shapes).get(port.name, (OPEN,) * len(port.shape))
    if len(given) != len(port.shape):
        raise TrialFailedError(
            f"input {port.name} has {len(port.shape)} dimensions, but the {what} has {len(given)}"
        )
    return given
