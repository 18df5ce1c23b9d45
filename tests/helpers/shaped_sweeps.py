"""Sweeps of a model with several shapes of inputs."""

from __future__ import annotations

from dataclasses import replace

from ovtool.results.table import load_results
from tests.helpers import sweeps

SHORT, LONG = "ids=?x128 mask=?x128", "ids=?x1024 mask=?x1024"
MODELS = sweeps.MODELS[:2]


def form(size, field="shapes"):
    """Return the fields of a trial for sequences of a length."""
    return {field: (("ids", (-1, size)), ("mask", (-1, size)))}


def table_of(folder, *forms):
    """Return a table whose quality is in the first trial of each configuration.

    Long sequences take eight times as long as short ones and agree less often.
    """
    measurements, evaluated = [], set()
    for trial in sweeps.trials(MODELS, batches=(1, 4), forms=forms):
        long = 1024 in dict(trial.shapes or trial.data_shapes).get("ids", ())
        model = next(m for m in MODELS if m.id == trial.variant)
        scaled = {precision: ms * (8 if long else 1) for precision, ms in model.ms.items()}
        measurement = sweeps.measure(trial, [replace(model, ms=scaled)])
        if trial.configuration not in evaluated:
            evaluated.add(trial.configuration)
            agreement = (30, 50) if long else model.agreement
            measurement = sweeps.with_quality(measurement, replace(model, agreement=agreement))
        measurements.append(measurement)
    return load_results([sweeps.make(folder, measurements, MODELS)])
