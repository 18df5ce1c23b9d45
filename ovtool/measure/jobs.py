"""From a trial and its variant to a job: static shapes for the batch asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.measure.session import Job, TrialFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ovtool.trial import Trial
    from ovtool.variant import Port, Variant


def job(
    trial: Trial, variant: Variant, properties: Mapping[str, str], inputs: Path | None = None
) -> Job:
    """Return what a runner needs to measure a trial here.

    Raises:
        TrialFailedError: The variant cannot take the batch, no input says where the batch is, or a
            dimension stays open.
    """
    ports = variant.record.inputs
    axes = tuple(batch_axis(port) for port in ports)
    if all(axis is None for axis in axes):
        _check_single(trial, variant)
    shapes = tuple(
        _static_shape(port, axis, trial, variant) for port, axis in zip(ports, axes, strict=True)
    )
    return Job(trial, variant.xml, tuple(p.name for p in ports), shapes, axes, properties, inputs)


def batch_axis(port: Port) -> int | None:
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


def _static_shape(port: Port, axis: int | None, trial: Trial, variant: Variant) -> tuple[int, ...]:
    given = dict(trial.shapes).get(port.name)
    if given is not None and len(given) != len(port.shape):
        raise TrialFailedError(
            f"input {port.name} has {len(port.shape)} dimensions, the shape given has {len(given)}"
        )
    dimensions = []
    for index, own in enumerate(port.shape):
        wanted = given[index] if given is not None else -1
        if index == axis:
            if own not in (-1, trial.batch):
                raise TrialFailedError(
                    f"the batch of {variant.name} is fixed at {own}, asked for {trial.batch}"
                    f"{': ' + variant.record.batch_note if variant.record.batch_note else ''}"
                )
            dimensions.append(trial.batch)
        elif own == -1 and wanted == -1:
            raise TrialFailedError(
                f"dimension {index} of input {port.name} is open: fix it with"
                f" --shape {port.name}={'x'.join('?' if d == -1 else str(d) for d in port.shape)},"
                " a number for each ? but the batch"
            )
        else:
            dimensions.append(own if wanted == -1 else wanted)
    return tuple(dimensions)
