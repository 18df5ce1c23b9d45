"""From a trial to a job that its device takes: the rules of its kind, before anything is run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ovtool.devices import rules
from ovtool.measure import jobs
from ovtool.measure.session import Job, TrialFailedError
from ovtool.results import Note
from ovtool.shapes import shapes_text

if TYPE_CHECKING:
    from ovtool.trial import Trial
    from ovtool.variant import Variant


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
