"""From a trial to a job that its device takes: the rules of its kind, before anything is run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ovtool.benchmark import jobs
from ovtool.benchmark.session import Job, TrialFailedError
from ovtool.core.errors import InputError
from ovtool.core.measurement import Note
from ovtool.core.shapes import OPEN, shape_text, shapes_text
from ovtool.devices import rules

if TYPE_CHECKING:
    from ovtool.core.trial import Trial
    from ovtool.core.variant import Variant


def job(trial: Trial, variant: Variant) -> Job:
    """Return what a runner needs to measure a trial here.

    For a device that takes fixed shapes only, what the trial leaves open is fixed at what it
    infers, and a note says so.

    Raises:
        TrialFailedError: Its device cannot do what it asks for, the variant cannot take the batch
            or the shapes, or a dimension is open of which the trial does not say the size.
    """
    refused = rules.refusal(trial)
    if refused:
        raise TrialFailedError(refused)
    made = jobs.job(trial, variant, rules.properties(trial))
    if made.shapes == made.data_shapes or not rules.needs_fixed_shapes(trial.device):
        return made
    fixed = shapes_text(zip(made.names, made.data_shapes, strict=True))
    note = Note(
        "fixed-shapes",
        f"{trial.device} takes fixed shapes only: compiled for the shapes that are inferred",
        fixed,
    )
    return replace(made, shapes=made.data_shapes, notes=(note,))


def refuse_open(trial: Trial, variant: Variant, what: str) -> None:
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
            if own == size == OPEN and index != jobs.batch_axis(port):
                raise InputError(
                    f"dimension {index} of input {port.name} is open ({shape_text(port.shape)}),"
                    f" and {what} needs it fixed",
                    f"--shape {port.name}={shape_text(port.shape)}, a number for each ?",
                )
